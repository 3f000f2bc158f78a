"""Viewers of the dialogues of some sessions, line by line."""

from __future__ import annotations

from typing import Any

from gevent.event import AsyncResult

from geomail.console.outbox import Outbox
from geomail.console.viewer import News, Viewer
from geomail.control.jsonlines import encode
from geomail.control.selection import Selection
from geomail.events import TraceLine

_START = encode({"event": TraceLine.kind})[:-2]


class TraceViewer(Viewer):
    """The stream of one trace to one client; ``ended`` is set to the limit that it has reached.

    Workers know it by its ``number``, and trace the sessions that ``select``
    names. Beyond ``lines`` lines or ``size`` bytes it sends nothing.
    """

    def __init__(
        self, outbox: Outbox, request: object, number: int, select: Any, lines: int, size: int
    ) -> None:
        super().__init__(outbox, request, (), Selection({}))
        self.number = number
        self.select = select
        self.lines = 0
        self.ended: AsyncResult[str] = AsyncResult()
        self._most_lines = lines
        self._left = size

    def show(self, news: News) -> None:
        """Send the lines that belong to this trace."""
        if any(line.startswith(_START) for line in news.lines):
            for line, record in zip(news.lines, news.records, strict=True):
                if record["event"] == TraceLine.kind and record["trace"] == self.number:
                    self._show_line(line)

    def announce(self, line: bytes) -> None:
        """Send nothing: a trace is about sessions, not about the server."""

    def _show_line(self, line: bytes) -> None:
        if self.ended.ready():
            return
        self._left -= len(line)
        if self._left < 0:
            self.ended.set("bytes")
            return
        self.lines += 1
        self._send([line])
        if self.lines >= self._most_lines:
            self.ended.set("lines")
