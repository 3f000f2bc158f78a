"""IMAP with a client, until its login."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from geomail.conversation import SECRET, Conversation, mask_all
from geomail.errors import Farewell, LineTooLong, ProtocolViolation, SessionError
from geomail.parties import Credentials, Login, Password, Refusal
from geomail.protocols import sasl
from geomail.protocols.dialogue import ClientDialogue, is_broken
from geomail.protocols.imap import identity
from geomail.protocols.imap.arguments import MAX_ARGUMENTS, Literal, ParseError, is_tag, split
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
#: The words by a session's outcome, for farewells that have none of their own.
_GOODBYES = {
    "timeout": b"* BYE Disconnected for inactivity",
    "too_many_errors": b"* BYE Too many errors",
    "too_long": b"* BYE Command too long",
    "refused": b"* BYE Login refused",
}
_GOODBYE = b"* BYE Connection closing"
#: Responses that must have a text (RFC 9051, resp-text).
_STATUSES = frozenset((b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"))
#: Commands of later phases: their names may be shown, but not their arguments.
_NAMED = frozenset(
    (b"LOGIN", b"ID", b"ENABLE", b"SELECT", b"EXAMINE", b"LIST", b"STATUS", b"NAMESPACE", b"IDLE")
)


class ImapReplies:
    """The replies and choices that depend on the server alone, made once."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.server_name = server.server_name.encode()
        self.mechanisms = sasl.select_mechanisms(server.imap_auth)
        words = [b"* CAPABILITY", *(word.encode() for word in server.imap_capabilities)]
        auth = [b"AUTH=" + name for name in sasl.list_names(server.imap_auth)]
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
    """Tell whether a client can read a backend's line: a status response must have a text (RFC 9051)."""
    words = line.split(None, 2)
    textless = len(words) < 2 or (len(words) == 2 and words[1].upper() in _STATUSES)
    return not (textless or line.startswith(OWN_TAG))


def mask_command(line: bytes) -> bytes:
    """Return a client's line without secrets; the whole line may be a password, sent at the wrong moment."""
    words = line.split(None, 4)
    verb = words[1].upper() if len(words) > 1 else b""
    if verb == b"AUTHENTICATE":
        return words[0] + b" " + sasl.mask_auth(words[1:])
    if verb in _NAMED:
        return b" ".join((*words[:2], *([SECRET] if len(words) > 2 else ())))
    return line if verb in COMMANDS else SECRET


