"""SMTP with a fresh backend, until it is where the client is."""

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
#: What may stand behind the code of a reply; nothing at all counts as a space.
_MARKS = (b" ", b"-", b"")
_UNTOLD = (
    "was not told the client's address, and would take the client, which has not logged in, for geomail: "
    "allow geomail XCLIENT there (in Postfix: smtpd_authorized_xclient_hosts)"
)
#: Answers to AUTH that are about the dialogue, not about user and password.
_NOT_CREDENTIALS = (b"421", b"500", b"501", b"502", b"503", b"504", b"530", b"538")
#: The answer to AUTH (RFC 4954) that is about nothing else.
_CREDENTIALS = b"535 5.7.8"


def handshake(backend: Conversation, login: Login, client: Client, options: HandshakeOptions) -> Reply:
    """Bring a fresh SMTP backend to where the client already is; returns the client's answer."""
    with BackendDialogue(backend) as dialogue:
        return _SmtpHandshake(dialogue, login, client, options).run()


class _SmtpHandshake:
    """One run: the parties, and what the backend's last EHLO offered."""

    def __init__(
        self, dialogue: BackendDialogue, login: Login, client: Client, options: HandshakeOptions
    ) -> None:
        self.dialogue = dialogue
        self.login = login
        self.client = client
        self.options = options
        self.authenticates = options.authenticate or options.passthrough
        self.offers: Reply = ()
        #: The XCLIENT commands that the backend has accepted.
        self.introduced: Sequence[bytes] = ()

    def run(self) -> Reply:
        self.dialogue.open(self.client, self.options)
        self.expect("220")
        if self.options.tls == "starttls":
            self.start_tls()
        self.first_hello()
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
        self.hello(b"EHLO", self.options.server_name, "backend tls = starttls")
        if self.offered(b"STARTTLS") is None:
            raise BackendRefused("does not offer STARTTLS", step="STARTTLS", reply=())
        self.command("STARTTLS", b"STARTTLS", "220", because="backend tls = starttls")
        self.dialogue.backend.start_tls("backend tls = starttls")
        self.offers = ()

    def first_hello(self) -> None:
        options = self.options
        name = options.server_name
        if options.tls == "starttls":
            self.hello(b"EHLO", name, "again, under TLS")
        elif options.xclient != "off":
            self.hello(b"EHLO", name, f"xclient = {options.xclient}")
        elif self.login.esmtp:
            self.hello(b"EHLO", name, "the client said EHLO")
        else:
            self.hello(b"HELO", name, "the client did not say EHLO")

    def introduce(self) -> None:
        """Send XCLIENT, and greet again as the client did."""
        vouched = not self.authenticates
        offered = self.offered(b"XCLIENT")
        if self.options.xclient == "on":
            if offered is None:
                self.dialogue.backend.remark("the backend does not offer XCLIENT; sent because xclient = on")
            lines = [xclient.as_nginx(self.login, self.client, vouched, offered or ())]
        else:
            lines = xclient.commands(self.login, self.client, vouched, offered or ())
        for line in lines:
            self.command("XCLIENT", line, "220 or 250", because=f"xclient = {self.options.xclient}")
        if lines:
            self.introduced = lines
            self.hello_after_xclient()

    def hello_after_xclient(self) -> None:
        if self.login.helo:
            verb = b"EHLO" if self.login.esmtp else b"HELO"
            name = self.login.helo.replace(b" ", b"_")  # a name of several words is one, to any backend
            self.hello(verb, name, f"the client said {verb.decode()}")
        elif self.options.xclient == "auto":
            self.hello(b"EHLO", self.options.server_name, "XCLIENT began the session anew")

    def require_address(self) -> None:
        """Go no further where the backend, by what it offers, would judge this client by geomail's address.

        What it permits geomail (Postfix's mynetworks), it would permit
        everybody. With ``xclient`` and ``proxy_protocol`` off, the operator
        wants it so.
        """
        options = self.options
        if options.xclient == "off" and options.proxy_protocol == "off":
            return
        by_header = proxy_header.tells_address(options.proxy_protocol, self.client)
        if not (by_header or xclient.tell_address(self.introduced)):
            other = "or set proxy_protocol" if options.proxy_protocol == "off" else 'with xclient = "auto"'
            raise BackendRefused(f"{_UNTOLD}, {other}", step="XCLIENT", reply=(), temporary=True)

    def replay(self, mail: NoLogin) -> Reply:
        """Say the client's MAIL and RCPT; the answer to RCPT, whatever it is, is the client's."""
        because = "smtp_auth none: replayed"
        self.command("MAIL", mail.mail, "250", because=because)
        self.dialogue.say("RCPT", mail.rcpt, because)
        return self.reply("any reply")

    def authenticate(self) -> Reply:
        login = self.dialogue.require_password(self.login.credentials, "AUTH")
        because = "passthrough" if self.options.passthrough else "proxy_smtp_auth = on"
        mechanisms = self.offered(b"AUTH") or ()
        if b"LOGIN" in mechanisms and b"PLAIN" not in mechanisms:
            return self.auth_login(login, f"{because}; the backend offers LOGIN and not PLAIN")
        return self.auth_plain(login, because)

    def auth_plain(self, login: Password, because: str) -> Reply:
        response = sasl.encode(b"\0%b\0%b" % (login.user, login.password))
        return self.command(
            "AUTH", b"AUTH PLAIN " + response, "235", because=because, shown=b"AUTH PLAIN " + SECRET
        )

    def auth_login(self, login: Password, because: str) -> Reply:
        self.command("AUTH", b"AUTH LOGIN", "334", because=because)
        self.command("AUTH", sasl.encode(login.user), "334", because="the user")
        return self.command("AUTH", sasl.encode(login.password), "235", because="the password", shown=SECRET)

    # -- commands and replies ---------------------------------------------------------------------

    def hello(self, verb: bytes, name: bytes, because: str) -> None:
        reply = self.command("EHLO", b"%b %b" % (verb, name), "250", because=because)
        if verb == b"EHLO":
            self.offers = reply[1:]

    def command(self, step: str, line: bytes, wanted: str, because: str, shown: bytes | None = None) -> Reply:
        self.dialogue.say(step, line, because, shown)
        return self.expect(wanted)

    def reply(self, wanted: str) -> Reply:
        """Read one reply, of as many lines as it has."""
        heard: list[bytes] = []
        while True:
            line = self.dialogue.hear(heard, wanted)
            mark = line[3:4]
            if len(line) < 3 or not line[:3].isdigit() or mark not in _MARKS:
                raise self.dialogue.make_garbage(line)
            if mark != b"-":
                return tuple(heard)

    def expect(self, wanted: str) -> Reply:
        """Read a reply, and return it if its first line has a wanted code; else the backend refused."""
        reply = self.reply(wanted)
        code = reply[0][:3]
        if code.decode() in wanted:
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

    def offered(self, keyword: bytes) -> Sequence[bytes] | None:
        """The parameters of an extension that the last EHLO offered, None if it did not."""
        parameters: list[bytes] | None = None
        for line in self.offers:
            offer = line[4:].upper()
            if offer.find(keyword) >= 0:  # bytes in bytes would be tried as a number first
                words = offer.replace(b"AUTH=", b"AUTH ").split()
                if words[0] == keyword:
                    parameters = (parameters or []) + words[1:]
        return parameters
