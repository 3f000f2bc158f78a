"""Questions to one HTTP service over kept-alive connections (the part of RFC 9112 that ``auth_http`` needs).

Only the head of an answer is used; bodies are read and dropped. This module
checks the form of headers, as nginx does, but not their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from geomail.conversation import CR, NUL, Tracer
from geomail.errors import GeomailError, LineTooLong, PeerGone, SessionError, Side
from geomail.net.connect import Address, connect_first
from geomail.net.pool import Pool
from geomail.net.timing import TimeLimit
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire

#: Bytes of status line and headers, interim answers included.
HEAD_LIMIT = 16 * 1024
#: Bytes of a body that are read so that the connection can be kept.
BODY_LIMIT = 64 * 1024
#: Seconds for which a body may arrive after its head, for the same reason.
BODY_TIME = 1.0

_HEX_DIGITS = b"0123456789abcdefABCDEF"
_NO_BODY = (204, 304)


class BadAnswer(GeomailError):
    """An answer is not HTTP. The text continues a sentence that begins with the service's name."""


class Answer:
    """The head of an answer.

    ``headers`` maps the lower-case name of each header to all its values in
    order. ``status`` is 0 if the status line was missing or makes no sense.
    ``persistent``: the service speaks HTTP/1.1.
    """

    __slots__ = ("headers", "persistent", "status")

    def __init__(self, status: int, persistent: bool, headers: dict[bytes, list[bytes]]) -> None:
        self.status = status
        self.persistent = persistent
        self.headers = headers

    def last(self, name: bytes) -> bytes | None:
        """Return the last value of a header; None if the header is missing."""
        values = self.headers.get(name)
        return values[-1] if values else None


class _UnaskedBytes(Exception):
    """Bytes on a used connection that do not begin like an answer."""


class HttpClient:
    """A client of one service.

    ``seconds`` limits a whole question: a place in the ``pool``, connecting, the request and the
    answer's head. ``addresses`` is called for each new connection. The PeerTimeout after
    ``seconds`` has the text ``timed_out``, or ``crowded`` if no place became free.
    ``keeps``: connections are used again, if the pool keeps them, too. ``tracer`` sees the
    heads of answers, on connections that are made after it was set.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        addresses: Callable[[], Sequence[Address]],
        tls: TlsSide | None,
        peer: Side,
        seconds: float,
        timed_out: str,
        crowded: str,
        keeps: bool,
    ) -> None:
        self.pool = pool
        self._addresses = addresses
        self._tls = tls
        self._peer: Side = peer
        self._seconds = seconds
        self._timed_out = timed_out
        self._crowded = crowded
        self._keeps = keeps
        self.tracer: Tracer | None = None

    def ask(self, request: bytes) -> Answer:
        """Send a whole request, and return the head of its answer.

        The request is sent a second time, on a fresh connection, if a used connection
        ended without a byte of an answer, or if its answer may belong to
        another question (see ``net.pool``). Raises OSError, BadAnswer,
        PeerGone, PeerTimeout, TlsFailed.
        """
        left = self.pool.enter(self._seconds, self._peer, self._crowded)
        try:
            with TimeLimit(left, blame=self._peer, private=self._timed_out):
                answer = self._ask_used(request)
                if answer is not None:
                    return answer
                wire = self._connect()
                answer = _exchange(wire, request, used=False)
            self._release(wire, answer, used=False)
            return answer
        finally:
            self.pool.leave()

    def close(self) -> None:
        """Close the idle connections."""
        self.pool.close()

    def _ask_used(self, request: bytes) -> Answer | None:
        """Ask on a connection that has rested; None: there is none, or its answer cannot be trusted."""
        wire = self.pool.take_rested() if self._keeps else None
        if wire is None:
            return None
        before = wire.received
        try:
            answer = _exchange(wire, request, used=True)
            self._release(wire, answer, used=True)
        except PeerGone:
            if wire.received != before and self.pool.keeps:
                raise
        except BadAnswer:
            if self.pool.keeps:
                raise
        except _UnaskedBytes:
            self.pool.report_unasked()
        else:
            if self.pool.keeps:
                return answer
            wire.close()
        return None

    def _release(self, wire: Wire, answer: Answer, used: bool) -> None:
        """Read the answer to its end; then keep the connection, or close it.

        More bytes behind the answer mean that a question got two answers: the pool then keeps no connection.
        """
        may_stay = False
        try:
            lasts = answer.persistent and self._keeps and not _closes(answer)
            if (lasts or used) and _drop_body(wire, answer):
                goes_on = wire.has_unread()
                may_stay = lasts and not goes_on
                if goes_on:
                    self.pool.report_unasked()
        finally:
            if may_stay and self.pool.keeps:
                self.pool.keep(wire)
            else:
                wire.close()

    def _connect(self) -> Wire:
        self.pool.make_room()
        wire = connect_first(self._addresses(), peer=self._peer, tls=self._tls)
        wire.tracer = self.tracer
        if self._tls is not None:
            try:
                wire.start_tls()
            except BaseException:
                wire.close()
                raise
        return wire


def _exchange(wire: Wire, request: bytes, used: bool) -> Answer:
    try:
        wire.send(request)
        return _read_head(wire, used)
    except LineTooLong:
        wire.close()
        raise BadAnswer(f"sent more than {HEAD_LIMIT} bytes of headers") from None
    except BaseException:
        wire.close()
        raise


# -- the head -------------------------------------------------------------------------------------


def _read_head(wire: Wire, used: bool) -> Answer:
    """Skip interim answers, and accept headers without a status line, as nginx does.

    On a ``used`` connection the status line must be there: bytes without it may belong to an earlier answer.
    """
    room = HEAD_LIMIT
    while True:
        head = wire.read_head(room)
        room -= len(head)
        if used and not head.startswith(b"HTTP/1."):
            raise _UnaskedBytes
        answer = _parse_head(head)
        if not 100 <= answer.status < 200:
            _check_framing(answer.headers)
            return answer


def _check_framing(headers: dict[bytes, list[bytes]]) -> None:
    """Raise BadAnswer if headers contradict each other about the answer's end (RFC 9112, 6.3)."""
    lengths = headers.get(b"content-length")
    if lengths is None:
        return
    if len(set(lengths)) > 1:
        raise BadAnswer("sent two different values of Content-Length")
    if not lengths[0].isdigit():
        raise BadAnswer("sent a Content-Length that is not a number")
    if b"transfer-encoding" in headers:
        raise BadAnswer("sent both Content-Length and Transfer-Encoding")


