"""The writers of the log: one writes at once, one from a thread of its own.

A write to a file or a pipe may block for as long as a disk or a reader likes,
and no event loop can prevent that. So a worker writes from a thread: sessions
put lines into a bounded queue, and the writer counts the lines that do not fit.
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

#: The most bytes that may wait for a slow target; further lines are lost, and counted.
MOST_HELD = 8 * 1024 * 1024
#: The memory of a waiting line beside its bytes.
_OVERHEAD = 150
#: Seconds in which lines gather before the thread writes them together.
_GATHER = 0.02
#: The most seconds that a process waits at its end until its last lines are written.
_PATIENCE = 2.0
#: The least seconds between two complaints that the log cannot be written.
_BETWEEN_COMPLAINTS = 60.0

_start_thread = monkey.get_original("_thread", "start_new_thread")
_sleep = monkey.get_original("time", "sleep")

#: Makes a line of the log from a level and a message about the log itself.
LineMaker = Callable[[str, str], Line]


class Direct:
    """A writer of each line at once; a line that the target cannot take without waiting is lost.

    ``lost_lines`` counts the lost lines. The log has not reported ``unreported`` of them yet.
    """

    def __init__(self, target: Target, make_line: LineMaker, unreported: int = 0) -> None:
        self.target = target
        self.lost_lines = unreported
        self.unreported = unreported
        self._make_line = make_line

    def put(self, level: str, line: bytes) -> None:
        """Write a line, or count it as lost."""
        if self.unreported and self._try_write(self._make_line(*_describe_loss(self.unreported))):
            self.unreported = 0
        if self.unreported or not self._try_write((level, line)):
            self.lost_lines += 1
            self.unreported += 1

    def _try_write(self, line: Line) -> bool:
        """Write a line if the target is ready; tell whether that succeeded."""
        try:
            if not self.target.is_ready():
                return False
            self.target.write([line])
        except LinesLost:
            return False
        return True

    def reopen(self) -> None:
        """Open the target again; if that fails, write the error to the one that is open, and keep it."""
        try:
            self.target.reopen()
        except OSError as error:
            self.put(*self._make_line(*_describe_reopen_failure(error)))

    def close(self) -> None:
        """Close the target."""
        self.target.close()


class Background:
    """A writer with a thread of its own; :meth:`put` never waits."""

    def __init__(self, target: Target, make_line: LineMaker) -> None:
        self.target = target
        self._make_line = make_line
        self._lines: deque[Line] = deque()
        # Each counter is written by one thread only: the first two by the caller's, the others by ours.
        self._bytes_put = self._lines_refused = 0
        self._bytes_taken = self._lines_failed = self._losses_reported = 0
        self._last_complaint = -_BETWEEN_COMPLAINTS
        self._sleeping = False
        self._reopen = False
        self._closing = False
        self._closed = False
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        _start_thread(self._run, ())

    @property
    def lost_lines(self) -> int:
        """The number of lines that were not written."""
        return self._lines_refused + self._lines_failed

    def put(self, level: str, line: bytes) -> None:
        """Queue the line, or count it as lost if too many bytes wait already."""
        if self._bytes_put - self._bytes_taken > MOST_HELD:
            self._lines_refused += 1
            return
        self._bytes_put += len(line) + _OVERHEAD
        self._lines.append((level, line))
        if self._sleeping:
            self._ring()

    def reopen(self) -> None:
        """Have the thread open the target again before it writes the next line."""
        self._reopen = True
        self._ring()

    def close(self) -> None:
        """Wait until the last line is written, for a bounded time."""
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
        self._lines_failed += self._write(lines)
        self._bytes_taken += size

    def _write(self, lines: list[Line]) -> int:
        """Report the lines that were lost before, write ``lines``, and return how many of them failed."""
        lost = self.lost_lines
        try:
            if lost > self._losses_reported:
                self.target.write([self._make_line(*_describe_loss(lost - self._losses_reported))])
                self._losses_reported = lost
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
            self._lines.appendleft(self._make_line(*_describe_reopen_failure(error)))

    def _complain(self, error: LinesLost) -> None:
        now = time.monotonic()
        if now - self._last_complaint < _BETWEEN_COMPLAINTS:
            return
        self._last_complaint = now
        try:
            text = f"geomail: cannot write the log to {self.target.name}: {error}\n"
            os.write(2, text.encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # standard error is closed or full, and the log fails: no place is left for the complaint


def _describe_loss(count: int) -> tuple[str, str]:
    lines = "1 line was" if count == 1 else f"{count} lines were"
    return "error", f"log: {lines} lost: the target did not take them"


def _describe_reopen_failure(error: OSError) -> tuple[str, str]:
    return "error", f"log: cannot open the target again ({error.strerror}): the old one stays in use"
