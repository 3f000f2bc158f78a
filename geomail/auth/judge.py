"""What is to be said about an auth service's answer, header by header: for those who write one.

``ok`` is what works with geomail and with nginx, a ``note`` what is worth
knowing, a ``warning`` what nginx takes differently or what costs something,
an ``error`` what lets a login fail that was not to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Literal

from geomail.auth.http import LONGEST_TEXT, LONGEST_WAIT, REPLY_CODE, server_host, wait
from geomail.net.http import BODY_LIMIT, is_name
from geomail.net.resolver import get_ip_family

if TYPE_CHECKING:
    from geomail.backends import Backends
    from geomail.net.http import Answer
    from geomail.parties import Login

#: Bytes of status line and headers, the blank line included, that nginx takes.
NGINX_HEAD = 1024
_STATUSES = (b"OK", b"WAIT")
#: What nginx takes in the name of a header.
_NGINX_NAME = b"-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: What HTTP itself has, or servers add by themselves.
_PLUMBING = frozenset(
    (
        *(b"content-length", b"transfer-encoding", b"connection", b"keep-alive"),
        *(b"date", b"server", b"content-type"),
    )
)

Severity = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a line of the answer; ``line`` is None for what is missing, or for the whole."""

    line: int | None
    severity: Severity
    text: str


_IDLE_UNLESS_ACCEPTED: tuple[Severity, str] = ("note", "no effect: it counts where the login is accepted")
Says = Iterator[tuple[Severity, str]]


