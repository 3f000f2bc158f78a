"""POP3 (RFC 1939, 2449, 2595, 5034): with a client, and with a fresh backend, until the login."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from geomail.conversation import SECRET, Conversation
from geomail.errors import Farewell, SessionError
from geomail.parties import Client, Login, Refusal
from geomail.protocols import sasl
from geomail.protocols.base import HandshakeOptions, ImaginedBackend, Protocol
from geomail.protocols.dialogue import (
    BackendDialogue,
    ClientDialogue,
    arguments_of,
    is_broken,
)
from geomail.protocols.facts import POP3

if TYPE_CHECKING:
    from geomail.config.schema import Server

_OK = b"+OK"
_INVALID = b"-ERR invalid command"
_END = b"."
_REFUSED_NEUTRALLY = b"-ERR [AUTH] Authentication failed"
#: In words that fetchmail knows, too, which does not look at the code.
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
#: Response codes of a refusal that is not about user and password.
_NOT_CREDENTIALS = (b"[SYS/PERM]",)
#: The response code (RFC 3206) of a refusal that is about nothing else.
_CREDENTIALS = b"[AUTH]"
#: Commands of later phases: their names may be shown, what follows may be anything.
_NAMED = frozenset((b"STAT", b"LIST", b"RETR", b"DELE", b"RSET", b"TOP", b"UIDL", b"UTF8", b"LANG"))
#: What one space follows, and then a name or password: any other space is part of it (RFC 1939).
_ONE_ARGUMENT = (b"USER", b"PASS")
#: What may follow USER; anything else takes it back.
_AFTER_USER = frozenset((b"PASS", b"CAPA", b"NOOP", b"QUIT"))


# -- with a client --------------------------------------------------------------------------------


class Pop3Replies:
    """What depends on the server alone, made once."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.server_name = server.server_name.encode()
        self.takes_apop = "apop" in server.pop3_auth
        self.mechanisms = sasl.accepted(server.pop3_auth)
        names = sasl.offered([*server.pop3_auth, *(["login"] if "plain" in server.pop3_auth else [])])
        self.methods = (b"+OK methods supported:", *names, _END)
        words = [word.encode() for word in server.pop3_capabilities]
        head = b"+OK Capability list follows"
        sasl_line = b" ".join((b"SASL", *names))
        self.capa = (head, *words, sasl_line, _END)
        self.capa_before_tls: tuple[bytes, ...] = (head, *words, sasl_line, b"STLS", _END)
        if server.starttls == "only":
            words = [word for word in words if word.upper() != b"USER"]
            self.capa_before_tls = (head, *words, b"STLS", _END)


def shown(line: bytes) -> bytes:
    """What may be shown of a line that came where a command is due: a misplaced password may be it."""
    words = line.split(None, 3)
    verb = words[0].upper() if words else b""
    if verb == b"AUTH":
        return sasl.shown(words)
    if verb == b"APOP" and len(words) > 2:
        return b" ".join((words[0], words[1], SECRET))
    if verb == b"PASS" or verb in _NAMED:
        return words[0] if len(words) == 1 else words[0] + b" " + SECRET
    return line if verb in COMMANDS else SECRET


