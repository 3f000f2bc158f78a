"""SMTP with a fresh backend, until it is in the same state as the client."""

from __future__ import annotations

from collections.abc import Sequence

from geomail.conversation import SECRET, Conversation
from geomail.errors import BackendRefused
from geomail.parties import Client, Login, NoLogin, Password
from geomail.protocols import proxy_header, sasl
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.dialogue import BackendDialogue
from geomail.protocols.smtp import xclient

Reply = tuple[bytes, ...]

_LOGGED_IN = (b"235 2.0.0 OK",)
#: The byte after the code of a reply; no byte counts as a space.
_MARKS = (b" ", b"-", b"")
_UNKNOWN_CLIENT = (
    "does not know the client's address, and would trust the client, which has not logged in, like geomail: "
    "allow geomail XCLIENT there (in Postfix: smtpd_authorized_xclient_hosts)"
)
#: Answers to AUTH that are about the dialogue, not about user and password.
_NOT_CREDENTIALS = (b"421", b"500", b"501", b"502", b"503", b"504", b"530", b"538")
#: The answer to AUTH (RFC 4954) that is surely about user and password.
_CREDENTIALS = b"535 5.7.8"


def handshake(backend: Conversation, login: Login, client: Client, options: HandshakeOptions) -> Reply:
    """Bring a fresh SMTP backend to the same state as the client, and return the client's answer."""
    with BackendDialogue(backend) as dialogue:
        return _SmtpHandshake(dialogue, login, client, options).run()


