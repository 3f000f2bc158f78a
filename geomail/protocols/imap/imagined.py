"""An IMAP backend that exists only in a preview."""

from __future__ import annotations

from geomail.protocols.base import ImaginedBackend


class ImaginedImapBackend(ImaginedBackend):
    """A backend that takes an ID, asks for the literals of one LOGIN, and accepts it."""

    greeting = b"* OK IMAP4rev1 ready"

    def __init__(self) -> None:
        #: The answers to the next lines, whatever they are.
        self._next_answers: list[bytes] = []

    def answer(self, line: bytes) -> list[bytes]:
        if self._next_answers:
            return [self._next_answers.pop(0)]
        tag, _, command = line.partition(b" ")
        if command == b"STARTTLS":
            return [tag + b" OK Begin TLS negotiation now"]
        if command == b"CAPABILITY":
            return [b"* CAPABILITY IMAP4rev1 ID", tag + b" OK Done"]
        if command.startswith(b"ID "):
            return [b"* ID NIL", tag + b" OK Done"]
        self._next_answers = [b"+ OK", tag + b" OK Logged in"]
        return [b"+ OK"]
