"""Explain an auth_http answer, header by header, to the author of an auth service.

``ok`` works with geomail and with nginx. A ``note`` is worth knowing. A
``warning`` is something that nginx understands differently, or that costs
something. An ``error`` makes a valid login fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Literal

from geomail.auth.http import LONGEST_TEXT, LONGEST_WAIT, REPLY_CODE, parse_host, read_wait
from geomail.net.http import BODY_LIMIT, is_name
from geomail.net.resolver import get_ip_family
from geomail.parties import NoLogin, Password
from geomail.protocols.facts import FACTS

if TYPE_CHECKING:
    from geomail.backends import Backends
    from geomail.net.http import Answer
    from geomail.parties import Login

#: The most bytes of status line and headers, including the blank line, that nginx accepts.
NGINX_HEAD = 1024
_STATUSES = (b"OK", b"WAIT")
#: The characters that nginx accepts in the name of a header.
_NGINX_NAME = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: Headers of HTTP itself, and headers that web servers add by themselves.
_HTTP_HEADERS = frozenset(
    (
        *(b"content-length", b"transfer-encoding", b"connection", b"keep-alive"),
        *(b"date", b"server", b"content-type"),
    )
)

Severity = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A remark on a line of the answer; ``line`` is None for a missing header or the whole answer."""

    line: int | None
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """One login, and the answer of the auth service to it.

    ``head`` holds the lines of the answer before the blank line. ``answer`` is
    the same answer, parsed; None if geomail could not parse it. ``kept``: the
    connection can be used again. ``unasked``: bytes followed the end of the
    answer. ``needs_password``: the backend gets a password.
    """

    login: Login
    protocol: str
    head: Sequence[bytes]
    answer: Answer | None
    kept: bool
    unasked: bool
    needs_password: bool


_IDLE_UNLESS_ACCEPTED: tuple[Severity, str] = (
    "note",
    "no effect: it counts only when the login is accepted",
)
#: Severities and texts.
Remarks = Iterator[tuple[Severity, str]]


