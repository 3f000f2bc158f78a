"""The mail servers and the auth service of a measurement; they accept every login.

usage: python -m tests.benchmarks.backend PROTOCOL=PORT ... (imap, smtp, pop3, auth), on 127.0.0.1
"""

import gc
import re
import socket
import sys
from collections.abc import Callable
from functools import partial

from tests.benchmarks.loop import Loop, Stream, accept_all
from tests.benchmarks.words import append, fetch, pad

#: Seconds after which a backend ends by itself; longer than any measurement.
LONGEST_LIFE = 3600.0
_PROTOCOL = re.compile(rb"^Auth-Protocol: *(\w+)", re.MULTILINE | re.IGNORECASE)


class _Lines(Stream):
    """A connection that reads lines, or other pieces that end with ``END``."""

    __slots__ = ("_buffer",)
    END = b"\n"

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        super().__init__(loop, sock)
        self._buffer = b""
        self.listen()

    def received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(self.END)
        for line in lines:
            self.answer(line)

    def closed(self) -> None:
        self.close()

    def answer(self, line: bytes) -> None:
        """Answer the line."""
        raise NotImplementedError


class Imap(_Lines):
    """An IMAP server with bulk data in both directions: FETCH names the number of bytes to send."""

    __slots__ = ("_tag",)

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        super().__init__(loop, sock)
        self._tag = b""
        self.say(b"* OK backend\r\n")

    def answer(self, line: bytes) -> None:
        if self._tag:
            self._take_literal(line)
            return
        tag, verb, *rest = line.rstrip().split(b" ")
        if verb == b"NOOP":
            self.say(pad(tag + b" OK"))
        elif verb == b"FETCH":
            self._send_message(int(rest[0]))
        elif verb == b"APPEND":
            self._take_message(int(rest[1].strip(b"{}")))
        elif verb == b"LOGOUT":
            self.say(b"* BYE\r\n%b OK\r\n" % tag)
            self.close()
        else:
            self._tag = tag
            self._take_literal(line)

    def _take_literal(self, line: bytes) -> None:
        """Read a line of LOGIN; the command ends with the line that announces no literal."""
        if line.rstrip().endswith(b"}"):
            self.say(b"+ go on\r\n")
        else:
            self.say(b"%b OK logged in\r\n" % self._tag)
            self._tag = b""

    def _send_message(self, amount: int) -> None:
        _, before, after = fetch(amount)
        self.say(before)
        self.pour(amount, lambda: self.say(after))

    def _take_message(self, amount: int) -> None:
        _, go_ahead, after, done = append(amount)
        self.say(go_ahead)
        self.drink(amount + len(after), lambda: self.say(done))


class Smtp(_Lines):
    """An SMTP server that takes no mail."""

    __slots__ = ()

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        super().__init__(loop, sock)
        self.say(b"220 backend ESMTP\r\n")

    def answer(self, line: bytes) -> None:
        verb = line[:4]
        if verb == b"EHLO":
            self.say(b"250-backend\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n")
        elif verb == b"AUTH":
            self.say(b"235 2.7.0 logged in\r\n")
        elif verb == b"QUIT":
            self.say(b"221 2.0.0 bye\r\n")
            self.close()
        else:
            self.say(pad(b"250 2.0.0 fine"))


class Pop3(_Lines):
    """A POP3 server with an empty mailbox."""

    __slots__ = ()

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        super().__init__(loop, sock)
        self.say(b"+OK backend\r\n")

    def answer(self, line: bytes) -> None:
        self.say(pad(b"+OK") if line.startswith(b"NOOP") else b"+OK\r\n")
        if line.startswith(b"QUIT"):
            self.close()


class Auth(_Lines):
    """The auth service: every user may log in, at the backend of the protocol. HTTP/1.1 is kept alive."""

    __slots__ = ("_ports",)
    END = b"\r\n\r\n"

    def __init__(self, loop: Loop, sock: socket.socket, ports: dict[bytes, int]) -> None:
        super().__init__(loop, sock)
        self._ports = ports

    def answer(self, line: bytes) -> None:
        found = _PROTOCOL.search(line)
        port = self._ports[found[1]] if found else 0
        self.say(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAuth-Status: OK\r\n"
            b"Auth-Server: 127.0.0.1\r\nAuth-Port: %d\r\n\r\n" % port
        )
        if b" HTTP/1.0\r\n" in line:
            self.close()


def serve(ports: dict[str, int]) -> None:
    """Listen, and answer until this process is stopped."""
    loop = Loop()
    backends = {name.encode(): port for name, port in ports.items()}
    kinds: dict[str, Callable[[Loop, socket.socket], Stream]] = {
        "imap": Imap,
        "smtp": Smtp,
        "pop3": Pop3,
        "auth": partial(Auth, ports=backends),
    }
    for name, port in ports.items():
        listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        accept_all(loop, listener, partial(kinds[name], loop))
    gc.disable()  # there are no cycles of references here
    loop.run(lambda: False, LONGEST_LIFE)


if __name__ == "__main__":
    serve({name: int(port) for name, _, port in (word.partition("=") for word in sys.argv[1:])})
