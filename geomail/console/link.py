"""The console's end of one worker's feed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
from gevent import socket
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from geomail.console.totals import Counters, no_counters
from geomail.control.jsonlines import BadLine, Lines, decode, encode
from geomail.errors import GeomailError

#: Longest line of a worker, in bytes: a page of sessions whose users have the longest names.
LONGEST_LINE = 8 * 1024 * 1024
#: Seconds that a worker has for an answer.
PATIENCE = 5.0
_NEWS = (b'{"event"', b'{"lost"')


class WorkerGone(GeomailError):
    """The worker has ended, or does not answer."""


class Link:
    """One worker: what it has told of itself, and the way to ask it for more.

    ``news`` is called with the lines that hold events or losses, without
    their LF, and ``ready`` when the worker has told all of itself. ``counters``
    are the rows of its tally; ``is_briefed`` is for the console to note that
    the worker knows what is being watched.
    """

    def __init__(
        self, sock: socket.socket, news: Callable[[list[bytes]], None], ready: Callable[[Link], None]
    ) -> None:
        self._sock = sock
        self._news = news
        self._ready = ready
        self._asked: dict[int, AsyncResult[dict[str, Any]]] = {}
        self._last_ask = 0
        self._sending = BoundedSemaphore()
        self.hello: dict[str, Any] = {"pid": 0, "generation": 0, "started": 0.0}
        self._is_known = False
        self.is_briefed = False
        self.sessions = 0
        self.draining = False
        self.counters: Counters = no_counters()

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
        """What tells this worker from all others, also where a process id is used again."""
        return self.pid, self.hello["started"]

    def ask(self, do: str, seconds: float = PATIENCE, **parameters: Any) -> dict[str, Any]:
        """Have an order carried out, and give the answer. Raises WorkerGone."""
        self._last_ask += 1
        number = self._last_ask
        answer = self._asked[number] = AsyncResult()
        try:
            self._send(encode({"ask": number, "do": do, **parameters}), seconds)
            answer.wait(seconds)
            if not answer.ready():
                raise self._silent()
            told = answer.get(block=False)
            assert told is not None
            return told
        finally:
            del self._asked[number]

    def refresh(self, seconds: float) -> None:
        """Have the worker tell its counters as they are now. Raises WorkerGone."""
        self._take_status(self.ask("status", seconds)["status"])

    def read(self) -> None:
        """Take in what the worker sends, until it ends."""
        lines = Lines(LONGEST_LINE)
        try:
            while data := self._sock.recv(262144):
                self._take(lines.feed(data))
        except (OSError, BadLine):
            pass  # whatever it was, it is over
        finally:
            self._sock.close()
            for answer in self._asked.values():
                answer.set_exception(WorkerGone(f"worker {self.pid} has ended"))

    def _send(self, line: bytes, seconds: float) -> None:
        try:
            with gevent.Timeout(seconds, self._silent()), self._sending:
                self._sock.sendall(line)
        except (OSError, WorkerGone):
            self._sock.close()  # half a line may have gone out
            raise self._silent() from None

    def _silent(self) -> WorkerGone:
        return WorkerGone(f"worker {self.pid} does not answer")

    def _take(self, lines: list[bytes]) -> None:
        news = [line for line in lines if line.startswith(_NEWS)]
        if news:
            self._news(news)
        if len(news) < len(lines):
            for line in lines:
                if not line.startswith(_NEWS):
                    self._take_word(decode(line))

    def _take_word(self, word: dict[str, Any]) -> None:
        if "answer" in word:
            answer = self._asked.get(word.pop("answer"))
            if answer is not None:
                answer.set(word)
        elif "status" in word:
            self._take_status(word["status"])
        elif "hello" in word:
            self.hello = word["hello"]

    def _take_status(self, status: dict[str, Any]) -> None:
        self.sessions, self.draining = status["sessions"], status["draining"]
        for table, rows in self.counters.items():
            rows.update(status.get(table, {}))
        if not self._is_known:
            self._is_known = True
            self._ready(self)
