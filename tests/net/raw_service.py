"""A service on a socket that sends exactly the given bytes."""

import socket
import ssl
import struct
from collections.abc import Sequence
from pathlib import Path

import gevent

from geomail.net.pool import Pool

#: The two ways to end a connection: politely, or with a reset.
CLOSE, RESET = "close", "reset"
#: The steps after a request: bytes are sent, numbers are seconds of sleep.
Action = bytes | float | str
#: Holds a port that refuses while the tests run: otherwise the next server could get it.
_NEVER_LISTENING = socket.socket()
_NEVER_LISTENING.bind(("127.0.0.1", 0))


class RawService:
    """Answers the n-th request with the n-th ``answer`` (the last one again and again).

    ``requests`` are the requests as they came, ``served`` the numbers of the
    connections that they came on, ``connections`` counts these.
    """

    def __init__(
        self, *answers: Action | Sequence[Action], path: Path | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answers = [answer if isinstance(answer, list | tuple) else (answer,) for answer in answers]
        self.requests: list[bytes] = []
        self.served: list[int] = []
        self.connections = 0
        self._tls = tls
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self._listener.bind(str(path) if path else ("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = 0 if path else self._listener.getsockname()[1]
        self._jobs: list[gevent.Greenlet[..., None]] = [gevent.spawn(self._accept)]

    def __enter__(self) -> "RawService":
        return self

    def __exit__(self, *_: object) -> None:
        gevent.killall(self._jobs)
        self.hang_up()
        self._listener.close()

    def hang_up(self) -> None:
        """Close every connection, and let the other side see it."""
        while self._open:
            self._open.pop().close()
        gevent.sleep(0.01)

    def say(self, data: bytes) -> None:
        """Send unasked bytes on every connection."""
        for sock in self._open:
            sock.sendall(data)
        gevent.sleep(0.01)

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self.connections += 1
            self._jobs.append(gevent.spawn(self._serve, sock, self.connections))

    def _serve(self, sock: socket.socket, number: int) -> None:
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._open.append(sock)
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            while request := _request(sock):
                self.requests.append(request)
                self.served.append(number)
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                for action in answer:
                    _act(sock, action)
        except OSError:
            pass  # the other side has closed it, as in some tests
        finally:
            sock.close()


def _request(sock: socket.socket) -> bytes:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        data = sock.recv(4096)
        if not data:
            return b""
        request += data
    return request


def _act(sock: socket.socket, action: Action) -> None:
    if isinstance(action, bytes):
        sock.sendall(action)
    elif isinstance(action, str):
        if action == RESET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        raise ConnectionAbortedError(action)
    else:
        gevent.sleep(action)


def closed_port() -> int:
    """Return a port of 127.0.0.1 that refuses every connection."""
    port: int = _NEVER_LISTENING.getsockname()[1]
    return port


def until_rested(pool: Pool) -> None:
    """Wait until every idle connection of a pool can be used again."""
    with gevent.Timeout(10.0):
        while pool.ready < pool.idle:
            gevent.sleep(0.002)
