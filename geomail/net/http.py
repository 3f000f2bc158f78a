"""Questions to one HTTP service over kept-alive connections (RFC 9112, as much as ``auth_http`` needs).

Only the head of an answer is of use; bodies are read and dropped. What the
answer says stays unjudged here, but for nginx's rules of what a header is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from geomail.conversation import CR, NUL, Tracer
from geomail.errors import GeomailError, LineTooLong, PeerGone, SessionError, Side
from geomail.net.connect import Address, connect
from geomail.net.pool import Pool
from geomail.net.timing import TimeLimit
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire

#: Bytes of status line and headers, interim answers included.
HEAD_LIMIT = 16 * 1024
#: Bytes of a body that are read for the sake of keeping the connection.
BODY_LIMIT = 64 * 1024
#: Seconds that a body may come after its head, for the same reason.
BODY_TIME = 1.0

_HEX_DIGITS = b"0123456789abcdefABCDEF"
_NO_BODY = (204, 304)


class BadAnswer(GeomailError):
    """What came back is no HTTP answer; the text goes on from the service's name."""


class Answer:
    """The head of an answer.

    ``headers`` holds every value of each header in order, under its lower-case
    name. ``status`` is 0 where there was no status line, or one that makes no
    sense. ``persistent``: the service speaks HTTP/1.1.
    """

    __slots__ = ("headers", "persistent", "status")

    def __init__(self, status: int, persistent: bool, headers: dict[bytes, list[bytes]]) -> None:
        self.status = status
        self.persistent = persistent
        self.headers = headers

    def last(self, name: bytes) -> bytes | None:
        """The last value of a header, None if it is not there."""
        values = self.headers.get(name)
        return values[-1] if values else None


class _NotAsked(Exception):
    """The bytes that came on a used connection do not begin as an answer does."""


class HttpClient:
    """Asks one service.

    ``seconds`` is for all of it: a place in the ``pool``, connecting, the request and the answer's head.
    ``addresses`` is asked for each new connection. ``timed_out`` is the text
    of the PeerTimeout that is raised after ``seconds``, ``crowded`` that where
    there was no place. ``keeps``: connections are used again, if the pool, too,
    keeps them. ``tracer`` sees the heads of answers, on connections that are
    made after it was set.
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
        """Send a whole request, wait for the head of its answer.

        The question is put again, once and on a fresh connection, if a used one
        ended without a byte of an answer, or gave what may not be the answer
        to this question (see ``net.pool``). Raises OSError, BadAnswer,
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
            self._let_go(wire, answer, used=False)
            return answer
        finally:
            self.pool.leave()

    def close(self) -> None:
        """Close the idle connections."""
        self.pool.close()

    def _ask_used(self, request: bytes) -> Answer | None:
        """Ask on a connection that has rested; None: there is none, or what it gave is not to be trusted."""
        wire = self.pool.rested() if self._keeps else None
        if wire is None:
            return None
        before = wire.received
        try:
            answer = _exchange(wire, request, used=True)
            self._let_go(wire, answer, used=True)
        except PeerGone:
            if wire.received != before and self.pool.keeps:
                raise
        except BadAnswer:
            if self.pool.keeps:
                raise
        except _NotAsked:
            self.pool.speaks_unasked()
        else:
            if self.pool.keeps:
                return answer
            wire.close()
        return None

    def _let_go(self, wire: Wire, answer: Answer, used: bool) -> None:
        """Read the answer to its end; keep the connection, or close it.

        Where a used one holds more, there are two answers to one of its questions: the pool keeps none then.
        """
        may_stay = False
        try:
            lasts = answer.persistent and self._keeps and not _closes(answer)
            if (lasts or used) and _drop_body(wire, answer):
                goes_on = wire.has_unread()
                may_stay = lasts and not goes_on
                if goes_on:
                    self.pool.speaks_unasked()
        finally:
            if may_stay and self.pool.keeps:
                self.pool.keep(wire)
            else:
                wire.close()

    def _connect(self) -> Wire:
        self.pool.make_room()
        wire = connect(self._addresses(), peer=self._peer, tls=self._tls)
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
    """Skip interim answers, and take headers without a status line, as nginx does.

    But not on a ``used`` connection: what has no status line may be the rest of an earlier answer.
    """
    room = HEAD_LIMIT
    while True:
        head = wire.read_head(room)
        room -= len(head)
        if used and not head.startswith(b"HTTP/1."):
            raise _NotAsked
        answer = _parse_head(head)
        if not 100 <= answer.status < 200:
            _check_framing(answer.headers)
            return answer


