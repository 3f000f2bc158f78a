"""What the clients and the backend of a measurement say to each other: one session of each protocol."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

#: Distinct users, so that nothing can be answered from memory alone.
USERS = 1000
PASSWORD = b"geheim-0123"
#: Bytes of one line in a round trip, each way.
ROUND_TRIP = 64


class Step(NamedTuple):
    """A line that a client says, and how the last line of the answer starts."""

    says: bytes
    expects: bytes


class Words(NamedTuple):
    """A protocol as the clients speak it: first the greeting is awaited, then one of ``logins`` follows."""

    greeting: bytes
    logins: Sequence[tuple[Step, ...]]
    noop: Step
    leave: Step


def padded(line: bytes) -> bytes:
    """A line of exactly ROUND_TRIP bytes."""
    return line + b" " + b"q" * (ROUND_TRIP - len(line) - 3) + b"\r\n"


def _users() -> list[bytes]:
    return [b"user%d@example.com" % number for number in range(USERS)]


def _imap() -> Words:
    logins = [(Step(b"a LOGIN %b %b\r\n" % (user, PASSWORD), b"a OK"),) for user in _users()]
    return Words(b"* OK", logins, Step(padded(b"n NOOP"), b"n OK"), Step(b"z LOGOUT\r\n", b"z OK"))


def _smtp() -> Words:
    logins = []
    for user in _users():
        secret = base64.b64encode(b"\0%b\0%b" % (user, PASSWORD))
        logins.append((Step(b"EHLO client\r\n", b"250 "), Step(b"AUTH PLAIN %b\r\n" % secret, b"235 ")))
    return Words(b"220 ", logins, Step(padded(b"NOOP"), b"250 "), Step(b"QUIT\r\n", b"221 "))


def _pop3() -> Words:
    logins = [
        (Step(b"USER %b\r\n" % user, b"+OK"), Step(b"PASS %b\r\n" % PASSWORD, b"+OK")) for user in _users()
    ]
    return Words(b"+OK", logins, Step(padded(b"NOOP"), b"+OK"), Step(b"QUIT\r\n", b"+OK"))


SPEAKERS = {"imap": _imap, "smtp": _smtp, "pop3": _pop3}


def fetch(amount: int) -> tuple[bytes, bytes, bytes]:
    """Bulk from a backend: what the client says, and what stands before and after ``amount`` bytes."""
    return b"f FETCH %d\r\n" % amount, b"* 1 FETCH (BODY[] {%d}\r\n" % amount, b")\r\nf OK done\r\n"


def append(amount: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Bulk to a backend: command, go-ahead, what follows ``amount`` bytes, and the answer."""
    return b"u APPEND INBOX {%d}\r\n" % amount, b"+ go on\r\n", b"\r\n", b"u OK done\r\n"
