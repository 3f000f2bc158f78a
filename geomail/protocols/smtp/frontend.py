"""SMTP with a client, until its login, or until its first recipient without one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from geomail.conversation import SECRET, Conversation
from geomail.errors import Farewell, SessionError
from geomail.parties import Credentials, Login, NoLogin, Refusal
from geomail.protocols import sasl
from geomail.protocols.dialogue import ClientDialogue, is_broken, split_arguments

if TYPE_CHECKING:
    from geomail.config.schema import Server

_OK = b"250 2.0.0 OK"
_INVALID = b"500 5.5.1 Invalid command"
_INVALID_ARGUMENT = b"501 5.5.4 Invalid argument"
_BAD_SEQUENCE = b"503 5.5.1 Bad sequence of commands"
_AUTHENTICATION_REQUIRED = b"530 5.7.1 Authentication required"
_REFUSED = b"535 5.7.0"
_REFUSED_NEUTRALLY = b"535 5.7.8 Authentication credentials invalid"
_REFUSED_FOR_NOW = b"454 4.7.0 Temporary authentication failure"
_FAILED_FOR_NOW = b"451 4.3.0 Temporary failure, please try again later"
FAREWELLS = {
    Farewell.INVALID_COMMAND: _INVALID,
    Farewell.INTERNAL_ERROR: _REFUSED_FOR_NOW,
    Farewell.CREDENTIALS: _REFUSED_NEUTRALLY,
    Farewell.EARLY_TALKER: b"503 5.5.0 Improper use of SMTP command pipelining",
    Farewell.CERTIFICATE_ERROR: b"421 4.7.1 SSL certificate error",
    Farewell.NO_CERTIFICATE: b"421 4.7.1 No required SSL certificate",
    Farewell.SHUTDOWN: b"421 4.3.2 Service shutting down",
}
#: Bytes of a client's name: no domain is longer (RFC 5321 4.5.3.1.2).
_LONGEST_NAME = 255
_CONTROLS = re.compile(rb"[\0-\x1f\x7f]")
#: Commands of later phases: their names may be shown, but not their arguments.
_NAMED = frozenset((b"DATA", b"BDAT", b"ETRN", b"XCLIENT", b"XFORWARD", b"LHLO"))


class SmtpReplies:
    """The replies and choices that depend on the server alone, made once."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.server_name = server.server_name.encode()
        self.greeting = b"220 %b ESMTP ready" % self.server_name
        self.helo = b"250 %b" % self.server_name
        self.mechanisms = sasl.select_mechanisms(server.smtp_auth)
        self.takes_mail = "none" in server.smtp_auth
        words = [self.server_name, *(word.encode() for word in server.smtp_capabilities)]
        names = sasl.list_names(server.smtp_auth)
        auth = [b" ".join((b"AUTH", *names))] if names else []
        self.ehlo = _multi_line(words + auth)
        auth_before_tls = [] if server.starttls == "only" else auth
        self.ehlo_before_tls = _multi_line([*words, *auth_before_tls, b"STARTTLS"])


def read_name(hello: bytes) -> bytes:
    """Return the name in an EHLO or HELO as Postfix reads it: all words, ``?`` for control characters."""
    name = b" ".join(hello.split()[1:])[:_LONGEST_NAME]
    return _CONTROLS.sub(b"?", name)


def _multi_line(words: list[bytes]) -> tuple[bytes, ...]:
    return (*(b"250-" + word for word in words[:-1]), b"250 " + words[-1])


def mask_command(line: bytes) -> bytes:
    """Return a client's line without secrets; the whole line may be a password, sent at the wrong moment."""
    words = line.split(None, 3)
    verb = words[0].upper() if words else b""
    if verb == b"AUTH":
        return sasl.mask_auth(words)
    if verb in _NAMED:
        return words[0] if len(words) == 1 else words[0] + b" " + SECRET
    return line if verb in COMMANDS else SECRET


