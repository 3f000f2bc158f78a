"""What the dialogues of the three protocols have in common.

:class:`ClientDialogue` holds the counters that end a client's session,
:class:`BackendDialogue` the bounds of what a backend may answer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final

from geomail.conversation import CR, NUL, Conversation, mask_all
from geomail.errors import (
    AuthUnavailable,
    BackendGarbage,
    BackendRefused,
    Farewell,
    SessionError,
    TooManyErrors,
)
from geomail.parties import Client, Login
from geomail.protocols import proxy_header, sasl
from geomail.protocols.base import Frontend, HandshakeOptions

if TYPE_CHECKING:
    from geomail.config.schema import Server

#: Bounds of one reply of a backend, before the relay.
REPLY_LINE: Final = 8192
REPLY_LINES: Final = 128
REPLY_SIZE: Final = 65536
#: So many need no adding up.
_LINES_THAT_FIT: Final = REPLY_SIZE // REPLY_LINE

_HTTP_STARTS = tuple(
    verb + b" /" for verb in (b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE")
)
_HTTP_ENDS = (b" HTTP/1.0", b" HTTP/1.1", b" HTTP/2.0")
_SHOWN_BYTES = 200
#: Where a backend that expects no PROXY header stumbles over it: its greeting, and what is said first.
_FIRST_STEPS = frozenset(("TLS", "greeting", "EHLO", "STARTTLS", "STLS", "USER", "CAPABILITY", "LOGIN"))
_UNEXPECTED_HEADER = (
    'perhaps the backend expects no PROXY header there (proxy_protocol = "{}"): '
    "have it expect one, or switch it off"
)
#: Said in place of a SASL response (RFC 4954, RFC 5034, RFC 9051).
_CANCEL = b"*"


def arguments_of(rest: bytes) -> list[bytes]:
    """The arguments in what follows a verb: only spaces separate, and runs of them count once."""
    return [argument for argument in rest.split(b" ") if argument]


def is_broken(line: bytes) -> bool:
    """Whether a line holds what none may: a CR that ends nothing, or NUL."""
    return CR in line or NUL in line


def is_http(line: bytes) -> bool:
    """Whether a line is the start of an HTTP request, sent by a browser that was led here (ALPACA)."""
    return line.startswith(_HTTP_STARTS) or line.endswith(_HTTP_ENDS)


def quoted(line: bytes) -> str:
    """A peer's line in a private text, shortened."""
    return f"'{line[:_SHOWN_BYTES].decode('utf-8', 'backslashreplace')}'"


class ClientDialogue(Frontend):
    """A frontend with its counters; ``limit`` bounds each line, its end included.

    An *error* is a line that could not be parsed: it is counted, and
    ``max_errors`` of them end the session. An *invalid* command is one that
    was understood and cannot be obeyed; only ``max_commands`` counts it.
    """

    __slots__ = (
        "_commands",
        "_errors",
        "_leaving",
        "_limit",
        "_pending",
        "_server",
        "_server_name",
        "conversation",
    )

    #: What stands before a SASL challenge.
    prompt: ClassVar[bytes]
    #: More words than these make a command, or a SASL response, invalid.
    max_arguments: ClassVar[int]
    #: Verbs that the log may name: anything else may be a password that came at the wrong moment.
    verbs: ClassVar[Collection[bytes]]
    #: Which word of a line is its verb.
    verb_at: ClassVar[int] = 0
    #: The answers to an exchange that the client cancels, and to a mechanism that is not there.
    cancelled: ClassVar[bytes]
    no_such_mechanism: ClassVar[bytes]
    #: The answer to a login before the TLS that ``starttls = "only"`` demands.
    tls_first: ClassVar[bytes]

    def __init__(self, conversation: Conversation, server: Server, server_name: bytes, limit: int) -> None:
        self.conversation = conversation
        self._server = server
        self._server_name = server_name
        self._limit = limit
        self._commands = 0
        self._errors = 0
        self._leaving = False
        #: The login that waits for its answer.
        self._pending: Login | None = None

    @abstractmethod
    def invalid(self) -> None:
        """Send the protocol's invalid-command reply, and forget a command half given."""

    @property
    def may_start_tls(self) -> bool:
        """Whether STARTTLS would be obeyed now."""
        return self._server.starttls != "off" and not self.conversation.secured

    @property
    def must_start_tls(self) -> bool:
        """Whether nothing but STARTTLS leads to a login now."""
        return self._server.starttls == "only" and not self.conversation.secured

    def answer(self, words: bytes) -> None:
        """Answer the command that was just read."""
        self.conversation.send_line(words)

    def demand_tls(self) -> None:
        """Answer a login that came before TLS; with ``nginx_replies`` in nginx's words."""
        if self._server.nginx_replies:
            self.invalid()
        else:
            self.answer(self.tls_first)

    def count_command(self) -> None:
        """Count a command that was parsed; raises TooManyErrors beyond ``max_commands``."""
        self._commands += 1
        if self._commands > self._server.max_commands > 0:
            self.invalid()
            raise TooManyErrors(f"more than {self._server.max_commands} commands", blame="client")

    def reject(self, line: bytes) -> None:
        """Answer a line that could not be parsed, and count it; raises TooManyErrors at ``max_errors``."""
        self.invalid()
        self._errors += 1
        if self._errors + self._commands == 1 and is_http(line):
            raise TooManyErrors("an HTTP request", blame="client")
        if self._errors >= self._server.max_errors:
            last = f"; the last: {self._told(line)}" if line else ""
            raise self._as_nginx(TooManyErrors(f"invalid commands: {self._errors}{last}", blame="client"))

    def _as_nginx(self, error: SessionError) -> SessionError:
        """Return the error, with a goodbye after it or, with ``nginx_replies``, none."""
        error.farewell = Farewell.NOTHING if self._server.nginx_replies else Farewell.GOODBYE
        return error

    def _told(self, line: bytes) -> str:
        """What the log may say of a refused line: its verb and its length, never its arguments."""
        words = line.split(None, self.verb_at + 1)
        verb = words[self.verb_at].upper() if len(words) > self.verb_at else b""
        return f"{verb.decode() if verb in self.verbs else 'unknown'} ({len(line)} bytes)"

    def authenticate(
        self, arguments: Sequence[bytes], mechanisms: dict[bytes, sasl.Mechanism]
    ) -> Login | None:
        """Run a SASL exchange to its end; None if it failed, which the client has been told."""
        exchange = sasl.Exchange(self._ask, self._server_name)
        try:
            return sasl.authenticate(arguments, mechanisms, exchange)
        except sasl.Cancelled:
            self.answer(self.cancelled)
        except sasl.NoSuchMechanism:
            self.answer(self.no_such_mechanism)
        except sasl.Malformed as malformed:
            if malformed.counted:
                self.reject(b"")
            else:
                self.invalid()
        return None

    def _ask(self, challenge: bytes) -> bytes:
        self.conversation.send_line(self.prompt + challenge)
        line = self.conversation.read_line(self._limit, mask_all)
        if line.rstrip(b" ") == _CANCEL:
            raise sasl.Cancelled("the client cancels")
        if is_broken(line) or len(arguments_of(line)) > self.max_arguments:
            raise sasl.Malformed("a response with CR or NUL, or of too many words", counted=True)
        return line.partition(b" ")[0]

    def accept(self, answer: tuple[bytes, ...]) -> None:
        self._pending = None
        self.conversation.send_lines(answer)


