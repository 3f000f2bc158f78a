"""An SMTP backend that accepts everything, and logins to try on it."""

from collections.abc import Iterable
from dataclasses import replace

from geomail.conversation import Rehearsal
from geomail.parties import Client, Login, NoLogin, Password
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.smtp import handshake
from tests.protocols.support import OPTIONS, client_at

LOOPBACK_CLIENT = client_at("127.0.0.1")
OFF = replace(OPTIONS, xclient="off")
AUTO = replace(OPTIONS, xclient="auto")
AUTH = replace(OPTIONS, authenticate=True)
AUTH_OFF = replace(OFF, authenticate=True)
PASSTHROUGH = replace(OFF, authenticate=True, passthrough=True)
STARTTLS = replace(OFF, tls="starttls")
EHLO = Login(Password(b"u", b"p"), helo=b"me", esmtp=True)
HELO = Login(Password(b"u", b"p"), helo=b"me")
SILENT = Login(Password(b"u", b"p"))
NONE = Login(NoLogin(b"MAIL FROM:<a>", b"RCPT TO:<b>"), helo=b"me", esmtp=True)
OK = (b"235 2.0.0 OK",)
EVERYTHING = b"XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"


class Server:
    """A backend that accepts everything, but for the answers it is given by the start of a command."""

    def __init__(self, *offers: bytes, **answers: bytes) -> None:
        self.offers = offers
        self.answers = {verb.encode(): answer for verb, answer in answers.items()}

    def __call__(self, line: bytes) -> Iterable[bytes]:
        for start, answer in self.answers.items():
            if line.startswith(start):
                return answer.split(b"\r\n")
        if line.startswith(b"EHLO"):
            lines = (b"be", *self.offers)
            return [*(b"250-" + offer for offer in lines[:-1]), b"250 " + lines[-1]]
        if line.startswith(b"AUTH PLAIN") or line == b"cA==":
            return [b"235 2.7.0 welcome"]
        if line.startswith(b"AUTH LOGIN") or line == b"dQ==":
            return [b"334 x"]
        return [b"220 go on"] if line.startswith((b"XCLIENT", b"STARTTLS")) else [b"250 ok"]


def rehearse(
    login: Login,
    options: HandshakeOptions = OPTIONS,
    server: Server | None = None,
    client: Client = LOOPBACK_CLIENT,
    greeting: bytes = b"220 hi",
) -> tuple[list[bytes], tuple[bytes, ...]]:
    """What is said to this backend, and the answer that results."""
    backend = Rehearsal(greeting, answers=server or Server())
    answer = handshake(backend, login, client, options)
    return backend.said, answer


LOGGED_IN_AS_U = b"XCLIENT ADDR=127.0.0.1 LOGIN=u NAME=[UNAVAILABLE]"
NOT_VOUCHED_FOR = b"XCLIENT ADDR=127.0.0.1 NAME=[UNAVAILABLE]"
