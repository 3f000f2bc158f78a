"""The lines between the clients and the backend of a measurement: one session of each protocol."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

#: The number of different users, so that caches do not answer for them.
USERS = 1000
PASSWORD = b"geheim-0123"
#: Bytes of one line of a round trip, in each direction.
ROUND_TRIP = 64


class Step(NamedTuple):
    """A line that a client sends, and the start of the last line of the answer."""

    says: bytes
    expects: bytes


class Words(NamedTuple):
    """The clients' part of a protocol: wait for the greeting, then take one of ``logins``."""

    greeting: bytes
    logins: Sequence[tuple[Step, ...]]
    noop: Step
    leave: Step


def pad(line: bytes) -> bytes:
    """Return the line with exactly ROUND_TRIP bytes."""
    return line + b" " + b"q" * (ROUND_TRIP - len(line) - 3) + b"\r\n"


def _users() -> list[bytes]:
    return [b"user%d@example.com" % number for number in range(USERS)]


def _imap() -> Words:
    logins = [(Step(b"a LOGIN %b %b\r\n" % (user, PASSWORD), b"a OK"),) for user in _users()]
    return Words(b"* OK", logins, Step(pad(b"n NOOP"), b"n OK"), Step(b"z LOGOUT\r\n", b"z OK"))


def _smtp() -> Words:
    logins = []
    for user in _users():
        secret = base64.b64encode(b"\0%b\0%b" % (user, PASSWORD))
        logins.append((Step(b"EHLO client\r\n", b"250 "), Step(b"AUTH PLAIN %b\r\n" % secret, b"235 ")))
    return Words(b"220 ", logins, Step(pad(b"NOOP"), b"250 "), Step(b"QUIT\r\n", b"221 "))


def _pop3() -> Words:
    logins = [
        (Step(b"USER %b\r\n" % user, b"+OK"), Step(b"PASS %b\r\n" % PASSWORD, b"+OK")) for user in _users()
    ]
    return Words(b"+OK", logins, Step(pad(b"NOOP"), b"+OK"), Step(b"QUIT\r\n", b"+OK"))


SPEAKERS = {"imap": _imap, "smtp": _smtp, "pop3": _pop3}


def fetch(amount: int) -> tuple[bytes, bytes, bytes]:
    """Return the command for bulk data, and the answer's parts before and after ``amount`` bytes."""
    return b"f FETCH %d\r\n" % amount, b"* 1 FETCH (BODY[] {%d}\r\n" % amount, b")\r\nf OK done\r\n"


def append(amount: int) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the parts of an upload of ``amount`` bytes: command, go-ahead, the end, and the answer."""
    return b"u APPEND INBOX {%d}\r\n" % amount, b"+ go on\r\n", b"\r\n", b"u OK done\r\n"
