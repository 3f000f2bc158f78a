"""IMAP with a client, until it has identified itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from geomail.conversation import SECRET, Conversation, hidden
from geomail.errors import Farewell, LineTooLong, ProtocolViolation, SessionError
from geomail.protocols import sasl
from geomail.protocols.base import Login, Refusal
from geomail.protocols.dialogue import ClientDialogue, is_broken
from geomail.protocols.imap.arguments import MAX_ARGUMENTS, Literal, Unparsable, is_tag, split

if TYPE_CHECKING:
    from geomail.config.schema import Server

_LINE_END = len(b"\r\n")
_UNTAGGED = b"*"
_INVALID = b"%b BAD invalid command"
_COMPLETED = b"%b OK completed"
_REFUSED_NEUTRALLY = b"%b NO [AUTHENTICATIONFAILED] Authentication failed"
_REFUSED_FOR_NOW = b"%b NO [UNAVAILABLE] Temporary authentication failure"
FAREWELLS = {
    Farewell.INTERNAL_ERROR: b"* BAD internal server error",
    Farewell.CERTIFICATE_ERROR: b"* BYE SSL certificate error",
    Farewell.NO_CERTIFICATE: b"* BYE No required SSL certificate",
    Farewell.SHUTDOWN: b"* BYE Server shutting down",
}
#: Commands of later phases: their names may be shown, what follows may be anything.
_NAMED = frozenset((b"ID", b"ENABLE", b"SELECT", b"EXAMINE", b"LIST", b"STATUS", b"NAMESPACE", b"IDLE"))


class ImapReplies:
    """What depends on the server alone, made once."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.server_name = server.server_name.encode()
        self.mechanisms = sasl.accepted(server.imap_auth)
        words = [b"* CAPABILITY", *(word.encode() for word in server.imap_capabilities)]
        auth = [b"AUTH=" + name for name in sasl.offered(server.imap_auth)]
        self.capability = b" ".join(words + auth)
        if server.starttls == "only":
            self.capability_before_tls = b" ".join([*words, b"STARTTLS", b"LOGINDISABLED"])
        else:
            self.capability_before_tls = b" ".join([*words, *auth, b"STARTTLS"])


def shown(line: bytes) -> bytes:
    """What may be shown of a line that came where a command is due: a misplaced password may be it."""
    words = line.split(None, 4)
    verb = words[1].upper() if len(words) > 1 else b""
    if verb == b"AUTHENTICATE":
        return words[0] + b" " + sasl.shown(words[1:])
    if verb == b"LOGIN" or verb in _NAMED:
        return b" ".join((*words[:2], *([SECRET] if len(words) > 2 else ())))
    return line if verb in COMMANDS else SECRET


