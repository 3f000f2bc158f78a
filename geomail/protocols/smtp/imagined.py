"""An SMTP backend that exists only in a preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from geomail.protocols.base import ImaginedBackend

_NAME: Final = b"backend.example"
_GREETING: Final = b"220 " + _NAME + b" ESMTP"
#: Postfix's answers to what its EHLO does not offer.
_REFUSALS: Final = {
    b"STARTTLS": b"502 5.5.1 Error: command not implemented",
    b"XCLIENT": b"550 5.7.0 Error: insufficient authorization",
    b"AUTH": b"503 5.5.1 Error: authentication not enabled",
}
_ANSWERS: Final = {
    b"HELO": b"250 " + _NAME,
    b"STARTTLS": b"220 2.0.0 Ready to start TLS",
    b"XCLIENT": _GREETING,
    b"AUTH": b"235 2.7.0 Authentication successful",
    b"RCPT": b"250 2.1.5 Ok",
}


class ImaginedSmtpBackend(ImaginedBackend):
    """A backend that refuses, in Postfix's words, what its EHLO does not offer."""

    greeting = _GREETING

    def __init__(self, offers: Sequence[str]) -> None:
        self._offers = {offer.split()[0].upper().encode(): offer.encode() for offer in offers}
        #: The answers to the next lines, whatever they are.
        self._next_answers: list[bytes] = []

    def answer(self, line: bytes) -> list[bytes]:
        if self._next_answers:
            return [self._next_answers.pop(0)]
        verb = line.partition(b" ")[0].upper()
        if verb == b"EHLO":
            return self._ehlo()
        if verb in _REFUSALS and verb not in self._offers:
            return [_REFUSALS[verb]]
        if verb == b"STARTTLS":
            del self._offers[verb]
        if line.upper() == b"AUTH LOGIN":
            self._next_answers = [b"334 UGFzc3dvcmQ6", _ANSWERS[b"AUTH"]]
            return [b"334 VXNlcm5hbWU6"]
        return [_ANSWERS.get(verb, b"250 2.1.0 Ok")]

    def _ehlo(self) -> list[bytes]:
        lines = [_NAME, *self._offers.values()]
        return [*(b"250-" + line for line in lines[:-1]), b"250 " + lines[-1]]