class _SmtpHandshake:
    """One handshake: its parties, and the extensions in the backend's last EHLO."""

    def __init__(
        self, dialogue: BackendDialogue, login: Login, client: Client, options: HandshakeOptions
    ) -> None:
        self.dialogue = dialogue
        self.login = login
        self.client = client
        self.options = options
        self.authenticates = options.authenticate or options.passthrough
        self.extensions: Reply = ()
        #: The commands that the backend has accepted.
        self.xclient_commands: Sequence[bytes] = ()

    def run(self) -> Reply:
        self.dialogue.open(self.client, self.options)
        self.expect("220")
        if self.options.tls == "starttls":
            self.start_tls()
        self.say_first_hello()
        if self.options.xclient != "off":
            self.introduce()
        credentials = self.login.credentials
        if isinstance(credentials, NoLogin):
            self.require_address()
            return self.replay(credentials)
        if not self.authenticates:
            return _LOGGED_IN
        answer = self.authenticate()
        return answer if self.options.passthrough else _LOGGED_IN

    # -- steps ------------------------------------------------------------------------------------

    def start_tls(self) -> None:
        self.say_hello(b"EHLO", self.options.server_name, "backend tls = starttls")
        if self.read_offer(b"STARTTLS") is None:
            raise BackendRefused("does not offer STARTTLS", step="STARTTLS", reply=())
        self.send_command("STARTTLS", b"STARTTLS", "220", because="backend tls = starttls")
        self.dialogue.backend.start_tls("backend tls = starttls")
        self.extensions = ()

    def say_first_hello(self) -> None:
        options = self.options
        name = options.server_name
        if options.tls == "starttls":
            self.say_hello(b"EHLO", name, "again, under TLS")
        elif options.xclient != "off":
            self.say_hello(b"EHLO", name, f"xclient = {options.xclient}")
        elif self.login.esmtp:
            self.say_hello(b"EHLO", name, "the client said EHLO")
        else:
            self.say_hello(b"HELO", name, "the client did not say EHLO")

    def introduce(self) -> None:
        """Send XCLIENT, and say the client's own EHLO or HELO after it."""
        vouched = not self.authenticates
        offered = self.read_offer(b"XCLIENT")
        if self.options.xclient == "on":
            if offered is None:
                self.dialogue.backend.remark("the backend does not offer XCLIENT; sent because xclient = on")
            lines = [xclient.make_command(self.login, self.client, vouched, offered or ())]
        else:
            lines = xclient.make_commands(self.login, self.client, vouched, offered or ())
        for line in lines:
            self.send_command("XCLIENT", line, "220 or 250", because=f"xclient = {self.options.xclient}")
        if lines:
            self.xclient_commands = lines
            self.say_hello_after_xclient()

    def say_hello_after_xclient(self) -> None:
        if self.login.helo:
            verb = b"EHLO" if self.login.esmtp else b"HELO"
            name = self.login.helo.replace(b" ", b"_")  # backends take only one word as the name
            self.say_hello(verb, name, f"the client said {verb.decode()}")
        elif self.options.xclient == "auto":
            self.say_hello(b"EHLO", self.options.server_name, "XCLIENT began a new session")

    def require_address(self) -> None:
        """Stop if the backend does not know the client's address. Raises BackendRefused.

        It would permit the client, which has not logged in, everything that it
        permits geomail (Postfix's mynetworks). With ``xclient`` and
        ``proxy_protocol`` off, that is the operator's wish.
        """
        options = self.options
        if options.xclient == "off" and options.proxy_protocol == "off":
            return
        by_header = proxy_header.holds_address(options.proxy_protocol, self.client)
        if not (by_header or xclient.hold_address(self.xclient_commands)):
            other = "or set proxy_protocol" if options.proxy_protocol == "off" else 'with xclient = "auto"'
            raise BackendRefused(f"{_UNKNOWN_CLIENT}, {other}", step="XCLIENT", reply=(), temporary=True)

    def replay(self, mail: NoLogin) -> Reply:
        """Send the client's MAIL and RCPT, and return the answer to RCPT, even if it is a refusal."""
        because = "smtp_auth none: replayed"
        self.send_command("MAIL", mail.mail, "250", because=because)
        self.dialogue.say("RCPT", mail.rcpt, because)
        return self.read_reply("any reply")

    def authenticate(self) -> Reply:
        login = self.dialogue.require_password(self.login.credentials, "AUTH")
        because = "passthrough" if self.options.passthrough else "proxy_smtp_auth = on"
        mechanisms = self.read_offer(b"AUTH") or ()
        if b"LOGIN" in mechanisms and b"PLAIN" not in mechanisms:
            return self.authenticate_by_login(login, f"{because}; the backend offers LOGIN and not PLAIN")
        return self.authenticate_by_plain(login, because)

    def authenticate_by_plain(self, login: Password, because: str) -> Reply:
        response = sasl.encode(b"\0%b\0%b" % (login.user, login.password))
        return self.send_command(
            "AUTH", b"AUTH PLAIN " + response, "235", because=because, shown=b"AUTH PLAIN " + SECRET
        )

    def authenticate_by_login(self, login: Password, because: str) -> Reply:
        self.send_command("AUTH", b"AUTH LOGIN", "334", because=because)
        self.send_command("AUTH", sasl.encode(login.user), "334", because="the user")
        return self.send_command(
            "AUTH", sasl.encode(login.password), "235", because="the password", shown=SECRET
        )

    # -- commands and replies ---------------------------------------------------------------------

    def say_hello(self, verb: bytes, name: bytes, because: str) -> None:
        reply = self.send_command("EHLO", b"%b %b" % (verb, name), "250", because=because)
        if verb == b"EHLO":
            self.extensions = reply[1:]

    def send_command(
        self, step: str, line: bytes, expected: str, because: str, shown: bytes | None = None
    ) -> Reply:
        self.dialogue.say(step, line, because, shown)
        return self.expect(expected)

    def read_reply(self, expected: str) -> Reply:
        """Read one reply: all of its lines."""
        lines: list[bytes] = []
        while True:
            line = self.dialogue.hear(lines, expected)
            mark = line[3:4]
            if len(line) < 3 or not line[:3].isdigit() or mark not in _MARKS:
                raise self.dialogue.make_garbage(line)
            if mark != b"-":
                return tuple(lines)

    def expect(self, expected: str) -> Reply:
        """Read a reply and return it. Raises BackendRefused if its first line has no ``expected`` code."""
        reply = self.read_reply(expected)
        code = reply[0][:3]
        if code.decode() in expected:
            return reply
        if code[0] not in b"45":
            raise self.dialogue.make_garbage(reply[0])
        credentials = self.dialogue.step == "AUTH" and code not in _NOT_CREDENTIALS
        raise self.dialogue.make_refused(
            reply,
            credentials=credentials,
            temporary=code[:1] == b"4",
            explicit=credentials and reply[-1].startswith(_CREDENTIALS),
        )

    def read_offer(self, keyword: bytes) -> Sequence[bytes] | None:
        """Return the parameters of an extension in the last EHLO; None if it is not offered."""
        parameters: list[bytes] | None = None
        for line in self.extensions:
            offer = line[4:].upper()
            if offer.find(keyword) >= 0:  # `in` would try to read bytes as a number first
                words = offer.replace(b"AUTH=", b"AUTH ").split()
                if words[0] == keyword:
                    parameters = (parameters or []) + words[1:]
        return parameters