def _parse_head(head: bytes) -> Answer:
    lines = head.split(b"\n")
    first = lines[0].removesuffix(b"\r")
    if not first.startswith(b"HTTP/"):
        return Answer(0, False, _parse_headers(lines))
    if CR in first:
        raise BadAnswer("sent invalid response")
    version, _, rest = first.partition(b" ")
    status = int(rest[:3]) if rest[:3].isdigit() else 0
    return Answer(status, status > 0 and version == b"HTTP/1.1", _parse_headers(lines[1:]))


def _parse_headers(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """Return the headers of these lines, up to the blank line."""
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        if line and line[-1] == CR:
            line = line[:-1]
        if not line:
            break
        name, colon, value = line.partition(b":")
        key = _NAMES.get(name)
        if key is None:
            key = _check_name(name, colon)
            if key is None:
                continue
        if CR in value:
            raise _make_header_error(name, colon)
        if NUL in value:
            if key.startswith(b"auth-") or key in _FRAMING:
                raise _make_header_error(name, colon)
            continue
        if key in headers:
            headers[key].append(value.strip(b" \t"))
        else:
            headers[key] = [value.strip(b" \t")]
    return headers


#: Header names as services write them, to the same in lower case; each is checked once.
_NAMES: Final[dict[bytes, bytes]] = {}
_MOST_NAMES = 256
#: The characters of a name (RFC 9110, 5.6.2).
_TCHARS: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: Headers that tell where the answer ends.
_FRAMING: Final = (b"connection", b"content-length", b"transfer-encoding")


def is_name(name: bytes) -> bool:
    """Tell whether this can be the name of a header."""
    return bool(name) and not name.translate(None, _TCHARS)


def _check_name(name: bytes, colon: bytes) -> bytes | None:
    """Return a header's name in lower case; None for an odd name: its header is skipped.

    Raises BadAnswer if the line is not a header, and for an odd name that may be
    a misspelt Auth-* header: if geomail skipped Auth-Status, it would accept the login.
    """
    key = name.lower()
    if not is_name(name):
        if not colon or name[:1] in _BLANKS or name[-1:] in _BLANKS or CR in name or b"auth-" in key:
            raise _make_header_error(name, colon)
        return None
    if key == b"auth_status":
        raise _make_header_error(name, colon)
    if len(_NAMES) < _MOST_NAMES:
        _NAMES[name] = key
    return key


#: Before a name they continue the line above (RFC 9112, 5.2); behind it they are forbidden (5.1).
_BLANKS: Final = (b" ", b"\t")


def _make_header_error(name: bytes, colon: bytes) -> BadAnswer:
    """Make the error about a header: its text holds only the name, as the value may be a password."""
    name = name.rstrip(b" \t")
    if not (colon and is_name(name)):
        return BadAnswer("sent invalid header in response: a line without a readable name")
    return BadAnswer(f"sent invalid header in response: {name[:40].decode()}")


# -- the body -------------------------------------------------------------------------------------


def _closes(answer: Answer) -> bool:
    wishes = answer.headers.get(b"connection")
    return bool(wishes) and b",".join(wishes or ()).lower().find(b"close") >= 0


def _drop_body(wire: Wire, answer: Answer) -> bool:
    """Read the answer's body and drop it; tell whether its end was reached."""
    if answer.status in _NO_BODY:
        return True
    codings = answer.headers.get(b"transfer-encoding")
    lengths = answer.headers.get(b"content-length", ())
    if codings:
        chunked = [coding.lower() for coding in codings] == [b"chunked"] and not lengths
        return chunked and _read_in_time(_drop_chunks, wire)
    if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 9:
        return False  # the body ends with the connection, or at an unknown place
    size = int(lengths[0])
    return size == 0 or (size <= BODY_LIMIT and _read_in_time(lambda body: body.read_exactly(size), wire))


def _read_in_time(read: Callable[[Wire], object], wire: Wire) -> bool:
    try:
        with TimeLimit(BODY_TIME, blame=wire.peer, private="the body did not come"):
            read(wire)
    except (SessionError, BadAnswer):
        return False  # the answer is valid without its body
    return True


def _drop_chunks(wire: Wire) -> None:
    room = BODY_LIMIT
    while True:
        digits = wire.read_line(HEAD_LIMIT).partition(b";")[0].rstrip(b" \t")
        if not 0 < len(digits) <= 8 or digits.strip(_HEX_DIGITS):
            raise BadAnswer("sent an invalid chunk")
        size = int(digits, 16)
        if size == 0:
            break
        room -= size + 2
        if room < 0 or wire.read_exactly(size + 2)[-2:] != b"\r\n":
            raise BadAnswer("sent an invalid chunk")
    room = HEAD_LIMIT
    while line := wire.read_line(room):
        if not is_name(line.partition(b":")[0]) or b":" not in line:
            raise BadAnswer("sent an invalid trailer")
        room = max(0, room - len(line) - 2)
