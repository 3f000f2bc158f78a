"""POP3 (RFC 1939, 2449, 2595, 5034), until the login: with a client, and with a fresh backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from geomail.conversation import SECRET, Conversation
from geomail.errors import Farewell, SessionError
from geomail.parties import Client, Credentials, Login, Password, Refusal
from geomail.protocols import sasl
from geomail.protocols.base import HandshakeOptions, ImaginedBackend, Protocol
from geomail.protocols.dialogue import (
    BackendDialogue,
    ClientDialogue,
    is_broken,
    split_arguments,
)
from geomail.protocols.facts import POP3

if TYPE_CHECKING:
    from geomail.config.schema import Server

_OK = b"+OK"
_INVALID = b"-ERR invalid command"
_END = b"."
_REFUSED_NEUTRALLY = b"-ERR [AUTH] Authentication failed"
#: fetchmail does not look at the code, but knows these words.
_REFUSED_FOR_NOW = b"-ERR [SYS/TEMP] Service temporarily unavailable"
FAREWELLS = {
    Farewell.INVALID_COMMAND: _INVALID,
    Farewell.INTERNAL_ERROR: _REFUSED_FOR_NOW,
    Farewell.CREDENTIALS: _REFUSED_NEUTRALLY,
    Farewell.CERTIFICATE_ERROR: b"-ERR SSL certificate error",
    Farewell.NO_CERTIFICATE: b"-ERR No required SSL certificate",
    Farewell.SHUTDOWN: b"-ERR [SYS/TEMP] Server shutting down",
}
#: Response codes (RFC 2449, 3206) that ask to try again later.
_TEMPORARY = (b"[SYS/TEMP]", b"[IN-USE]", b"[LOGIN-DELAY]")
#: Response codes of refusals that are not about user and password.
_NOT_CREDENTIALS = (b"[SYS/PERM]",)
#: The response code (RFC 3206) of a refusal that is surely about user and password.
_CREDENTIALS = b"[AUTH]"
#: Commands of later phases: their names may be shown, but not their arguments.
_NAMED = frozenset((b"STAT", b"LIST", b"RETR", b"DELE", b"RSET", b"TOP", b"UIDL", b"UTF8", b"LANG"))
#: Commands with one argument: spaces after the first one belong to it (RFC 1939).
_ONE_ARGUMENT = (b"USER", b"PASS")
#: Commands that may follow USER; any other one cancels it.
_AFTER_USER = frozenset((b"PASS", b"CAPA", b"NOOP", b"QUIT"))


# -- with a client --------------------------------------------------------------------------------


class Pop3Replies:
    """The replies and choices that depend on the server alone, made once."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.server_name = server.server_name.encode()
        self.takes_apop = "apop" in server.pop3_auth
        self.mechanisms = sasl.select_mechanisms(server.pop3_auth)
        names = sasl.list_names([*server.pop3_auth, *(["login"] if "plain" in server.pop3_auth else [])])
        self.methods = (b"+OK methods supported:", *names, _END)
        words = [word.encode() for word in server.pop3_capabilities]
        head = b"+OK Capability list follows"
        sasl_line = b" ".join((b"SASL", *names))
        self.capa = (head, *words, sasl_line, _END)
        self.capa_before_tls: tuple[bytes, ...] = (head, *words, sasl_line, b"STLS", _END)
        if server.starttls == "only":
            words = [word for word in words if word.upper() != b"USER"]
            self.capa_before_tls = (head, *words, b"STLS", _END)


def mask_command(line: bytes) -> bytes:
    """Return a client's line without secrets; the whole line may be a password, sent at the wrong moment."""
    words = line.split(None, 3)
    verb = words[0].upper() if words else b""
    if verb == b"AUTH":
        return sasl.mask_auth(words)
    if verb == b"APOP" and len(words) > 2:
        return b" ".join((words[0], words[1], SECRET))
    if verb == b"PASS" or verb in _NAMED:
        return words[0] if len(words) == 1 else words[0] + b" " + SECRET
    return line if verb in COMMANDS else SECRET