class Pop3Frontend(ClientDialogue):
    """One client's dialogue; commands and replies are nginx's."""

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
        self._salt = sasl.fresh_salt(replies.server_name) if replies.takes_apop else b""

    def greet(self) -> None:
        self.conversation.send_line(b"+OK POP3 ready " + self._salt if self._salt else b"+OK POP3 ready")

    def login(self) -> Login | None:
        while not self._leaving:
            line = self.conversation.read_line(self._limit, shown)
            verb, _, rest = line.partition(b" ")
            verb = verb.upper()
            command = COMMANDS.get(verb)
            arguments = [rest] if verb in _ONE_ARGUMENT and rest else arguments_of(rest)
            if command is None or len(arguments) > self.max_arguments or is_broken(line):
                self.reject(line)
                continue
            self.count_command()
            if self._user is not None and verb not in _AFTER_USER:
                self.invalid()
                continue
            self._pending = command(self, arguments)
            if self._pending is not None:
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

    def invalid(self) -> None:
        self._user = None
        self.conversation.send_line(_INVALID)

    # -- commands ---------------------------------------------------------------------------------

    def _give_user(self, arguments: list[bytes]) -> None:
        if self.must_start_tls:
            self.demand_tls()
            return
        if not arguments:
            self.invalid()
            return
        self._user = arguments[0]
        self.conversation.send_line(_OK)

    def _give_password(self, arguments: list[bytes]) -> Login | None:
        if self.must_start_tls:
            self.demand_tls()
            return None
        if self._user is None or not arguments:
            self.invalid()
            return None
        user, self._user = self._user, None
        return Login("plain", user, arguments[0])

    def _apop(self, arguments: list[bytes]) -> Login | None:
        if self.must_start_tls:
            self.demand_tls()
            return None
        if not self._replies.takes_apop or len(arguments) != 2:
            self.invalid()
            return None
        return sasl.apop(arguments[0], arguments[1], self._salt)

    def _auth(self, arguments: list[bytes]) -> Login | None:
        if self.must_start_tls:
            self.demand_tls()
        elif not arguments:
            self.conversation.send_lines(self._replies.methods)
        else:
            return self.authenticate(arguments, self._replies.mechanisms)
        return None

    def _capa(self, arguments: list[bytes]) -> None:
        before_tls = self.may_start_tls and self._user is None
        self.conversation.send_lines(self._replies.capa_before_tls if before_tls else self._replies.capa)

    def _noop(self, arguments: list[bytes]) -> None:
        self.conversation.send_line(_OK)

    def _quit(self, arguments: list[bytes]) -> None:
        self._leaving = True
        self.conversation.send_line(_OK)

    def _start_tls(self, arguments: list[bytes]) -> None:
        if not self.may_start_tls:
            self.invalid()
            return
        self.conversation.send_line(_OK)
        self.conversation.start_tls()


Command = Callable[[Pop3Frontend, list[bytes]], Login | None]
COMMANDS: dict[bytes, Command] = {
    b"USER": Pop3Frontend._give_user,
    b"PASS": Pop3Frontend._give_password,
    b"APOP": Pop3Frontend._apop,
    b"AUTH": Pop3Frontend._auth,
    b"CAPA": Pop3Frontend._capa,
    b"NOOP": Pop3Frontend._noop,
    b"QUIT": Pop3Frontend._quit,
    b"STLS": Pop3Frontend._start_tls,
}
Pop3Frontend.verbs = _NAMED.union(COMMANDS)


# -- with a backend -------------------------------------------------------------------------------


def handshake(
    backend: Conversation, login: Login, client: Client, options: HandshakeOptions
) -> tuple[bytes, ...]:
    """Log the client in to a fresh POP3 backend; returns the backend's own OK."""
    with BackendDialogue(backend) as dialogue:
        dialogue.open(client, options)
        _expect_ok(dialogue)
        if options.tls == "starttls":
            dialogue.say("STLS", b"STLS", "backend tls = starttls")
            _expect_ok(dialogue)
            backend.start_tls("backend tls = starttls")
        dialogue.require_password(login, "PASS")
        because = "POP3 USER and PASS, as nginx does"
        dialogue.say("USER", b"USER " + login.user, because)
        _expect_ok(dialogue)
        dialogue.say("PASS", b"PASS " + login.password, because, shown=b"PASS " + SECRET)
        return (_expect_ok(dialogue),)


def _expect_ok(dialogue: BackendDialogue) -> bytes:
    heard: list[bytes] = []
    line = dialogue.hear(heard, "+OK")
    if line.startswith(b"+OK"):
        return line
    if not line.startswith(b"-ERR"):
        raise dialogue.garbage(line)
    words = line[len(b"-ERR") :].lstrip(b" ").upper()
    explicit = words.startswith(_CREDENTIALS)
    raise dialogue.refused(
        heard,
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
    """What a server with ``protocol = "pop3"`` speaks."""

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
