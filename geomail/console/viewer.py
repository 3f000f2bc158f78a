"""Viewers of events, as they happen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from geomail.console.outbox import Outbox
from geomail.control.jsonlines import decode, encode
from geomail.control.selection import Selection

#: Events that are held back for a viewer that has not begun, and their bytes.
MOST_HELD, MOST_HELD_BYTES = 10_000, 1024 * 1024


class News:
    """Some events of a worker, as lines without their LF; decoded once for all viewers that look inside."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The events as names and values."""
        return [decode(line) for line in self.lines]


class Viewer:
    """A stream of events of the given kinds to one client; it answers the client's request ``request``.

    No worker waits for it: events that the client does not read in time are
    dropped, and the client gets their number; ``lost_ever`` counts them.
    Until :meth:`begin` it holds all events back, so that the answer to the
    request comes first.
    """

    def __init__(self, outbox: Outbox, request: object, kinds: Sequence[str], selection: Selection) -> None:
        self.kinds = tuple(kinds)
        self._outbox = outbox
        self._request = request
        self._selection = selection
        self._head = encode({"id": request})[:-2] + b","
        self._starts = tuple(encode({"event": kind})[:-2] for kind in kinds)
        self._held: list[bytes] | None = []
        self._held_bytes = 0
        self._lost = 0
        self.lost_ever = 0

    def begin(self) -> None:
        """Send events from now on; the events that were held back come first."""
        held, self._held = self._held, None
        if held:
            self._send(held)

    def show(self, news: News) -> None:
        """Send the events that the client asked for."""
        lines = news.lines
        if self._selection:
            records = zip(lines, news.records, strict=True)
            lines = [line for line, record in records if self._selection.matches(record)]
        lines = [line for line in lines if line.startswith(self._starts)]
        if lines:
            self._send(lines)

    def announce(self, line: bytes) -> None:
        """Send an event of the server, which all viewers get."""
        self._send([line])

    def lose(self, number: int) -> None:
        """Note that events were dropped, some of which may have been for this viewer."""
        self._lost += number
        self.lost_ever += number

    def tell_losses(self) -> None:
        """Tell the client how many events were dropped, if any were and it reads again."""
        if (
            self._lost
            and self._held is None
            and self._outbox.offer(encode({"id": self._request, "lost": self._lost}))
        ):
            self._lost = 0

    def _send(self, lines: list[bytes]) -> None:
        if self._held is not None:
            self._hold(self._held, lines)
            return
        self.tell_losses()
        if not self._outbox.offer(b"".join([self._head + line[1:] + b"\n" for line in lines])):
            self.lose(len(lines))

    def _hold(self, held: list[bytes], lines: list[bytes]) -> None:
        size = sum(map(len, lines))
        if len(held) < MOST_HELD and self._held_bytes + size <= MOST_HELD_BYTES:
            held += lines
            self._held_bytes += size
        else:
            self.lose(len(lines))
