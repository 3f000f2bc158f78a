"""IMAP with a client, until it has identified itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from geomail.conversation import SECRET, Conversation, mask_all
from geomail.errors import Farewell, LineTooLong, ProtocolViolation, SessionError
from geomail.parties import Login, Refusal
from geomail.protocols import sasl
from geomail.protocols.dialogue import ClientDialogue, is_broken
from geomail.protocols.imap import identity
from geomail.protocols.imap.arguments import MAX_ARGUMENTS, Literal, Unparsable, is_tag, split
from geomail.protocols.imap.handshake import OWN_TAG

if TYPE_CHECKING:
    from geomail.config.schema import Server
    from geomail.parties import Client

_LINE_END = len(b"\r\n")
_UNTAGGED = b"*"
_INVALID = b"%b BAD invalid command"
_COMPLETED = b"%b OK completed"
_REFUSED_NEUTRALLY = b"%b NO [AUTHENTICATIONFAILED] Authentication failed"
_REFUSED_FOR_NOW = b"%b NO [UNAVAILABLE] Temporary authentication failure"
FAREWELLS = {
    Farewell.INTERNAL_ERROR: b"* BYE [UNAVAILABLE] Service temporarily unavailable",
    Farewell.CERTIFICATE_ERROR: b"* BYE SSL certificate error",
    Farewell.NO_CERTIFICATE: b"* BYE No required SSL certificate",
    Farewell.SHUTDOWN: b"* BYE Server shutting down",
}
#: Where a farewell has no words of its own: by the outcome of the session.
_GOODBYES = {
    "timeout": b"* BYE Disconnected for inactivity",
    "too_many_errors": b"* BYE Too many errors",
    "too_long": b"* BYE Command too long",
    "refused": b"* BYE Login refused",
}
_GOODBYE = b"* BYE Connection closing"
#: What a text must follow, in a response (RFC 9051, resp-text).
_STATUSES = frozenset((b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"))
#: Commands whose names may be shown, and nothing that follows them: it may be anything.
_NAMED = frozenset(
    (b"LOGIN", b"ID", b"ENABLE", b"SELECT", b"EXAMINE", b"LIST", b"STATUS", b"NAMESPACE", b"IDLE")
)


class ImapReplies:
    """What depends on the server alone, made once."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.server_name = server.server_name.encode()
        self.mechanisms = sasl.accepted(server.imap_auth)
        words = [b"* CAPABILITY", *(word.encode() for word in server.imap_capabilities)]
        auth = [b"AUTH=" + name for name in sasl.offered(server.imap_auth)]
        self.capability = b" ".join(words + auth)
        self.id = b"* ID " + server.imap_id.encode()
        if server.starttls == "only":
            self.capability_before_tls = b" ".join([*words, b"STARTTLS", b"LOGINDISABLED"])
        else:
            self.capability_before_tls = b" ".join([*words, *auth, b"STARTTLS"])
        self.greeting = self._greeting(self.capability)
        self.greeting_before_tls = self._greeting(self.capability_before_tls)

    def _greeting(self, capability: bytes) -> bytes:
        if not self.server.imap_greeting_capability:
            return b"* OK IMAP4 ready"
        return b"* OK [%b] IMAP4 ready" % capability.removeprefix(b"* ")


def _is_bye(line: bytes) -> bool:
    return line.upper().startswith(b"* BYE")


def _is_response(line: bytes) -> bool:
    """Tell whether a client can read a backend's line: a status response has a text (RFC 9051)."""
    words = line.split(None, 2)
    textless = len(words) < 2 or (len(words) == 2 and words[1].upper() in _STATUSES)
    return not (textless or line.startswith(OWN_TAG))


def shown(line: bytes) -> bytes:
    """What may be shown of a line that came where a command is due: a misplaced password may be it."""
    words = line.split(None, 4)
    verb = words[1].upper() if len(words) > 1 else b""
    if verb == b"AUTHENTICATE":
        return words[0] + b" " + sasl.shown(words[1:])
    if verb in _NAMED:
        return b" ".join((*words[:2], *([SECRET] if len(words) > 2 else ())))
    return line if verb in COMMANDS else SECRET