class ImapFrontend(ClientDialogue):
    """A client's dialogue, with nginx's commands and responses."""

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
            self._line = self.conversation.read_line(self._limit, mask_command)
            try:
                command, arguments = self._parse()
            except ParseError:
                self.reject(self._line)
                continue
            self.count_command()
            credentials = command(self, arguments)
            if credentials is not None:
                self._pending = Login(credentials, tag=self._tag)
                return self._pending
        return None

    def refuse(self, refusal: Refusal) -> None:
        self._pending = None
        if refusal.reply:
            self.conversation.send_lines(self._complete_answer(refusal.reply, _REFUSED_NEUTRALLY))
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
        """Return the answer that the last command still waits for, with the backend's words in it."""
        if error.farewell is Farewell.INVALID_COMMAND:
            if not self._tag and isinstance(error, LineTooLong):
                tag, separator, _ = error.start.partition(b" ")
                self._tag = tag if separator and is_tag(tag) else b""
            return [_INVALID % (self._tag or _UNTAGGED)]
        if self._pending is None or error.farewell is Farewell.SHUTDOWN:
            return []
        refused = error.farewell is Farewell.CREDENTIALS
        return self._complete_answer(words, _REFUSED_NEUTRALLY if refused else _REFUSED_FOR_NOW)

    def _complete_answer(self, words: Sequence[bytes], otherwise: bytes) -> list[bytes]:
        """Return a backend's words; if they lack the tagged answer, add ``otherwise``, before a BYE."""
        said = list(filter(_is_response, words))
        if not any(line.partition(b" ")[0] == self._tag for line in said):
            end = len(said) - 1 if said and _is_bye(said[-1]) else len(said)
            said.insert(end, otherwise % self._tag)
        return said

    def answer(self, words: bytes) -> None:
        self.conversation.send_line(b"%b %b" % (self._tag, words))

    def answer_invalid(self) -> None:
        mark = self._tag or _UNTAGGED
        # without a command after it, the tag may be a password that came at the wrong moment
        seen = SECRET if self._tag and mask_command(self._line) == SECRET else mark
        self.conversation.send_line(_INVALID % mark, _INVALID % seen)

    def reject(self, line: bytes) -> None:
        super().reject(line)
        if line.endswith(b"+}"):
            raise self._add_goodbye(ProtocolViolation("a rejected line announces a literal", blame="client"))

    # -- parsing ----------------------------------------------------------------------------------

    def _parse(self) -> tuple[Command, list[bytes]]:
        tag, _, rest = self._line.partition(b" ")
        if not is_tag(tag):
            raise ParseError("no tag")
        self._tag = tag
        verb, _, text = rest.lstrip(b" ").partition(b" ")
        command = COMMANDS.get(verb.upper())
        if command is None or is_broken(self._line):
            raise ParseError("no such command, or a lone CR")
        self._room = self._limit - len(self._line) - _LINE_END
        if command is ImapFrontend._identify:
            return command, [identity.describe(text, self._read_literal_and_rest).encode()]
        return command, self._read_arguments(text)

    def _read_arguments(self, text: bytes) -> list[bytes]:
        """Read all arguments: those in ``text``, literals, and those in the lines after literals."""
        arguments: list[bytes] = []
        while (literal := split(text, arguments)) is not None:
            argument, text = self._read_literal_and_rest(literal)
            arguments.append(argument)
            if text[:1] not in b" ":
                raise ParseError("no space after a literal")
        return arguments

    def _read_literal_and_rest(self, literal: Literal) -> tuple[bytes, bytes]:
        """Read a literal, and the rest of the line after it."""
        value = self._read_literal(literal)
        self._room -= literal.size
        self._line = text = self.conversation.read_line(self._room, mask_all)
        self._room -= len(text) + _LINE_END
        if is_broken(text):
            raise ParseError("a lone CR, or NUL")
        return value, text

    def _read_literal(self, literal: Literal) -> bytes:
        if literal.size + _LINE_END > self._room:
            if literal.waits:
                raise ParseError("a literal that does not fit")
            raise LineTooLong(f"a literal of {literal.size} bytes", blame="client")
        if literal.waits:
            self.conversation.send_line(b"+ OK")
        return self.conversation.read_exactly(literal.size, mask_all)

    # -- commands ---------------------------------------------------------------------------------

    def _complete(self, *untagged: bytes) -> None:
        self.conversation.send_lines((*untagged, _COMPLETED % self._tag))

    def _list_capabilities(self, arguments: list[bytes]) -> None:
        replies = self._replies
        self._complete(replies.capability_before_tls if self.may_start_tls else replies.capability)

    def _do_nothing(self, arguments: list[bytes]) -> None:
        self._complete()

    def _log_out(self, arguments: list[bytes]) -> None:
        self._leaving = True
        self._complete(b"* BYE Logging out")

    def _identify(self, arguments: list[bytes]) -> None:
        self._client.client_id = arguments[0].decode()
        self._complete(self._replies.id)

    def _start_tls(self, arguments: list[bytes]) -> None:
        if not self.may_start_tls:
            self.answer_invalid()
            return
        self._complete()
        self.conversation.start_tls()

    def _log_in(self, arguments: list[bytes]) -> Credentials | None:
        if len(arguments) != 2 or not arguments[0]:
            self.answer_invalid()
            return None
        if self.must_start_tls:
            self.demand_tls()
            return None
        try:
            return sasl.require_clean(Password(arguments[0], arguments[1]))
        except sasl.BadExchange:
            self.answer_invalid()
            return None

    def _authenticate(self, arguments: list[bytes]) -> Credentials | None:
        if not arguments:
            self.answer_invalid()
            return None
        if self.must_start_tls:
            self.demand_tls()
            return None
        return self.authenticate(arguments, self._replies.mechanisms)

    verb_at = 1


Command = Callable[[ImapFrontend, list[bytes]], Credentials | None]
COMMANDS: dict[bytes, Command] = {
    b"CAPABILITY": ImapFrontend._list_capabilities,
    b"NOOP": ImapFrontend._do_nothing,
    b"LOGOUT": ImapFrontend._log_out,
    b"ID": ImapFrontend._identify,
    b"STARTTLS": ImapFrontend._start_tls,
    b"LOGIN": ImapFrontend._log_in,
    b"AUTHENTICATE": ImapFrontend._authenticate,
}
ImapFrontend.verbs = _NAMED.union(COMMANDS)
