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
from geomail.net.timing import TimeLimit, now
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire

#: Bytes of status line and headers, interim answers included.
HEAD_LIMIT = 16 * 1024
#: Bytes of a body that are read for the sake of keeping the connection.
BODY_LIMIT = 64 * 1024
#: Seconds that a body may come after its head, for the same reason.
BODY_TIME = 1.0
#: Seconds that an idle connection is kept, and how many of them.
IDLE_TIME = 60.0
MOST_IDLE = 64

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


class HttpClient:
    """Asks one service; ``seconds`` is for connecting, the request and the head of the answer.

    ``addresses`` is asked for each new connection. ``timed_out`` is the text
    of the PeerTimeout that is raised after ``seconds``. ``tracer`` sees
    the heads of answers, on connections that are made after it was set.
    """

    def __init__(
        self,
        *,
        addresses: Callable[[], Sequence[Address]],
        tls: TlsSide | None,
        peer: Side,
        seconds: float,
        timed_out: str,
    ) -> None:
        self._addresses = addresses
        self._tls = tls
        self._peer: Side = peer
        self._seconds = seconds
        self._timed_out = timed_out
        self._idle: dict[Wire, float] = {}
        self.tracer: Tracer | None = None

    @property
    def idle(self) -> int:
        """How many connections wait for the next question."""
        return len(self._idle)

    def ask(self, request: bytes) -> Answer:
        """Send a whole request, wait for the head of its answer.

        A connection that the service closed while it was idle is replaced
        once, if no byte of an answer came. Raises OSError, BadAnswer,
        PeerGone, PeerTimeout, TlsFailed.
        """
        with TimeLimit(self._seconds, blame=self._peer, private=self._timed_out):
            wire, answer = self._ask(request)
        reusable = False
        try:
            reusable = _drop_body(wire, answer) and not wire.has_read_ahead
        finally:
            if reusable:
                self._keep(wire)
            else:
                wire.close()
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.popitem()[0].close()

    def _ask(self, request: bytes) -> tuple[Wire, Answer]:
        wire = self._idle_connection()
        if wire is not None:
            before = wire.received
            try:
                return wire, _exchange(wire, request)
            except PeerGone:
                if wire.received != before:
                    raise
        wire = self._connect()
        return wire, _exchange(wire, request)

    def _idle_connection(self) -> Wire | None:
        too_old = now() - IDLE_TIME
        while self._idle:
            wire, since = self._idle.popitem()
            if since > too_old:
                wire.stop_watching()
                return wire
            wire.close()
        return None

    def _keep(self, wire: Wire) -> None:
        at = now()
        self._idle[wire] = at
        wire.watch(self._stirs, wire)
        oldest = next(iter(self._idle))
        if len(self._idle) > MOST_IDLE or self._idle[oldest] < at - IDLE_TIME:
            del self._idle[oldest]
            oldest.close()

    def _stirs(self, wire: Wire) -> None:
        """An idle connection has ended, or says what nobody asked for."""
        if wire.is_stale():
            del self._idle[wire]
            wire.close()

    def _connect(self) -> Wire:
        wire = connect(self._addresses(), peer=self._peer, tls=self._tls)
        wire.tracer = self.tracer
        if self._tls is not None:
            try:
                wire.start_tls()
            except BaseException:
                wire.close()
                raise
        return wire


def _exchange(wire: Wire, request: bytes) -> Answer:
    try:
        wire.send(request)
        return _read_head(wire)
    except LineTooLong:
        wire.close()
        raise BadAnswer(f"sent more than {HEAD_LIMIT} bytes of headers") from None
    except BaseException:
        wire.close()
        raise


# -- the head -------------------------------------------------------------------------------------


def _read_head(wire: Wire) -> Answer:
    """Skip interim answers, and take headers without a status line, as nginx does."""
    room = HEAD_LIMIT
    while True:
        head = wire.read_head(room)
        room -= len(head)
        answer = _parse_head(head)
        if not 100 <= answer.status < 200:
            return answer


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
    """Whether this can be the name of a header."""
    return bool(name) and not name.translate(None, _TCHARS)


def _checked_name(name: bytes, colon: bytes) -> bytes | None:
    """A name in lower case, None for an odd one, whose header is skipped.

    Raises BadAnswer for what is not a header at all, and for a name that may
    have been meant as one of the verdict's: a missing Auth-Status lets in.
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


def _drop_body(wire: Wire, answer: Answer) -> bool:
    """Read the answer's body and forget it; whether the connection can be used again."""
    wishes = answer.headers.get(b"connection")
    if not answer.persistent or (wishes and b",".join(wishes).lower().find(b"close") >= 0):
        return False
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
        room = max(0, room - len(line) - 2)
