"""Messages for the tests: how to send them to Postfix, and to read them from Dovecot."""

import imaplib
import poplib
import random
import re
import smtplib

from tests.servers.accounts import Account

LINE = bytes(byte for byte in range(32, 256) if byte != 127)


def message(recipient: Account, size: int = 0, seed: int = 1) -> bytes:
    """Make a message of at least ``size`` bytes, with all that a careless relay would damage."""
    head = (
        f"From: The sender <sender@example.test>\r\nTo: {recipient.address}\r\nSubject: test {seed}\r\n"
        f"Message-ID: <{seed}.{size}@example.test>\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=latin-1\r\n"
        "Content-Transfer-Encoding: 8bit\r\n"
    ).encode()
    body = (
        b"\r\n.\r\n..\r\n.hidden\r\n\r\n \t \r\n"
        + LINE
        + b"\r\nFrom here\r\n* OK\r\n+OK\r\n"
        + b"x" * 998
        + b"\r\n"
    )
    return head + body + _noise(size - len(head) - len(body), seed)


def _noise(size: int, seed: int) -> bytes:
    chance = random.Random(seed)
    block = b"".join(bytes(chance.choices(LINE, k=76)) + b"\r\n" for _ in range(1000))
    return b"".join(b"%d\r\n%b" % (number, block) for number in range(-(-size // len(block))))


def delivered(stored: bytes) -> bytes:
    """Return a message from a mailbox without the headers that the mail servers added."""
    return stored[stored.index(b"From: The sender") :]


def queued(client: smtplib.SMTP, recipient: str, text: bytes, sender: str = "sender@example.test") -> str:
    """Send a message; return Postfix's queue id."""
    assert client.mail(sender)[0] == 250
    assert client.rcpt(recipient)[0] == 250
    code, words = client.data(text)
    found = re.search(rb"queued as (\w+)", words)
    assert code == 250, words
    assert found is not None, words
    return found[1].decode()


def fetched(client: imaplib.IMAP4, number: int = 1) -> bytes:
    """Fetch a message of the selected mailbox."""
    status, parts = client.fetch(str(number), "(RFC822)")
    assert status == "OK"
    assert isinstance(parts[0], tuple), parts
    return parts[0][1]


def retrieved(client: poplib.POP3, number: int = 1) -> bytes:
    """Retrieve a message of the client's mailbox."""
    return b"".join(line + b"\r\n" for line in client.retr(number)[1])