class BackendDialogue:
    """What geomail says to a fresh backend, step by step.

    As a context manager it names the step in whatever error ends it, and the
    PROXY header where that is the likely cause. ``tags`` are what an IMAP
    backend answers geomail's own commands with.
    """

    __slots__ = ("_proxy_protocol", "_tags", "backend")

    def __init__(self, backend: Conversation, tags: tuple[bytes, ...] = ()) -> None:
        self.backend = backend
        self._proxy_protocol = "off"
        self._tags = tags

    @property
    def step(self) -> str:
        """What is being done; the conversation keeps it."""
        return self.backend.step

    def __enter__(self) -> BackendDialogue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, SessionError):
            error.step = error.step or self.step
            if self._proxy_protocol != "off" and self._suspects_header(error):
                error.hint = _UNEXPECTED_HEADER.format(self._proxy_protocol)

    def _suspects_header(self, error: SessionError) -> bool:
        """Tell whether a backend fails as one does that takes the PROXY header for commands."""
        if error.blame != "backend" or error.step not in _FIRST_STEPS:
            return False
        if not isinstance(error, BackendRefused):
            return True
        answers_geomail = error.reply[-1:] and error.reply[-1].startswith(self._tags)
        return not (error.credentials or error.temporary or answers_geomail)

    def open(self, client: Client, options: HandshakeOptions) -> None:
        """Say what comes before the greeting: the PROXY header, and TLS if it is implicit."""
        if options.proxy_protocol != "off":
            self._proxy_protocol = options.proxy_protocol
            self.backend.step = "PROXY"
            header, shown = proxy_header.written(options.proxy_protocol, client)
            self.backend.send_bytes(header, shown, f"proxy_protocol = {options.proxy_protocol}")
        if options.tls == "implicit":
            self.backend.step = "TLS"
            self.backend.start_tls("backend tls = implicit")
        self.backend.step = "greeting"

    def say(self, step: str, line: bytes, because: str, shown: bytes | None = None) -> None:
        """Send one line, in this step."""
        self.backend.step = step
        self.backend.send_line(line, shown, because)

    def say_at_once(self, step: str, lines: Sequence[bytes], because: str, shown: Sequence[bytes]) -> None:
        """Send lines that need no answer in between, in this step."""
        self.backend.step = step
        self.backend.send_lines(lines, shown, because)

    def hear(self, reply: list[bytes], wanted: str) -> bytes:
        """Read the next line of a reply and add it to ``reply``; raises BackendGarbage beyond the bounds.

        ``wanted`` names the reply that the handshake goes on after.
        """
        line = self.backend.read_line(REPLY_LINE, because=wanted)
        if is_broken(line):
            raise BackendGarbage("a reply with a lone CR or NUL", step=self.step)
        reply.append(line)
        if len(reply) > _LINES_THAT_FIT and (len(reply) > REPLY_LINES or sum(map(len, reply)) > REPLY_SIZE):
            raise BackendGarbage("a reply that does not end", step=self.step)
        return line

    def refused(
        self,
        reply: Sequence[bytes],
        *,
        credentials: bool = False,
        temporary: bool = False,
        explicit: bool = False,
    ) -> BackendRefused:
        """The error for a backend that said no, in its own words."""
        words = " / ".join(map(quoted, reply[-2:]))
        return BackendRefused(
            f"said {words}",
            step=self.step,
            reply=tuple(reply),
            credentials=credentials,
            temporary=temporary,
            explicit=explicit,
        )

    def garbage(self, line: bytes) -> BackendGarbage:
        """The error for a backend that does not speak its protocol."""
        return BackendGarbage(f"said {quoted(line)}", step=self.step)

    def require_password(self, login: Login, step: str) -> None:
        """Call it before the password is told; it remarks on one that others can read.

        Raises AuthUnavailable if there is no password, but a digest or nothing.
        """
        if login.method != "plain":
            raise AuthUnavailable(f"no password available (method {login.method})", step=step)
        if self.backend.exposed:
            self.backend.remark("the password is sent in clear to another machine: the backend has no tls")