class ImapFrontend(ClientDialogue):
    """One client's dialogue; commands and replies are nginx's."""

    __slots__ = ("_client", "_line", "_replies", "_room", "_tag")

    prompt = b"+ "
    max_arguments = MAX_ARGUMENTS
    cancelled = b"BAD Authentication cancelled"
    no_such_mechanism = b"NO Unsupported authentication mechanism"
    tls_first = b"NO [PRIVACYREQUIRED] Must issue a STARTTLS command first"

    def __init__(self, conversation: Conversation, client: Client, replies: ImapReplies) -> None:
        super().__init__(conversation, replies.server, replies.server_name, replies.server.imap_client_buffer)
        self._client = client
        self._replies = replies
        self._line = b""
        self._room = 0
        self._tag = b""

    def greet(self) -> None:
        replies = self._replies
        self.conversation.send_line(replies.greeting_before_tls if self.may_start_tls else replies.greeting)

    def login(self) -> Login | None:
        while not self._leaving:
            self._tag = b""
            self._line = self.conversation.read_line(self._limit, shown)
            try:
                command, arguments = self._parse()
            except Unparsable:
                self.reject(self._line)
                continue
            self.count_command()
            login = command(self, arguments)
            if login is not None:
                login.tag = self._tag
                self._pending = login
                return login
        return None

    def refuse(self, refusal: Refusal) -> None:
        self._pending = None
        if refusal.reply:
            self.conversation.send_lines(self._answered(refusal.reply, _REFUSED_NEUTRALLY))
        elif refusal.neutral:
            words = _REFUSED_FOR_NOW if refusal.temporary else _REFUSED_NEUTRALLY
            self.conversation.send_line(words % self._tag)
        else:
            self.conversation.send_line(b"%b NO %b" % (self._tag, refusal.text))

    def farewell(self, error: SessionError, words: tuple[bytes, ...] = ()) -> None:
        if error.farewell is Farewell.NOTHING:
            return
        lines = self._last_answer(error, words)
        if not any(map(_is_bye, lines)):
            usual = _GOODBYES.get(error.outcome, _GOODBYE)
            lines.append(FAREWELLS.get(error.farewell, usual))
        self.conversation.send_lines(lines)

    def _last_answer(self, error: SessionError, words: tuple[bytes, ...]) -> list[bytes]:
        """The answer that a command still waits for; a backend's words may lack its end, or be that."""
        if error.farewell is Farewell.INVALID_COMMAND:
            if not self._tag and isinstance(error, LineTooLong):
                tag, separator, _ = error.start.partition(b" ")
                self._tag = tag if separator and is_tag(tag) else b""
            return [_INVALID % (self._tag or _UNTAGGED)]
        if self._pending is None or error.farewell is Farewell.SHUTDOWN:
            return []
        refused = error.farewell is Farewell.CREDENTIALS
        return self._answered(words, _REFUSED_NEUTRALLY if refused else _REFUSED_FOR_NOW)

    def _answered(self, words: Sequence[bytes], otherwise: bytes) -> list[bytes]:
        """A backend's words, with ``otherwise`` for the tagged answer if they lack it: before a BYE."""
        said = list(filter(_is_response, words))
        if not any(line.partition(b" ")[0] == self._tag for line in said):
            end = len(said) - 1 if said and _is_bye(said[-1]) else len(said)
            said.insert(end, otherwise % self._tag)
        return said

    def answer(self, words: bytes) -> None:
        self.conversation.send_line(b"%b %b" % (self._tag, words))

    def invalid(self) -> None:
        mark = self._tag or _UNTAGGED
        # the tag of a line that is no command may be a password that came at the wrong moment
        seen = SECRET if self._tag and shown(self._line) == SECRET else mark
        self.conversation.send_line(_INVALID % mark, _INVALID % seen)

    def reject(self, line: bytes) -> None:
        super().reject(line)
        if line.endswith(b"+}"):
            raise self._as_nginx(ProtocolViolation("a rejected line announces a literal", blame="client"))

    # -- parsing ----------------------------------------------------------------------------------

    def _parse(self) -> tuple[Command, list[bytes]]:
        tag, _, rest = self._line.partition(b" ")
        if not is_tag(tag):
            raise Unparsable("no tag")
        self._tag = tag
        verb, _, text = rest.lstrip(b" ").partition(b" ")
        command = COMMANDS.get(verb.upper())
        if command is None or is_broken(self._line):
            raise Unparsable("no such command, or a lone CR")
        self._room = self._limit - len(self._line) - _LINE_END
        if command is ImapFrontend._identify:
            return command, [identity.described(text, self._read_on).encode()]
        return command, self._arguments(text)

    def _arguments(self, text: bytes) -> list[bytes]:
        """The arguments in ``text`` and in what follows it: literals, and lines that go on after them."""
        arguments: list[bytes] = []
        while (literal := split(text, arguments)) is not None:
            argument, text = self._read_on(literal)
            arguments.append(argument)
            if text[:1] not in b" ":
                raise Unparsable("a literal runs on")
        return arguments

    def _read_on(self, literal: Literal) -> tuple[bytes, bytes]:
        """Read a literal, and the line that goes on after it."""
        value = self._read_literal(literal)
        self._room -= literal.size
        self._line = text = self.conversation.read_line(self._room, mask_all)
        self._room -= len(text) + _LINE_END
        if is_broken(text):
            raise Unparsable("a lone CR, or NUL")
        return value, text

    def _read_literal(self, literal: Literal) -> bytes:
        if literal.size + _LINE_END > self._room:
            if literal.waits:
                raise Unparsable("a literal that does not fit")
            raise LineTooLong(f"a literal of {literal.size} bytes", blame="client")
        if literal.waits:
            self.conversation.send_line(b"+ OK")
        return self.conversation.read_exactly(literal.size, mask_all)

    # -- commands ---------------------------------------------------------------------------------

    def _complete(self, *untagged: bytes) -> None:
        self.conversation.send_lines((*untagged, _COMPLETED % self._tag))

    def _capability(self, arguments: list[bytes]) -> None:
        replies = self._replies
        self._complete(replies.capability_before_tls if self.may_start_tls else replies.capability)

    def _noop(self, arguments: list[bytes]) -> None:
        self._complete()

    def _logout(self, arguments: list[bytes]) -> None:
        self._leaving = True
        self._complete(b"* BYE Logging out")

    def _identify(self, arguments: list[bytes]) -> None:
        self._client.client_id = arguments[0].decode()
        self._complete(self._replies.id)

    def _start_tls(self, arguments: list[bytes]) -> None:
        if not self.may_start_tls:
            self.invalid()
            return
        self._complete()
        self.conversation.start_tls()

    def _log_in(self, arguments: list[bytes]) -> Login | None:
        if len(arguments) != 2 or not arguments[0]:
            self.invalid()
            return None
        if self.must_start_tls:
            self.demand_tls()
            return None
        try:
            return sasl.clean(Login("plain", arguments[0], arguments[1]))
        except sasl.Malformed:
            self.invalid()
            return None

    def _authenticate(self, arguments: list[bytes]) -> Login | None:
        if not arguments:
            self.invalid()
            return None
        if self.must_start_tls:
            self.demand_tls()
            return None
        return self.authenticate(arguments, self._replies.mechanisms)

    verb_at = 1


Command = Callable[[ImapFrontend, list[bytes]], Login | None]
COMMANDS: dict[bytes, Command] = {
    b"CAPABILITY": ImapFrontend._capability,
    b"NOOP": ImapFrontend._noop,
    b"LOGOUT": ImapFrontend._logout,
    b"ID": ImapFrontend._identify,
    b"STARTTLS": ImapFrontend._start_tls,
    b"LOGIN": ImapFrontend._log_in,
    b"AUTHENTICATE": ImapFrontend._authenticate,
}
ImapFrontend.verbs = _NAMED.union(COMMANDS)