class Judge:
    """Judges one answer to one login.

    ``head`` holds the answer's lines up to the blank one, ``answer`` what was
    understood of them, None if that is nothing. ``kept``: the connection can
    be used again; ``unasked``: there were bytes behind the end of the answer.
    ``needs_password``: the backend is told one.
    """

    def __init__(
        self,
        head: Sequence[bytes],
        answer: Answer | None,
        login: Login,
        protocol: str,
        backends: Backends,
        *,
        kept: bool,
        unasked: bool,
        needs_password: bool,
    ) -> None:
        self._head = head
        self._answer = answer
        self._login = login
        self._protocol = protocol
        self._backends = backends
        self._kept = kept
        self._unasked = unasked
        self._needs_password = needs_password
        self._names: set[bytes] = set()
        statuses = answer.headers.get(b"auth-status", []) if answer else []
        self._refused = any(status not in _STATUSES for status in statuses)
        self._waits = not self._refused and b"WAIT" in statuses
        self._accepted = not self._refused and not self._waits

    def findings(self) -> Iterator[Finding]:
        """All that is to be said, in the order of the lines."""
        for number, line in enumerate(self._head):
            yield from (Finding(number, severity, text) for severity, text in self._line(number, line))
        yield from (Finding(None, severity, text) for severity, text in self._whole())

    # -- line by line -----------------------------------------------------------------------------

    def _line(self, number: int, line: bytes) -> Says:
        if line.startswith(b"HTTP/"):
            yield from self._status_line(line)
            return
        if number == 0:
            yield "note", "no status line: nginx, too, takes this for a header"
        if line[:1] in b" \t":
            yield "error", "a header does not go on in the next line: the whole answer is refused"
            return
        name, colon, value = line.partition(b":")
        if not is_name(name):
            yield self._odd_name(name, colon)
            return
        if not colon:
            yield "warning", "no colon: a header without a value"
        if name.lower() == b"auth_status":
            yield "error", "Auth-Status is spelled with an underscore: the whole answer is refused"
        elif name.translate(None, _NGINX_NAME):
            yield "warning", "nginx refuses the whole answer: its names have letters, digits and - only"
        if b"\t" in value[:1] + value[-1:]:
            yield "warning", "nginx takes the tab for a part of the value"
        yield from self._header(name.lower(), value.strip(b" \t"))

    def _odd_name(self, name: bytes, colon: bytes) -> tuple[Severity, str]:
        if self._answer is not None:
            return "warning", "this cannot be the name of a header: geomail skips the line, nginx refuses all"
        missing = "" if colon else " and there is no colon"
        return "error", f"this cannot be the name of a header{missing}: the whole answer is refused"

    def _status_line(self, line: bytes) -> Says:
        version, _, rest = line.partition(b" ")
        if rest[:3] != b"200":
            yield "warning", "the status counts for nothing: what the headers say is done"
        elif version == b"HTTP/1.1":
            yield "ok", ""
        if version != b"HTTP/1.1":
            yield "note", "the connection is not kept: HTTP/1.1 saves making one for each login"

    def _header(self, name: bytes, value: bytes) -> Says:
        if name in self._names and name in self._judges:
            yield "note", "given before: a refusal counts in any case, of the others the last one"
        self._names.add(name)
        judge = self._judges.get(name)
        if judge is not None:
            yield from judge(self, value)
        elif name in _PLUMBING:
            yield "ok", ""
        elif name.startswith(b"auth-"):
            close = get_close_matches(name, self._judges, 1)
            meant = f": is {close[0].decode().title()} meant?" if close else ""
            yield "warning", f"neither geomail nor nginx knows this header{meant}"
        else:
            yield "note", "neither geomail nor nginx looks at it"

    def _auth_status(self, value: bytes) -> Says:
        if value == b"OK":
            yield "ok", "the login is accepted"
        elif value == b"WAIT":
            yield "ok", "the question is put again after Auth-Wait"
        elif value.strip(b"\t .").upper() in _STATUSES:
            yield "error", "not OK or WAIT, letter by letter: this is a refusal in these words"
        elif not value:
            yield "warning", "a refusal without words, which nginx takes for success in SMTP"
        else:
            yield from self._words(value)

    def _words(self, value: bytes) -> Says:
        yield "ok", "the login is refused in these words"
        if len(value) > LONGEST_TEXT:
            yield "warning", f"geomail cuts them after {LONGEST_TEXT} bytes"
        if not value.isascii():
            yield "note", "not ASCII: few clients show that"
        if self._protocol == "smtp" and REPLY_CODE.match(value):
            yield "warning", "a reply code is put before it: Auth-Error-Code says which"

    def _auth_server(self, value: bytes) -> Says:
        if not self._accepted:
            yield _IDLE_UNLESS_ACCEPTED
            return
        host = server_host(value)
        if host is None:
            yield "error", "neither an IP address nor a host name"
        elif get_ip_family(host) is None:
            yield "warning", "a name, which geomail resolves; nginx wants an IP address"
        elif value.startswith(b"["):
            yield "warning", "nginx wants an IPv6 address without brackets"
        else:
            yield "ok", ""

    def _auth_port(self, value: bytes) -> Says:
        if not self._accepted:
            yield _IDLE_UNLESS_ACCEPTED
        elif value.isdigit() and len(value) <= 9 and 0 < int(value) < 0x10000:
            yield "ok", ""
        else:
            yield "error", "not a port: it must be a number from 1 to 65535"

    def _auth_backend(self, value: bytes) -> Says:
        if not self._accepted:
            yield _IDLE_UNLESS_ACCEPTED
            return
        try:
            self._backends.named(value.decode())
        except (KeyError, UnicodeDecodeError):
            yield "error", "there is no such table in [backends]"
            return
        yield "note", "geomail's own, in place of Auth-Server and Auth-Port; nginx does not know it"

    def _auth_user(self, value: bytes) -> Says:
        yield "ok", "the backend is told this user" if self._accepted else "the log names this user"
        if b"%" in value:
            yield "note", "taken as it stands: %XX is not decoded"

    def _auth_pass(self, value: bytes) -> Says:
        if not self._accepted:
            yield _IDLE_UNLESS_ACCEPTED
            return
        yield "ok", "the backend is told this password" if value else "the backend is told an empty password"
        if b"%" in value:
            yield "note", "taken as it stands: %XX is not decoded"

    def _auth_wait(self, value: bytes) -> Says:
        if self._accepted:
            yield "note", "no effect: it counts where the login is refused, or with WAIT"
        elif not value.isdigit() or len(value) > 9:
            yield "warning", "not a number of seconds: geomail takes it for 0"
        elif int(value) > LONGEST_WAIT:
            yield "warning", f"geomail waits {LONGEST_WAIT:g} seconds at most"
        elif self._refused and int(value):
            yield "ok", "the refusal is told after this time, and the client may try again"
        else:
            yield "ok", ""

    def _auth_error_code(self, value: bytes) -> Says:
        if self._protocol != "smtp":
            yield "note", "no effect: it counts in SMTP alone"
        elif not self._refused:
            yield "note", "no effect: it counts where the login is refused"
        elif REPLY_CODE.fullmatch(value):
            yield "ok", ""
        else:
            yield "warning", "not a code like 535 or 454 4.7.0: geomail says 535 5.7.0 instead"

    # -- as a whole -------------------------------------------------------------------------------

    def _whole(self) -> Says:
        size = sum(len(line) + 2 for line in self._head) + 2
        if size > NGINX_HEAD:
            yield "warning", f"{size} bytes of headers: nginx takes {NGINX_HEAD}, the blank line included"
        if self._answer is not None:
            yield from self._missing(self._answer)
            yield from self._end(self._answer)

    def _missing(self, answer: Answer) -> Says:
        if b"auth-status" not in answer.headers:
            yield "warning", "Auth-Status is missing: the login is accepted all the same"
        if self._waits and not wait(answer):
            yield "warning", "WAIT without Auth-Wait: nginx asks again at once, and without end"
        if self._refused and not wait(answer):
            yield "note", "without Auth-Wait the session is closed; with it the client may try again"
        if self._accepted:
            yield from self._missing_to_accept(answer)

    def _missing_to_accept(self, answer: Answer) -> Says:
        if not answer.last(b"auth-backend"):
            for name in ("Auth-Server", "Auth-Port"):
                if not answer.last(name.lower().encode()):
                    yield "error", f"{name} is missing: nobody knows where the user's mail is"
        known = self._login.method in ("plain", "none") or answer.last(b"auth-pass") is not None
        if self._needs_password and not known:
            yield "error", f"Auth-Pass is missing: {self._login.method} gives no password to tell the backend"

    def _end(self, answer: Answer) -> Says:
        if self._unasked:
            yield (
                "error",
                "there are bytes behind the end of the answer, which could be taken for the answer to another"
                " question: geomail connects again for each login from the first such answer on",
            )
            return
        connection = b",".join(answer.headers.get(b"connection", ())).lower()
        if self._kept or not answer.persistent:
            return
        if b"close" in connection:
            yield "note", "Connection: close makes geomail connect again for each login"
        elif answer.last(b"content-length") is None and b"transfer-encoding" not in answer.headers:
            yield "warning", "the body has no end: with Content-Length: 0 geomail could keep the connection"
        else:
            yield (
                "warning",
                f"the body did not come in time, or not as announced, or has over {BODY_LIMIT // 1024} KiB:"
                " geomail connects again for each login",
            )

    _judges: ClassVar[dict[bytes, Callable[[Judge, bytes], Says]]] = {
        b"auth-status": _auth_status,
        b"auth-server": _auth_server,
        b"auth-port": _auth_port,
        b"auth-backend": _auth_backend,
        b"auth-user": _auth_user,
        b"auth-pass": _auth_pass,
        b"auth-wait": _auth_wait,
        b"auth-error-code": _auth_error_code,
    }
