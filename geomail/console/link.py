"""The console's end of the connection to one worker."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from hmac import compare_digest
from typing import Any

import gevent
from gevent import socket
from gevent.lock import BoundedSemaphore

from geomail.console.orders import PendingOrders
from geomail.console.totals import Counters, make_counters
from geomail.control.jsonlines import BadLine, Lines, decode, encode
from geomail.errors import GeomailError

#: Longest line of a worker, in bytes: a page of sessions whose users have the longest names.
LONGEST_LINE = 8 * 1024 * 1024
#: Seconds that a worker has for an answer.
PATIENCE = 5.0
_NEWS = (b'{"event"', b'{"lost"')
_CREDENTIALS = struct.Struct("3i")


class WorkerGone(GeomailError):
    """The worker has ended, or does not answer."""


def shows_token(sock: socket.socket, token: bytes) -> bool:
    """Tell whether a connection is from the same user and sends the token first.

    Only children of the same master know the token.
    """
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    if uid != os.geteuid():
        return False
    received = b""
    sock.settimeout(PATIENCE)
    while len(received) < len(token) and (more := _receive(sock, len(token) - len(received))):
        received += more
    sock.settimeout(None)
    return compare_digest(received, token)


def _receive(sock: socket.socket, most: int) -> bytes:
    try:
        return sock.recv(most)
    except OSError:
        return b""


class Link:
    """A connection to one worker, and what the worker has sent about itself.

    ``news`` is called with the lines that hold events or losses, without
    their LF; ``ready`` is called once, when the worker has introduced itself.
    ``counters`` are the rows of its tally; ``is_briefed`` says that the worker
    knows which events and traces it must send.
    """

    def __init__(
        self, sock: socket.socket, news: Callable[[list[bytes]], None], ready: Callable[[Link], None]
    ) -> None:
        self._sock = sock
        self._news = news
        self._ready = ready
        self._orders = PendingOrders()
        self._sending = BoundedSemaphore()
        self.hello: dict[str, Any] = {"pid": 0, "generation": 0, "started": 0.0}
        self._is_known = False
        self.is_briefed = False
        self.sessions = 0
        self.draining = False
        self.counters: Counters = make_counters()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return int(self.hello["pid"])

    @property
    def generation(self) -> int:
        """The number of the configuration that the worker serves."""
        return int(self.hello["generation"])

    @property
    def key(self) -> tuple[int, float]:
        """The process id and the start time: the system may use a process id again."""
        return self.pid, self.hello["started"]

    def order(self, name: str, seconds: float = PATIENCE, **parameters: Any) -> dict[str, Any]:
        """Have the worker carry out an order, and return its answer. Raises WorkerGone."""

        def send(number: int) -> None:
            self._send(encode({"order": name, "id": number, **parameters}), seconds)

        answer = self._orders.send(send, seconds)
        if answer is None:
            raise self._make_no_answer()
        return answer

    def refresh(self, seconds: float) -> None:
        """Ask the worker for its counters as they are now. Raises WorkerGone."""
        self._take_status(self.order("status", seconds)["status"])

    def read(self) -> None:
        """Take what the worker sends, until the connection ends."""
        lines = Lines(LONGEST_LINE)
        try:
            while data := self._sock.recv(262144):
                self._take(lines.feed(data))
        except (OSError, BadLine):
            pass  # the worker has gone, or is not to be trusted any more
        finally:
            self._sock.close()
            self._orders.fail(WorkerGone(f"worker {self.pid} has ended"))

    def _send(self, line: bytes, seconds: float) -> None:
        try:
            with gevent.Timeout(seconds, self._make_no_answer()), self._sending:
                self._sock.sendall(line)
        except (OSError, WorkerGone):
            self._sock.close()  # half a line may have gone out
            raise self._make_no_answer() from None

    def _make_no_answer(self) -> WorkerGone:
        return WorkerGone(f"worker {self.pid} does not answer")

    def _take(self, lines: list[bytes]) -> None:
        news = [line for line in lines if line.startswith(_NEWS)]
        if news:
            self._news(news)
        if len(news) < len(lines):
            for line in lines:
                if not line.startswith(_NEWS):
                    self._take_message(decode(line))

    def _take_message(self, message: dict[str, Any]) -> None:
        if "answer" in message:
            self._orders.take(message.pop("answer"), message)
        elif "status" in message:
            self._take_status(message["status"])
        elif "hello" in message:
            self.hello = message["hello"]

    def _take_status(self, status: dict[str, Any]) -> None:
        self.sessions, self.draining = status["sessions"], status["draining"]
        for table, rows in self.counters.items():
            rows.update(status.get(table, {}))
        if not self._is_known:
            self._is_known = True
            self._ready(self)