class SmtpFrontend(ClientDialogue):
    """A client's dialogue, with nginx's commands and replies."""

    __slots__ = ("_esmtp", "_helo", "_mail", "_replies")

    prompt = b"334 "
    max_arguments = 11
    cancelled = b"501 5.7.0 Authentication cancelled"
    no_such_mechanism = b"504 5.5.4 Unrecognized authentication type"
    tls_first = b"530 5.7.0 Must issue a STARTTLS command first"

    def __init__(self, conversation: Conversation, replies: SmtpReplies) -> None:
        super().__init__(conversation, replies.server, replies.server_name, replies.server.smtp_client_buffer)
        self._replies = replies
        self._forget()

    def greet(self) -> None:
        self.conversation.send_line(self._replies.greeting)

    def login(self) -> Login | None:
        while not self._leaving:
            line = self.conversation.read_line(self._limit, mask_command)
            verb, _, rest = line.partition(b" ")
            command = COMMANDS.get(verb.upper())
            arguments = split_arguments(rest)
            too_many = len(arguments) > self.max_arguments and command is not SmtpFrontend._greet_back
            if command is None or too_many or is_broken(line):
                self.reject(line)
                continue
            self.count_command()
            credentials = command(self, line, arguments)
            if credentials is not None:
                self._pending = Login(credentials, helo=self._helo, esmtp=self._esmtp)
                return self._pending
        return None

    def refuse(self, refusal: Refusal) -> None:
        self._pending = None
        if refusal.reply:
            self.conversation.send_lines(refusal.reply)
        elif refusal.neutral:
            self.conversation.send_line(_REFUSED_FOR_NOW if refusal.temporary else _REFUSED_NEUTRALLY)
        else:
            self.conversation.send_line(b"%b %b" % (refusal.code or _REFUSED, refusal.text))

    def farewell(self, error: SessionError, words: tuple[bytes, ...] = ()) -> None:
        is_mail = self._pending is not None and isinstance(self._pending.credentials, NoLogin)
        if words:
            self.conversation.send_lines(words)
        elif error.farewell is Farewell.INTERNAL_ERROR and is_mail:
            self.conversation.send_line(_FAILED_FOR_NOW)
        elif error.farewell in FAREWELLS:
            self.conversation.send_line(FAREWELLS[error.farewell])

    def answer_invalid(self) -> None:
        self.conversation.send_line(_INVALID)

    def _forget(self) -> None:
        self._helo = b""
        self._esmtp = False
        self._mail = b""

    # -- commands: they get the whole line, and its arguments ---------------------------------------

    def _greet_back(self, line: bytes, arguments: list[bytes]) -> None:
        name = read_name(line)
        if not name:
            self.conversation.send_line(_INVALID_ARGUMENT)
            return
        self._helo = name
        self._esmtp = line[0] in b"Ee"
        self._mail = b""
        if not self._esmtp:
            self.conversation.send_line(self._replies.helo)
        elif self.may_start_tls:
            self.conversation.send_lines(self._replies.ehlo_before_tls)
        else:
            self.conversation.send_lines(self._replies.ehlo)

    def _authenticate(self, line: bytes, arguments: list[bytes]) -> Credentials | None:
        if self.must_start_tls:
            self.demand_tls()
        elif not arguments:
            self.conversation.send_line(_INVALID_ARGUMENT)
        else:
            credentials = self.authenticate(arguments, self._replies.mechanisms)
            if credentials is not None:
                self._mail = b""  # the transaction ends: its sender was not this user
            return credentials
        return None

    def _take_mail(self, line: bytes, arguments: list[bytes]) -> None:
        if not self._replies.takes_mail:
            self.conversation.send_line(_AUTHENTICATION_REQUIRED)
        elif self.must_start_tls:
            self.answer(self.tls_first)
        elif self._mail:
            self.conversation.send_line(_BAD_SEQUENCE)
        elif not arguments:
            self.conversation.send_line(_INVALID_ARGUMENT)
        else:
            self._mail = line.rstrip(b" ")
            self.conversation.send_line(_OK)

    def _take_rcpt(self, line: bytes, arguments: list[bytes]) -> Credentials | None:
        if self._replies.takes_mail and self.must_start_tls:
            self.answer(self.tls_first)
        elif not self._mail:
            self.conversation.send_line(_BAD_SEQUENCE)
        elif not arguments:
            self.conversation.send_line(_INVALID_ARGUMENT)
        else:
            return NoLogin(self._mail, line.rstrip(b" "))
        return None

    def _reset(self, line: bytes, arguments: list[bytes]) -> None:
        self._mail = b""
        self.conversation.send_line(_OK)

    def _do_nothing(self, line: bytes, arguments: list[bytes]) -> None:
        self.conversation.send_line(_OK)

    def _quit(self, line: bytes, arguments: list[bytes]) -> None:
        self._leaving = True
        self.conversation.send_line(b"221 2.0.0 Bye")

    def _start_tls(self, line: bytes, arguments: list[bytes]) -> None:
        if not self.may_start_tls:
            self.answer_invalid()
            return
        self.conversation.send_line(b"220 2.0.0 Start TLS")
        self.conversation.start_tls()
        self._forget()

    def _decline(self, line: bytes, arguments: list[bytes]) -> None:
        self.answer_invalid()


Command = Callable[[SmtpFrontend, bytes, list[bytes]], Credentials | None]
COMMANDS: dict[bytes, Command] = {
    b"HELO": SmtpFrontend._greet_back,
    b"EHLO": SmtpFrontend._greet_back,
    b"AUTH": SmtpFrontend._authenticate,
    b"MAIL": SmtpFrontend._take_mail,
    b"RCPT": SmtpFrontend._take_rcpt,
    b"RSET": SmtpFrontend._reset,
    b"NOOP": SmtpFrontend._do_nothing,
    b"QUIT": SmtpFrontend._quit,
    b"STARTTLS": SmtpFrontend._start_tls,
    b"VRFY": SmtpFrontend._decline,
    b"EXPN": SmtpFrontend._decline,
    b"HELP": SmtpFrontend._decline,
}
SmtpFrontend.verbs = _NAMED.union(COMMANDS)
