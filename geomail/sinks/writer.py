"""Where log lines go, and the thread that brings them there.

A write to a file or a pipe may block for as long as a disk or a reader likes,
and no event loop can prevent that. So a worker writes from a thread of its
own: sessions put lines into a bounded queue, and what does not fit is counted.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable

import gevent
from gevent import monkey

from geomail.sinks.target import Line, LinesLost, Target, open_target

__all__ = ["MOST_HELD", "Background", "Direct", "Line", "open_target"]

#: Bytes that may wait for a slow target; lines beyond are lost, and counted.
MOST_HELD = 8 * 1024 * 1024
#: What a waiting line takes beside its bytes.
_OVERHEAD = 150
#: Seconds that the thread lets lines gather before it looks again.
_GATHER = 0.02
#: Seconds that the end of a process waits for its last lines.
_PATIENCE = 2.0
#: Seconds between two complaints that the log cannot be written.
_BETWEEN_COMPLAINTS = 60.0

_start_thread = monkey.get_original("_thread", "start_new_thread")
_sleep = monkey.get_original("time", "sleep")

#: Makes a line of the log of a level and a text about the log itself.
Told = Callable[[str, str], Line]


class Direct:
    """Writes to a target at once, what it takes without waiting; ``untold`` lines were lost before."""

    def __init__(self, target: Target, told: Told, untold: int = 0) -> None:
        self.target = target
        self.lost = untold
        self.untold = untold
        self._told = told

    def put(self, level: str, line: bytes) -> None:
        """Write a line, or count it as lost."""
        if self.untold and self._is_written(self._told(*_loss(self.untold))):
            self.untold = 0
        if self.untold or not self._is_written((level, line)):
            self.lost += 1
            self.untold += 1

    def _is_written(self, line: Line) -> bool:
        try:
            if not self.target.is_ready():
                return False
            self.target.write([line])
        except LinesLost:
            return False
        return True

    def reopen(self) -> None:
        """Open the target anew; where that fails, what was open goes on, and tells it."""
        try:
            self.target.reopen()
        except OSError as error:
            self.put(*self._told(*_not_reopened(error)))

    def close(self) -> None:
        """Close the target."""
        self.target.close()


class Background:
    """Writes to a target from a thread of its own; :meth:`put` never waits."""

    def __init__(self, target: Target, told: Told) -> None:
        self.target = target
        self._told = told
        self._lines: deque[Line] = deque()
        # each is written by one of the two threads alone
        self._given = self._refused = 0
        self._taken = self._failed = self._lost_told = 0
        self._complained = -_BETWEEN_COMPLAINTS
        self._sleeping = False
        self._reopen = False
        self._closing = False
        self._closed = False
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        _start_thread(self._run, ())

    @property
    def lost(self) -> int:
        """Lines that the target did not take."""
        return self._refused + self._failed

    def put(self, level: str, line: bytes) -> None:
        """Have the line written soon, or count it as lost if too much waits already."""
        if self._given - self._taken > MOST_HELD:
            self._refused += 1
            return
        self._given += len(line) + _OVERHEAD
        self._lines.append((level, line))
        if self._sleeping:
            self._ring()

    def reopen(self) -> None:
        """Have the target opened anew before the next line."""
        self._reopen = True
        self._ring()

    def close(self) -> None:
        """Wait until the last line is written, a bounded time at most."""
        self._closing = True
        self._ring()
        deadline = time.monotonic() + _PATIENCE
        while not self._closed and time.monotonic() < deadline:
            gevent.sleep(0.005)

    def _ring(self) -> None:
        self._sleeping = False
        os.eventfd_write(self._bell, 1)

    # -- in the thread: nothing of gevent ---------------------------------------------------------

    def _run(self) -> None:
        while not (self._closing and not self._lines):
            if not self._lines and not self._reopen:
                self._sleeping = True
                if not self._lines and not self._closing:
                    os.eventfd_read(self._bell)
                self._sleeping = False
            self._deliver()
            if not self._closing:
                _sleep(_GATHER)
        self._closed = True

    def _deliver(self) -> None:
        if self._reopen:
            self._reopen = False
            self._reopen_target()
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        size = sum([len(line) for _, line in lines]) + _OVERHEAD * len(lines)
        self._failed += self._unwritten(lines)
        self._taken += size

    def _unwritten(self, lines: list[Line]) -> int:
        """Write the lines, after what tells of those lost before them; how many were not written."""
        lost = self.lost
        try:
            if lost > self._lost_told:
                self.target.write([self._told(*_loss(lost - self._lost_told))])
                self._lost_told = lost
        except LinesLost as error:
            self._complain(error)
            return len(lines)
        try:
            self.target.write(lines)
        except LinesLost as error:
            self._complain(error)
            return error.count
        return 0

    def _reopen_target(self) -> None:
        try:
            self.target.reopen()
        except OSError as error:
            self._lines.appendleft(self._told(*_not_reopened(error)))

    def _complain(self, error: LinesLost) -> None:
        now = time.monotonic()
        if now - self._complained < _BETWEEN_COMPLAINTS:
            return
        self._complained = now
        try:
            text = f"geomail: cannot write the log to {self.target.name}: {error}\n"
            os.write(2, text.encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # there is nobody left to tell


def _loss(count: int) -> tuple[str, str]:
    return "error", f"log: {count} line{'s were' if count > 1 else ' was'} lost: the target did not take them"


def _not_reopened(error: OSError) -> tuple[str, str]:
    return "error", f"log: cannot open it anew, going on with what was open: {error.strerror}"
