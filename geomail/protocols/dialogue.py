"""The code that the dialogues of all protocols share.

:class:`ClientDialogue` holds the counters that end a client's session,
:class:`BackendDialogue` the limits on a backend's answers.
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
from geomail.parties import Asserted, Client, Credentials, Digest, Login, NoLogin, Password, Token
from geomail.protocols import proxy_header, sasl
from geomail.protocols.base import Frontend, HandshakeOptions

if TYPE_CHECKING:
    from geomail.config.schema import Server

#: Limits on one reply of a backend, before the relay: bytes of a line, lines, and bytes in all.
REPLY_LINE: Final = 8192
REPLY_LINES: Final = 128
REPLY_SIZE: Final = 65536
#: This many lines always fit, so their bytes need not be added up.
_LINES_THAT_FIT: Final = REPLY_SIZE // REPLY_LINE

_HTTP_STARTS = tuple(
    verb + b" /" for verb in (b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE")
)
_HTTP_ENDS = (b" HTTP/1.0", b" HTTP/1.1", b" HTTP/2.0")
_SHOWN_BYTES = 200
_EXPOSED = "the password is sent in clear to another machine: the backend has no tls"
#: The steps that fail if the backend does not expect a PROXY header: the greeting and the first commands.
_FIRST_STEPS = frozenset(("TLS", "greeting", "EHLO", "STARTTLS", "STLS", "USER", "CAPABILITY", "LOGIN"))
_UNEXPECTED_HEADER = (
    'perhaps the backend does not expect the PROXY header (proxy_protocol = "{}"): '
    "make it expect one, or switch it off here"
)
#: Cancels an exchange in place of a SASL response (RFC 4954, RFC 5034, RFC 9051).
_CANCEL = b"*"


def split_arguments(rest: bytes) -> list[bytes]:
    """Split the text after a verb into arguments; several spaces count as one."""
    return [argument for argument in rest.split(b" ") if argument]


def is_broken(line: bytes) -> bool:
    """Tell whether a line holds a NUL, or a CR that is not at its end."""
    return CR in line or NUL in line


def is_http(line: bytes) -> bool:
    """Tell whether a line begins an HTTP request, from a browser that an attacker led here (ALPACA)."""
    return line.startswith(_HTTP_STARTS) or line.endswith(_HTTP_ENDS)


def quote(line: bytes) -> str:
    """Quote a peer's line for a private text, shortened."""
    return f"'{line[:_SHOWN_BYTES].decode('utf-8', 'backslashreplace')}'"


class ClientDialogue(Frontend):
    """A frontend with its counters; a line has at most ``limit`` bytes, its end included.

    An *error* is a line that could not be parsed: ``max_errors`` of them end
    the session. An *invalid* command was parsed but cannot be obeyed: only
    ``max_commands`` counts it.
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

    #: The bytes before a SASL challenge.
    prompt: ClassVar[bytes]
    #: A command or a SASL response with more words is an error.
    max_arguments: ClassVar[int]
    #: Verbs that the log may show: any other word may be a password that the client sent too early.
    verbs: ClassVar[Collection[bytes]]
    #: The place of the verb among the words of a line.
    verb_at: ClassVar[int] = 0
    #: The answers to an exchange that the client cancels, and to a mechanism that does not exist.
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
    def answer_invalid(self) -> None:
        """Send the reply to an invalid command, and forget a login that is half given."""

    @property
    def may_start_tls(self) -> bool:
        """True if geomail would obey STARTTLS now."""
        return self._server.starttls != "off" and not self.conversation.secured

    @property
    def must_start_tls(self) -> bool:
        """True if the client must start TLS before it may log in."""
        return self._server.starttls == "only" and not self.conversation.secured

    def answer(self, words: bytes) -> None:
        """Answer the last command."""
        self.conversation.send_line(words)

    def demand_tls(self) -> None:
        """Refuse a login that came before TLS; with ``nginx_replies`` in nginx's words."""
        if self._server.nginx_replies:
            self.answer_invalid()
        else:
            self.answer(self.tls_first)

    def count_command(self) -> None:
        """Count a command that was parsed. Raises TooManyErrors beyond ``max_commands``."""
        self._commands += 1
        if self._commands > self._server.max_commands > 0:
            self.answer_invalid()
            raise TooManyErrors(f"more than {self._server.max_commands} commands", blame="client")

    def reject(self, line: bytes) -> None:
        """Answer a line that could not be parsed, and count it. Raises TooManyErrors at ``max_errors``."""
        self.answer_invalid()
        self._errors += 1
        if self._errors + self._commands == 1 and is_http(line):
            raise TooManyErrors("an HTTP request", blame="client")
        if self._errors >= self._server.max_errors:
            last = f"; the last: {self._describe_line(line)}" if line else ""
            raise self._add_goodbye(TooManyErrors(f"invalid commands: {self._errors}{last}", blame="client"))

    def _add_goodbye(self, error: SessionError) -> SessionError:
        """Return the error with a goodbye as its farewell; with ``nginx_replies`` without one."""
        error.farewell = Farewell.NOTHING if self._server.nginx_replies else Farewell.GOODBYE
        return error

    def _describe_line(self, line: bytes) -> str:
        """Describe a refused line for the log: its verb and length, but not its arguments."""
        words = line.split(None, self.verb_at + 1)
        verb = words[self.verb_at].upper() if len(words) > self.verb_at else b""
        return f"{verb.decode() if verb in self.verbs else 'unknown'} ({len(line)} bytes)"

    def authenticate(
        self, arguments: Sequence[bytes], mechanisms: dict[bytes, sasl.Mechanism]
    ) -> Credentials | None:
        """Run a SASL exchange; return None if it failed and the client has got its answer."""
        exchange = sasl.Exchange(self._ask, self._server_name)
        try:
            return sasl.authenticate(arguments, mechanisms, exchange)
        except sasl.CancelledExchange:
            self.answer(self.cancelled)
        except sasl.NoSuchMechanism:
            self.answer(self.no_such_mechanism)
        except sasl.BadExchange as bad:
            if bad.counted:
                self.reject(b"")
            else:
                self.answer_invalid()
        return None

    def _ask(self, challenge: bytes) -> bytes:
        self.conversation.send_line(self.prompt + challenge)
        line = self.conversation.read_line(self._limit, mask_all)
        if line.rstrip(b" ") == _CANCEL:
            raise sasl.CancelledExchange("the client cancels")
        if is_broken(line) or len(split_arguments(line)) > self.max_arguments:
            raise sasl.BadExchange("a response with CR or NUL, or of too many words", counted=True)
        return line.partition(b" ")[0]

    def accept(self, answer: tuple[bytes, ...]) -> None:
        self._pending = None
        self.conversation.send_lines(answer)


