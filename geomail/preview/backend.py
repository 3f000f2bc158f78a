"""A backend that is imagined: it answers as a willing one would, as far as it offers what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from geomail.protocols.base import BackendTls

_NAME = b"backend.example"
#: What a Postfix offers that is willing, as far as a handshake cares.
OFFERS = ("STARTTLS", "AUTH PLAIN LOGIN", "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")


class Script(Protocol):
    """``greeting`` comes first; called with each line that it is sent, it gives what it answers."""

    greeting: bytes

    def __call__(self, line: bytes, /) -> Iterable[bytes]: ...


def script(protocol: str, tls: BackendTls, offers: Sequence[str] = OFFERS) -> Script:
    """The backend of a protocol; ``offers`` is what SMTP's EHLO lists."""
    if protocol == "smtp":
        return SmtpScript(offers if tls == "starttls" else offering((), ("STARTTLS",), offers))
    return ImapScript() if protocol == "imap" else Pop3Script()


def offering(offers: Iterable[str], without: Iterable[str], usual: Iterable[str] = OFFERS) -> tuple[str, ...]:
    """The usual offers with those that replace or add to them, and without some keywords."""
    by_keyword = {_keyword(offer): offer for offer in (*usual, *offers)}
    for keyword in without:
        by_keyword.pop(_keyword(keyword), None)
    return tuple(by_keyword.values())


def _keyword(offer: str) -> str:
    return offer.split()[0].upper()


class SmtpScript:
    """Refuses, in Postfix's words, what its EHLO does not offer."""

    greeting = b"220 %b ESMTP" % _NAME

    def __init__(self, offers: Sequence[str]) -> None:
        self._offers = {_keyword(offer).encode(): offer.encode() for offer in offers}
        self._expects: list[bytes] = []

    def __call__(self, line: bytes) -> Iterable[bytes]:
        if self._expects:
            return [self._expects.pop(0)]
        verb = line.partition(b" ")[0].upper()
        if verb == b"EHLO":
            lines = (_NAME, *self._offers.values())
            return [*(b"250-" + offer for offer in lines[:-1]), b"250 " + lines[-1]]
        if verb in self._refusals and verb not in self._offers:
            return [self._refusals[verb]]
        if verb == b"STARTTLS":
            del self._offers[verb]
        if line.upper() == b"AUTH LOGIN":
            self._expects = [b"334 UGFzc3dvcmQ6", b"235 2.7.0 Authentication successful"]
            return [b"334 VXNlcm5hbWU6"]
        return [self._answers.get(verb, b"250 2.1.0 Ok")]

    _refusals: ClassVar[dict[bytes, bytes]] = {
        b"STARTTLS": b"502 5.5.1 Error: command not implemented",
        b"XCLIENT": b"550 5.7.0 Error: insufficient authorization",
        b"AUTH": b"503 5.5.1 Error: authentication not enabled",
    }
    _answers: ClassVar[dict[bytes, bytes]] = {
        b"HELO": b"250 " + _NAME,
        b"STARTTLS": b"220 2.0.0 Ready to start TLS",
        b"XCLIENT": greeting,
        b"AUTH": b"235 2.7.0 Authentication successful",
        b"RCPT": b"250 2.1.5 Ok",
    }


class ImapScript:
    """Takes an ID, asks for the literals of one LOGIN, and accepts it."""

    greeting = b"* OK IMAP4rev1 ready"

    def __init__(self) -> None:
        self._expects: list[bytes] = []

    def __call__(self, line: bytes) -> Iterable[bytes]:
        if self._expects:
            return [self._expects.pop(0)]
        tag, _, command = line.partition(b" ")
        if command == b"STARTTLS":
            return [tag + b" OK Begin TLS negotiation now"]
        if command == b"CAPABILITY":
            return [b"* CAPABILITY IMAP4rev1 ID", tag + b" OK Done"]
        if command.startswith(b"ID "):
            return [b"* ID NIL", tag + b" OK Done"]
        self._expects = [b"+ OK", tag + b" OK Logged in"]
        return [b"+ OK"]


class Pop3Script:
    """Accepts every command."""

    greeting = b"+OK POP3 ready"

    def __call__(self, line: bytes) -> Iterable[bytes]:
        return [{b"STLS": b"+OK Begin TLS negotiation now", b"PASS": b"+OK Logged in."}.get(line[:4], b"+OK")]