class Judge:
    """Findings about one answer, which may name one of the ``backends``."""

    def __init__(self, exchange: Exchange, backends: Backends) -> None:
        self._exchange = exchange
        self._answer = exchange.answer
        self._backends = backends
        self._has_reply_codes = FACTS[exchange.protocol].has_reply_codes
        self._seen_names: set[bytes] = set()
        statuses = exchange.answer.headers.get(b"auth-status", []) if exchange.answer else []
        self._refused = any(status not in _STATUSES for status in statuses)
        self._waits = not self._refused and b"WAIT" in statuses
        self._accepted = not self._refused and not self._waits

    def find(self) -> Iterator[Finding]:
        """Yield all findings: those about lines in their order, then those about the whole answer."""
        for number, line in enumerate(self._exchange.head):
            yield from (Finding(number, severity, text) for severity, text in self._judge_line(number, line))
        yield from (Finding(None, severity, text) for severity, text in self._judge_whole())

    # -- line by line -----------------------------------------------------------------------------

    def _judge_line(self, number: int, line: bytes) -> Remarks:
        if line.startswith(b"HTTP/"):
            yield from self._judge_status_line(line)
            return
        if number == 0:
            yield "note", "not a status line: geomail and nginx take it for a header"
        if line[:1] in b" \t":
            yield "error", "a header must be on one line: geomail refuses the whole answer"
            return
        name, colon, value = line.partition(b":")
        if not is_name(name):
            yield self._judge_bad_name(name, colon)
            return
        if not colon:
            yield "warning", "no colon: this header has no value"
        if name.lower() == b"auth_status":
            yield "error", "an underscore: geomail refuses the whole answer; write Auth-Status"
        elif name.translate(None, _NGINX_NAME):
            yield "warning", "nginx refuses the whole answer: it accepts only letters, digits and - in a name"
        if b"\t" in value[:1] + value[-1:]:
            yield "warning", "nginx takes the tab as part of the value"
        yield from self._judge_header(name.lower(), value.strip(b" \t"))

    def _judge_bad_name(self, name: bytes, colon: bytes) -> tuple[Severity, str]:
        if self._answer is not None:
            return (
                "warning",
                "not a valid header name: geomail skips the line, nginx refuses the whole answer",
            )
        missing = "" if colon else ", and no colon"
        return "error", f"not a valid header name{missing}: geomail refuses the whole answer"

    def _judge_status_line(self, line: bytes) -> Remarks:
        version, _, rest = line.partition(b" ")
        if rest[:3] != b"200":
            yield "warning", "geomail and nginx ignore the status: only the headers count"
        elif version == b"HTTP/1.1":
            yield "ok", ""
        if version != b"HTTP/1.1":
            yield "note", "geomail connects again for each login; with HTTP/1.1 it can keep the connection"

    def _judge_header(self, name: bytes, value: bytes) -> Remarks:
        if name in self._seen_names and name in self._judges:
            yield "note", "repeated: a refusal always counts, of other values only the last one"
        self._seen_names.add(name)
        judge = self._judges.get(name)
        if judge is not None:
            yield from judge(self, value)
        elif name in _HTTP_HEADERS:
            yield "ok", ""
        elif name.startswith(b"auth-"):
            close = get_close_matches(name, self._judges, 1)
            hint = f"; did you mean {close[0].decode().title()}?" if close else ""
            yield "warning", f"geomail and nginx do not know this header{hint}"
        else:
            yield "note", "geomail and nginx ignore this header"

    def _auth_status(self, value: bytes) -> Remarks:
        if value == b"OK":
            yield "ok", "the login is accepted"
        elif value == b"WAIT":
            yield "ok", "geomail asks again after Auth-Wait"
        elif value.strip(b"\t .").upper() in _STATUSES:
            yield "error", "not exactly OK or WAIT: the login is refused with these words"
        elif not value:
            yield "warning", "a refusal without words; in SMTP nginx takes it for success"
        else:
            yield from self._judge_words(value)

    def _judge_words(self, value: bytes) -> Remarks:
        yield "ok", "the login is refused with these words"
        if len(value) > LONGEST_TEXT:
            yield "warning", f"geomail cuts the words after {LONGEST_TEXT} bytes"
        if not value.isascii():
            yield "note", "not ASCII: few clients can show it"
        if self._has_reply_codes and REPLY_CODE.match(value):
            yield "warning", "geomail puts another reply code before it; give the code in Auth-Error-Code"

    def _auth_server(self, value: bytes) -> Remarks:
        if not self._accepted:
            yield _IDLE_UNLESS_ACCEPTED
            return
        host = parse_host(value)
        if host is None:
            yield "error", "not an IP address or a host name"
        elif get_ip_family(host) is None:
            yield "warning", "a host name: geomail resolves it, nginx accepts only an IP address"
        elif value.startswith(b"["):
            yield "warning", "nginx accepts an IPv6 address only without brackets"
        else:
            yield "ok", ""

    def _auth_port(self, value: bytes) -> Remarks:
        if not self._accepted:
            yield _IDLE_UNLESS_ACCEPTED
        elif value.isdigit() and len(value) <= 9 and 0 < int(value) < 0x10000:
            yield "ok", ""
        else:
            yield "error", "not a port: must be a number from 1 to 65535"

    def _auth_backend(self, value: bytes) -> Remarks:
        if not self._accepted:
            yield _IDLE_UNLESS_ACCEPTED
            return
        if not self._backends.speaks(value.decode("utf-8", "replace"), self._exchange.protocol):
            yield "error", "[backends] has no table of this name with an address for this protocol"
            return
        yield "note", "replaces Auth-Server and Auth-Port; only geomail knows it"

    def _auth_user(self, value: bytes) -> Remarks:
        yield "ok", "the backend gets this user name" if self._accepted else "the log shows this user name"
        if b"%" in value:
            yield "note", "used as it is: geomail does not decode %XX"

    def _auth_pass(self, value: bytes) -> Remarks:
        if not self._accepted:
            yield _IDLE_UNLESS_ACCEPTED
            return
        yield "ok", "the backend gets this password" if value else "the backend gets an empty password"
        if b"%" in value:
            yield "note", "used as it is: geomail does not decode %XX"

    def _auth_wait(self, value: bytes) -> Remarks:
        if self._accepted:
            yield "note", "no effect: it counts only when the login is refused, or with WAIT"
        elif not value.isdigit() or len(value) > 9:
            yield "warning", "not a number of seconds: geomail takes it as 0"
        elif int(value) > LONGEST_WAIT:
            yield "warning", f"geomail waits at most {LONGEST_WAIT:g} seconds"
        elif self._refused and int(value):
            yield "ok", "the client gets the refusal after this time, and may try again"
        else:
            yield "ok", ""

    def _auth_error_code(self, value: bytes) -> Remarks:
        if not self._has_reply_codes:
            yield "note", "no effect: this protocol has no reply codes"
        elif not self._refused:
            yield "note", "no effect: it counts only when the login is refused"
        elif REPLY_CODE.fullmatch(value):
            yield "ok", ""
        else:
            yield "warning", "not a code like 535 or 454 4.7.0: geomail sends 535 5.7.0 instead"

    # -- as a whole -------------------------------------------------------------------------------

    def _judge_whole(self) -> Remarks:
        size = sum(len(line) + 2 for line in self._exchange.head) + 2
        if size > NGINX_HEAD:
            yield (
                "warning",
                f"{size} bytes of headers: nginx accepts {NGINX_HEAD}, including the blank line",
            )
        if self._answer is not None:
            yield from self._find_missing(self._answer)
            yield from self._judge_end(self._answer)

    def _find_missing(self, answer: Answer) -> Remarks:
        if b"auth-status" not in answer.headers:
            yield "warning", "Auth-Status is missing: the login is accepted anyway"
        if self._waits and not read_wait(answer):
            yield "warning", "WAIT without Auth-Wait: nginx asks again at once, without end"
        if self._refused and not read_wait(answer):
            yield "note", "no Auth-Wait: geomail closes the session; with Auth-Wait the client may try again"
        if self._accepted:
            yield from self._find_missing_to_accept(answer)

    def _find_missing_to_accept(self, answer: Answer) -> Remarks:
        if not answer.last(b"auth-backend"):
            for name in ("Auth-Server", "Auth-Port"):
                if not answer.last(name.lower().encode()):
                    yield "error", f"{name} is missing: geomail does not know which backend to connect to"
        credentials = self._exchange.login.credentials
        known = isinstance(credentials, (Password, NoLogin)) or answer.last(b"auth-pass") is not None
        if self._exchange.needs_password and not known:
            method = credentials.method
            yield "error", f"Auth-Pass is missing: {method} gives no password for the backend"

    def _judge_end(self, answer: Answer) -> Remarks:
        if self._exchange.unasked:
            yield (
                "error",
                "bytes follow the end of the answer, and look like the answer to another request:"
                " from then on geomail connects again for each login",
            )
            return
        connection = b",".join(answer.headers.get(b"connection", ())).lower()
        if self._exchange.kept or not answer.persistent:
            return
        if b"close" in connection:
            yield "note", "Connection: close makes geomail connect again for each login"
        elif answer.last(b"content-length") is None and b"transfer-encoding" not in answer.headers:
            yield "warning", "the body has no length: with Content-Length: 0 geomail can keep the connection"
        else:
            yield (
                "warning",
                f"the body is late, or does not fit its headers, or has over {BODY_LIMIT // 1024} KiB:"
                " geomail connects again for each login",
            )

    _judges: ClassVar[dict[bytes, Callable[[Judge, bytes], Remarks]]] = {
        b"auth-status": _auth_status,
        b"auth-server": _auth_server,
        b"auth-port": _auth_port,
        b"auth-backend": _auth_backend,
        b"auth-user": _auth_user,
        b"auth-pass": _auth_pass,
        b"auth-wait": _auth_wait,
        b"auth-error-code": _auth_error_code,
    }