class BackendDialogue:
    """geomail's dialogue with a fresh backend, step by step.

    As a context manager it adds the step to the error that ends the dialogue,
    and a hint if the PROXY header is the likely cause. ``tags`` begin an IMAP
    backend's answers to geomail's own commands.
    """

    __slots__ = ("_proxy_protocol", "_tags", "backend")

    def __init__(self, backend: Conversation, tags: tuple[bytes, ...] = ()) -> None:
        self.backend = backend
        self._proxy_protocol = "off"
        self._tags = tags

    @property
    def step(self) -> str:
        """The name of the present step; the conversation keeps it."""
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
        """Tell whether a backend has probably read the PROXY header as commands."""
        if error.blame != "backend" or error.step not in _FIRST_STEPS:
            return False
        if not isinstance(error, BackendRefused):
            return True
        answers_geomail = error.reply[-1:] and error.reply[-1].startswith(self._tags)
        return not (error.credentials or error.temporary or answers_geomail)

    def open(self, client: Client, options: HandshakeOptions) -> None:
        """Do the steps before the greeting: the PROXY header, and TLS if it is implicit."""
        if options.proxy_protocol != "off":
            self._proxy_protocol = options.proxy_protocol
            self.backend.step = "PROXY"
            header, shown = proxy_header.make_header(options.proxy_protocol, client)
            self.backend.send_bytes(header, shown, f"proxy_protocol = {options.proxy_protocol}")
        if options.tls == "implicit":
            self.backend.step = "TLS"
            self.backend.start_tls("backend tls = implicit")
        self.backend.step = "greeting"

    def say(self, step: str, line: bytes, because: str, shown: bytes | None = None) -> None:
        """Begin a step with one line."""
        self.backend.step = step
        self.backend.send_line(line, shown, because)

    def say_at_once(self, step: str, lines: Sequence[bytes], because: str, shown: Sequence[bytes]) -> None:
        """Begin a step with several lines that need no answer in between."""
        self.backend.step = step
        self.backend.send_lines(lines, shown, because)

    def hear(self, reply: list[bytes], expected: str) -> bytes:
        """Read the next line of a reply, add it to ``reply`` and return it.

        ``expected`` names the reply that lets the handshake go on. Raises
        BackendGarbage beyond the limits.
        """
        line = self.backend.read_line(REPLY_LINE, because=expected)
        if is_broken(line):
            raise BackendGarbage("a reply with a lone CR or NUL", step=self.step)
        reply.append(line)
        if len(reply) > _LINES_THAT_FIT and (len(reply) > REPLY_LINES or sum(map(len, reply)) > REPLY_SIZE):
            raise BackendGarbage("a reply that does not end", step=self.step)
        return line

    def make_refused(
        self,
        reply: Sequence[bytes],
        *,
        credentials: bool = False,
        temporary: bool = False,
        explicit: bool = False,
    ) -> BackendRefused:
        """Return the error for a backend that refuses a step, with the backend's words."""
        words = " / ".join(map(quote, reply[-2:]))
        return BackendRefused(
            f"said {words}",
            step=self.step,
            reply=tuple(reply),
            credentials=credentials,
            temporary=temporary,
            explicit=explicit,
        )

    def make_garbage(self, line: bytes) -> BackendGarbage:
        """Return the error for a backend that breaks the protocol."""
        return BackendGarbage(f"said {quote(line)}", step=self.step)

    def require_password(self, credentials: Credentials, step: str) -> Password:
        """Return the password that the backend needs now; remark if others can read it on its way.

        Raises AuthUnavailable if the credentials are of another type.
        """
        match credentials:
            case Password():
                if self.backend.exposed:
                    self.backend.remark(_EXPOSED)
                return credentials
            case Digest() | Token() | Asserted() | NoLogin():
                raise AuthUnavailable(f"no password available (method {credentials.method})", step=step)