class ImapFrontend(ClientDialogue):
    """One client's dialogue; commands and replies are nginx's."""

    __slots__ = ("_line", "_replies", "_tag")

    prompt = b"+ "
    max_arguments = MAX_ARGUMENTS

    def __init__(self, client: Conversation, replies: ImapReplies) -> None:
        super().__init__(client, replies.server, replies.server_name, replies.server.imap_client_buffer)
        self._replies = replies
        self._line = b""
        self._tag = b""

    def greet(self) -> None:
        self.client.send_line(b"* OK IMAP4 ready")

    def login(self) -> Login | None:
        while not self._leaving:
            self._tag = b""
            self._line = self.client.read_line(self._limit, shown)
            try:
                command, arguments = self._parse()
            except Unparsable:
                self.reject(self._line)
                continue
            self.count_command()
            login = command(self, arguments)
            if login is not None:
                login.tag = self._tag
                return login
        return None

    def refuse(self, refusal: Refusal) -> None:
        if refusal.reply:
            self.client.send_lines(refusal.reply)
        elif refusal.neutral:
            words = _REFUSED_FOR_NOW if refusal.temporary else _REFUSED_NEUTRALLY
            self.client.send_line(words % self._tag)
        else:
            self.client.send_line(b"%b NO %b" % (self._tag, refusal.text))

    def farewell(self, error: SessionError) -> None:
        if error.farewell is not Farewell.INVALID_COMMAND:
            self._say_farewell(error, FAREWELLS)
            return
        if not self._tag and isinstance(error, LineTooLong):
            tag, separator, _ = error.start.partition(b" ")
            self._tag = tag if separator and is_tag(tag) else b""
        self.invalid()

    def invalid(self) -> None:
        self.client.send_line(_INVALID % (self._tag or _UNTAGGED))

    def reject(self, line: bytes) -> None:
        super().reject(line)
        if line.endswith(b"+}"):
            raise ProtocolViolation("a rejected line announces a literal", blame="client")

    # -- parsing ----------------------------------------------------------------------------------

    def _parse(self) -> tuple[Command, list[bytes]]:
        tag, separator, rest = self._line.partition(b" ")
        if not (separator and is_tag(tag)):
            raise Unparsable("no tag")
        self._tag = tag
        verb, _, text = rest.lstrip(b" ").partition(b" ")
        command = COMMANDS.get(verb.upper())
        if command is None or is_broken(self._line):
            raise Unparsable("no such command, or a lone CR")
        return command, self._arguments(text)

    def _arguments(self, text: bytes) -> list[bytes]:
        """The arguments in ``text`` and in what follows it: literals, and lines that go on after them."""
        arguments: list[bytes] = []
        room = self._limit - len(self._line) - _LINE_END
        while (literal := split(text, arguments)) is not None:
            arguments.append(self._read_literal(literal, room))
            room -= literal.size
            self._line = text = self.client.read_line(room, hidden)
            room -= len(text) + _LINE_END
            if text[:1] not in b" " or is_broken(text):
                raise Unparsable("a literal runs on")
        return arguments

    def _read_literal(self, literal: Literal, room: int) -> bytes:
        if literal.size + _LINE_END > room:
            if literal.waits:
                raise Unparsable("a literal that does not fit")
            raise LineTooLong(f"a literal of {literal.size} bytes", blame="client")
        if literal.waits:
            self.client.send_line(b"+ OK")
        return self.client.read_exactly(literal.size, hidden)

    # -- commands ---------------------------------------------------------------------------------

    def _complete(self, *untagged: bytes) -> None:
        self.client.send_lines((*untagged, _COMPLETED % self._tag))

    def _capability(self, arguments: list[bytes]) -> None:
        replies = self._replies
        self._complete(replies.capability_before_tls if self.may_start_tls else replies.capability)

    def _noop(self, arguments: list[bytes]) -> None:
        self._complete()

    def _logout(self, arguments: list[bytes]) -> None:
        self._leaving = True
        self._complete(b"* BYE")

    def _start_tls(self, arguments: list[bytes]) -> None:
        if not self.may_start_tls:
            self.invalid()
            return
        self._complete()
        self.client.start_tls()

    def _log_in(self, arguments: list[bytes]) -> Login | None:
        if self.must_start_tls or len(arguments) != 2 or not arguments[0]:
            self.invalid()
            return None
        try:
            return sasl.clean(Login("plain", arguments[0], arguments[1]))
        except sasl.Malformed:
            self.invalid()
            return None

    def _authenticate(self, arguments: list[bytes]) -> Login | None:
        if self.must_start_tls or not arguments:
            self.invalid()
            return None
        return self.authenticate(arguments, self._replies.mechanisms)

    verb_at = 1


Command = Callable[[ImapFrontend, list[bytes]], Login | None]
COMMANDS: dict[bytes, Command] = {
    b"CAPABILITY": ImapFrontend._capability,
    b"NOOP": ImapFrontend._noop,
    b"LOGOUT": ImapFrontend._logout,
    b"STARTTLS": ImapFrontend._start_tls,
    b"LOGIN": ImapFrontend._log_in,
    b"AUTHENTICATE": ImapFrontend._authenticate,
}
ImapFrontend.verbs = _NAMED.union(COMMANDS)
