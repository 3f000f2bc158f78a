"""Children of the master: when a new one replaces one that died, and what limits them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator

from geomail.privileges import CannotStart

#: A child that dies younger than this (seconds) delays the next start.
_HEALTHY_AGE = 10.0
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


class GrowingDelay:
    """The time when a child may replace one that died: the delay grows while they die young.

    Children that were started together and die together add one delay only.
    """

    def __init__(self) -> None:
        self.due = 0.0
        self._last = 0.0

    def note_death(self, born: float) -> float:
        """Note the death of a child born at this time (time.monotonic()); return the delay in seconds."""
        now = time.monotonic()
        if now - born >= _HEALTHY_AGE:
            self._last = 0.0
        elif born >= self.due:
            self._last = min(2 * self._last, _LONGEST_DELAY) or _FIRST_DELAY
        self.due = now + self._last
        return self._last


def check_limits(user: str | None, sessions: int, open_files: int) -> Iterator[str]:
    """Yield warnings: children cannot become ``user``, or cannot have so many sessions."""
    if user is not None and os.geteuid() != 0:
        yield f"user = {user!r} is ignored: only root can become another user"
    if 2 * sessions > open_files:
        text = f"worker_connections = {sessions} takes twice as many open files"
        yield f"{text}, but the system allows {open_files} (LimitNOFILE, ulimit -Hn)"


def end_with(parent: int) -> None:
    """Let the kernel end this process (TERM) when its parent ends for any reason. Raises CannotStart."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise CannotStart("the master has ended")
