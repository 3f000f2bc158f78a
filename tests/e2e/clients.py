"""A client of any protocol that comes from a loopback address of its own, and says no more than it must."""

import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.proxy import TIMEOUT, Protocol
from tests.servers.support import LOOPBACK

_AUTH = {"smtp": "AUTH PLAIN {}", "imap": "a1 AUTHENTICATE PLAIN {}", "pop3": "AUTH PLAIN {}"}
_WELCOME = {"smtp": b"235", "imap": b"a1 OK", "pop3": b"+OK"}
_NOOP = {"smtp": "NOOP", "imap": "a2 NOOP", "pop3": "NOOP"}
_GOODBYE = {"smtp": "QUIT", "imap": "a3 LOGOUT", "pop3": "QUIT"}


class Client:
    """One connection, after the greeting (and EHLO)."""

    def __init__(self, protocol: Protocol, sock: socket.socket) -> None:
        self._protocol = protocol
        self._stream = sock.makefile("rwb")
        self.read_line()
        if protocol == "smtp":
            self.say("EHLO client.test")
            while self.read_line()[3:4] == b"-":
                pass

    def say(self, line: str) -> None:
        """Send a line."""
        self._stream.write(line.encode() + b"\r\n")
        self._stream.flush()

    def read_line(self) -> bytes:
        """The next line, b"" at the end."""
        return self._stream.readline()

    def log_in(self, user: str, password: str) -> bool:
        """Log in by SASL's PLAIN, which takes any name."""
        self.say(_AUTH[self._protocol].format(plain(user, password)))
        while (line := self.read_line()).startswith(b"* "):
            pass
        return line.startswith(_WELCOME[self._protocol])

    def noop(self) -> None:
        """Have the backend answer once."""
        self.say(_NOOP[self._protocol])
        self.read_line()

    def quit(self) -> None:
        """Say goodbye, and read on to the end."""
        self.say(_GOODBYE[self._protocol])
        while self.read_line():
            pass


def plain(user: str, password: str) -> str:
    """The response of PLAIN."""
    return b64encode(f"\0{user}\0{password}".encode()).decode()


@contextmanager
def connected(protocol: Protocol, port: int, origin: str = LOOPBACK) -> Iterator[Client]:
    """A client that comes from ``origin``; its connection is closed at the end."""
    with socket.create_connection((LOOPBACK, port), TIMEOUT, (origin, 0)) as sock:
        client = Client(protocol, sock)
        try:
            yield client
        finally:
            client._stream.close()