def _check_framing(headers: dict[bytes, list[bytes]]) -> None:
    """Raise BadAnswer where headers contradict each other about the answer's end (RFC 9112, 6.3)."""
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
    """The headers of these lines, up to the blank one."""
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        if line and line[-1] == CR:
            line = line[:-1]
        if not line:
            break
        name, colon, value = line.partition(b":")
        key = _NAMES.get(name)
        if key is None:
            key = _checked_name(name, colon)
            if key is None:
                continue
        if CR in value:
            raise _bad_header(name, colon)
        if NUL in value:
            if key.startswith(b"auth-") or key in _FRAMING:
                raise _bad_header(name, colon)
            continue
        if key in headers:
            headers[key].append(value.strip(b" \t"))
        else:
            headers[key] = [value.strip(b" \t")]
    return headers


#: Header names as services write them, checked once, in lower case.
_NAMES: Final[dict[bytes, bytes]] = {}
_MOST_NAMES = 256
#: RFC 9110 5.6.2: what a name is made of.
_TCHARS: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: Headers that say where the answer ends.
_FRAMING: Final = (b"connection", b"content-length", b"transfer-encoding")


def is_name(name: bytes) -> bool:
    """Tell whether this can be the name of a header."""
    return bool(name) and not name.translate(None, _TCHARS)


def _checked_name(name: bytes, colon: bytes) -> bytes | None:
    """A name in lower case, None for an odd one, whose header is skipped.

    Raises BadAnswer for what is not a header at all, and for an odd name that
    may have been meant as one of the verdict's: a missing Auth-Status lets in.
    """
    key = name.lower()
    if not is_name(name):
        if not colon or name[:1] in _BLANKS or name[-1:] in _BLANKS or CR in name or b"auth-" in key:
            raise _bad_header(name, colon)
        return None
    if key == b"auth_status":
        raise _bad_header(name, colon)
    if len(_NAMES) < _MOST_NAMES:
        _NAMES[name] = key
    return key


#: Before the name they continue the line above (RFC 9112 5.2), behind it they are forbidden (5.1).
_BLANKS: Final = (b" ", b"\t")


def _bad_header(name: bytes, colon: bytes) -> BadAnswer:
    """The error about a header: it tells the name alone, as the rest may be a password."""
    name = name.rstrip(b" \t")
    if not (colon and is_name(name)):
        return BadAnswer("sent invalid header in response: a line without a readable name")
    return BadAnswer(f"sent invalid header in response: {name[:40].decode()}")


# -- the body -------------------------------------------------------------------------------------


def _closes(answer: Answer) -> bool:
    wishes = answer.headers.get(b"connection")
    return bool(wishes) and b",".join(wishes or ()).lower().find(b"close") >= 0


def _drop_body(wire: Wire, answer: Answer) -> bool:
    """Read the answer's body and forget it; whether it has come to its end."""
    if answer.status in _NO_BODY:
        return True
    codings = answer.headers.get(b"transfer-encoding")
    lengths = answer.headers.get(b"content-length", ())
    if codings:
        chunked = [coding.lower() for coding in codings] == [b"chunked"] and not lengths
        return chunked and _in_time(_drop_chunks, wire)
    if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 9:
        return False  # it ends where the connection ends, or nobody knows where
    size = int(lengths[0])
    return size == 0 or (size <= BODY_LIMIT and _in_time(lambda body: body.read_exactly(size), wire))


def _in_time(read: Callable[[Wire], object], wire: Wire) -> bool:
    try:
        with TimeLimit(BODY_TIME, blame=wire.peer, private="the body did not come"):
            read(wire)
    except (SessionError, BadAnswer):
        return False  # the answer counts all the same
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