class Pop3Frontend(ClientDialogue):
    """A client's dialogue, with nginx's commands and replies."""

    __slots__ = ("_replies", "_salt", "_user")

    prompt = b"+ "
    max_arguments = 3
    cancelled = b"-ERR Authentication cancelled"
    no_such_mechanism = b"-ERR Unsupported authentication mechanism"
    tls_first = b"-ERR Must issue a STLS command first"

    def __init__(self, conversation: Conversation, replies: Pop3Replies) -> None:
        super().__init__(conversation, replies.server, replies.server_name, replies.server.pop3_client_buffer)
        self._replies = replies
        self._user: bytes | None = None
        self._salt = sasl.make_salt(replies.server_name) if replies.takes_apop else b""

    def greet(self) -> None:
        self.conversation.send_line(b"+OK POP3 ready " + self._salt if self._salt else b"+OK POP3 ready")

    def login(self) -> Login | None:
        while not self._leaving:
            line = self.conversation.read_line(self._limit, mask_command)
            verb, _, rest = line.partition(b" ")
            verb = verb.upper()
            command = COMMANDS.get(verb)
            arguments = [rest] if verb in _ONE_ARGUMENT and rest else split_arguments(rest)
            if command is None or len(arguments) > self.max_arguments or is_broken(line):
                self.reject(line)
                continue
            self.count_command()
            if self._user is not None and verb not in _AFTER_USER:
                self.answer_invalid()
                continue
            credentials = command(self, arguments)
            if credentials is not None:
                self._pending = Login(credentials)
                return self._pending
        return None

    def refuse(self, refusal: Refusal) -> None:
        self._pending = None
        if refusal.reply:
            self.conversation.send_lines(refusal.reply)
        elif refusal.neutral:
            self.conversation.send_line(_REFUSED_FOR_NOW if refusal.temporary else _REFUSED_NEUTRALLY)
        else:
            self.conversation.send_line(b"-ERR " + refusal.text)

    def farewell(self, error: SessionError, words: tuple[bytes, ...] = ()) -> None:
        if words:
            self.conversation.send_lines(words)
        elif error.farewell in FAREWELLS:
            self.conversation.send_line(FAREWELLS[error.farewell])

    def answer_invalid(self) -> None:
        self._user = None
        self.conversation.send_line(_INVALID)

    # -- commands ---------------------------------------------------------------------------------

    def _take_user(self, arguments: list[bytes]) -> None:
        if self.must_start_tls:
            self.demand_tls()
            return
        if not arguments:
            self.answer_invalid()
            return
        self._user = arguments[0]
        self.conversation.send_line(_OK)

    def _take_password(self, arguments: list[bytes]) -> Credentials | None:
        if self.must_start_tls:
            self.demand_tls()
            return None
        if self._user is None or not arguments:
            self.answer_invalid()
            return None
        user, self._user = self._user, None
        return Password(user, arguments[0])

    def _take_apop(self, arguments: list[bytes]) -> Credentials | None:
        if self.must_start_tls:
            self.demand_tls()
            return None
        if not self._replies.takes_apop or len(arguments) != 2:
            self.answer_invalid()
            return None
        return sasl.take_apop(arguments[0], arguments[1], self._salt)

    def _authenticate(self, arguments: list[bytes]) -> Credentials | None:
        if self.must_start_tls:
            self.demand_tls()
        elif not arguments:
            self.conversation.send_lines(self._replies.methods)
        else:
            return self.authenticate(arguments, self._replies.mechanisms)
        return None

    def _list_capabilities(self, arguments: list[bytes]) -> None:
        before_tls = self.may_start_tls and self._user is None
        self.conversation.send_lines(self._replies.capa_before_tls if before_tls else self._replies.capa)

    def _do_nothing(self, arguments: list[bytes]) -> None:
        self.conversation.send_line(_OK)

    def _quit(self, arguments: list[bytes]) -> None:
        self._leaving = True
        self.conversation.send_line(_OK)

    def _start_tls(self, arguments: list[bytes]) -> None:
        if not self.may_start_tls:
            self.answer_invalid()
            return
        self.conversation.send_line(_OK)
        self.conversation.start_tls()


Command = Callable[[Pop3Frontend, list[bytes]], Credentials | None]
COMMANDS: dict[bytes, Command] = {
    b"USER": Pop3Frontend._take_user,
    b"PASS": Pop3Frontend._take_password,
    b"APOP": Pop3Frontend._take_apop,
    b"AUTH": Pop3Frontend._authenticate,
    b"CAPA": Pop3Frontend._list_capabilities,
    b"NOOP": Pop3Frontend._do_nothing,
    b"QUIT": Pop3Frontend._quit,
    b"STLS": Pop3Frontend._start_tls,
}
Pop3Frontend.verbs = _NAMED.union(COMMANDS)


# -- with a backend -------------------------------------------------------------------------------


def handshake(
    backend: Conversation, login: Login, client: Client, options: HandshakeOptions
) -> tuple[bytes, ...]:
    """Log the client in to a fresh POP3 backend, and return the backend's OK."""
    with BackendDialogue(backend) as dialogue:
        dialogue.open(client, options)
        _expect_ok(dialogue)
        if options.tls == "starttls":
            dialogue.say("STLS", b"STLS", "backend tls = starttls")
            _expect_ok(dialogue)
            backend.start_tls("backend tls = starttls")
        password = dialogue.require_password(login.credentials, "PASS")
        because = "POP3 USER and PASS, as nginx does"
        dialogue.say("USER", b"USER " + password.user, because)
        _expect_ok(dialogue)
        dialogue.say("PASS", b"PASS " + password.password, because, shown=b"PASS " + SECRET)
        return (_expect_ok(dialogue),)


def _expect_ok(dialogue: BackendDialogue) -> bytes:
    lines: list[bytes] = []
    line = dialogue.hear(lines, "+OK")
    if line.startswith(b"+OK"):
        return line
    if not line.startswith(b"-ERR"):
        raise dialogue.make_garbage(line)
    words = line[len(b"-ERR") :].lstrip(b" ").upper()
    explicit = words.startswith(_CREDENTIALS)
    raise dialogue.make_refused(
        lines,
        credentials=explicit or (dialogue.step == "PASS" and not words.startswith(_NOT_CREDENTIALS)),
        temporary=words.startswith(_TEMPORARY),
        explicit=explicit,
    )


class ImaginedPop3Backend(ImaginedBackend):
    """A backend that accepts every command."""

    greeting = b"+OK POP3 ready"

    def answer(self, line: bytes) -> list[bytes]:
        return [_IMAGINED_ANSWERS.get(line[:4], _OK)]


_IMAGINED_ANSWERS = {b"STLS": b"+OK Begin TLS negotiation now", b"PASS": b"+OK Logged in."}


class Pop3Protocol(Protocol):
    """The protocol of a server with ``protocol = "pop3"``."""

    facts = POP3

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._replies = Pop3Replies(server)

    def frontend(self, conversation: Conversation, client: Client) -> Pop3Frontend:
        return Pop3Frontend(conversation, self._replies)

    def handshake(
        self, backend: Conversation, login: Login, client: Client, options: HandshakeOptions
    ) -> tuple[bytes, ...]:
        return handshake(backend, login, client, options)

    @staticmethod
    def imagine_backend(offers: Sequence[str]) -> ImaginedPop3Backend:
        return ImaginedPop3Backend()
