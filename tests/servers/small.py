"""Mail servers of a few lines, in this process. They accept every login, except of ``bad`` users."""

import base64
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from gevent.server import StreamServer

from tests.servers.support import LOOPBACK

Serve = Callable[[socket.socket], None]


def _imap(sock: socket.socket) -> None:
    """Speak IMAP; ``SAY base64`` sends just these bytes, ``MUCH n`` so many empty lines, ``HEAR`` nothing."""
    sock.sendall(b"* OK ready\r\n")
    lines = sock.makefile("rb")
    for line in lines:
        tag, command, *arguments = line.split()
        command = command.upper()
        if command == b"SAY":
            sock.sendall(base64.b64decode(arguments[0]))
        elif command == b"MUCH":
            sock.sendall(b"\n" * int(arguments[0]))
        elif command == b"LOGIN":
            name = _literal(sock, lines, arguments[0])
            _literal(sock, lines, arguments[-1])
            sock.sendall(tag + (b" NO [AUTHENTICATIONFAILED] no\r\n" if b"bad" in name else b" OK in\r\n"))
        elif command != b"HEAR":
            sock.sendall(tag + b" OK done\r\n")
        if command == b"LOGOUT":
            return


def _literal(sock: socket.socket, lines: Iterator[bytes], argument: bytes) -> bytes:
    """Return an argument in any of its forms; a literal is the last argument of its line."""
    if not argument.startswith(b"{"):
        return argument
    sock.sendall(b"+ go on\r\n")
    return next(lines)


def _pop3(sock: socket.socket) -> None:
    sock.sendall(b"+OK ready\r\n")
    for line in sock.makefile("rb"):
        sock.sendall(b"+OK\r\n")
        if line.upper().startswith(b"QUIT"):
            return


def _smtp(sock: socket.socket) -> None:
    sock.sendall(b"220 small ESMTP\r\n")
    for line in sock.makefile("rb"):
        verb = line.split()[0].upper()
        if verb == b"EHLO":
            sock.sendall(b"250-small\r\n250-XCLIENT NAME ADDR LOGIN\r\n250 AUTH PLAIN LOGIN\r\n")
        elif verb == b"AUTH":
            sock.sendall(b"235 2.7.0 in\r\n")
        else:
            sock.sendall(b"220 small ESMTP\r\n" if verb == b"XCLIENT" else b"250 done\r\n")
        if verb == b"QUIT":
            return


SERVERS: dict[str, Serve] = {"imap": _imap, "pop3": _pop3, "smtp": _smtp}


@contextmanager
def small_servers() -> Iterator[dict[str, int]]:
    """Run one server of each protocol; return their ports by protocol."""
    with ExitStack() as running:
        ports = {}
        for protocol, serve in SERVERS.items():
            server = StreamServer((LOOPBACK, 0), _served(serve), backlog=1000)
            server.start()
            running.callback(server.stop)
            ports[protocol] = server.socket.getsockname()[1]
        yield ports


def _served(serve: Serve) -> Callable[[socket.socket, object], None]:
    def handle(sock: socket.socket, _address: object) -> None:
        try:
            serve(sock)
        except (OSError, StopIteration):
            pass  # the proxy has left
        finally:
            sock.close()

    return handle
