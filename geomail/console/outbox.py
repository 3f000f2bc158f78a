"""The answers and events that a client of the control socket has not read yet."""

from __future__ import annotations

import time

import gevent
from gevent import socket
from gevent.event import Event as Signal

from geomail.errors import GeomailError

#: Bytes that wait for one client.
MOST_WAITING = 1024 * 1024
#: Seconds after which geomail gives up a client that reads nothing.
STUCK = 30.0


class ClientGone(GeomailError):
    """A client that has left, or reads nothing."""


class Outbox:
    """A queue of data for one client: at most MOST_WAITING bytes, and one piece more."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting: list[bytes] = []
        self._size = 0
        self._filled = Signal()
        self._sent = Signal()
        self._writing = gevent.spawn(self._write)

    def offer(self, data: bytes) -> bool:
        """Send data if there is room for it; return whether there was."""
        if self._size >= MOST_WAITING:
            return False
        self._waiting.append(data)
        self._size += len(data)
        self._filled.set()
        return True

    def put(self, data: bytes) -> None:
        """Send data, and wait for room. Raises ClientGone."""
        while not self.offer(data):
            self._await_progress(STUCK)

    def flush(self, seconds: float) -> None:
        """Wait until all data has been sent, ``seconds`` at most. Raises ClientGone."""
        deadline = time.monotonic() + seconds
        while self._size and (left := deadline - time.monotonic()) > 0:
            self._await_progress(left)

    def close(self) -> None:
        """Send nothing more."""
        self._writing.kill()

    def _await_progress(self, seconds: float) -> None:
        self._sent.clear()
        if self._writing.dead or not self._sent.wait(seconds) or self._writing.dead:
            raise ClientGone("the client does not read")

    def _write(self) -> None:
        try:
            while self._filled.wait():
                self._filled.clear()
                data, self._waiting = b"".join(self._waiting), []
                self._sock.sendall(data)
                self._size -= len(data)
                self._sent.set()
        except OSError:
            pass  # the greenlet that reads notices the end, too
        finally:
            self._sent.set()
