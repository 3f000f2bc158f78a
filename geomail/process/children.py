"""Children of the master: how long each lives, and when another takes its place."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator

from geomail.privileges import CannotStart

#: One that dies younger than this (seconds) delays the next start.
_HEALTHY_AGE = 10.0
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


class GrowingDelay:
    """When a child may be started in place of one that died: later each time, where they die young.

    Those that were started together and die together delay it once.
    """

    def __init__(self) -> None:
        self.due = 0.0
        self._last = 0.0

    def died(self, born: float) -> float:
        """One that was ``born`` then (time.monotonic()) has died; the seconds to wait."""
        now = time.monotonic()
        if now - born >= _HEALTHY_AGE:
            self._last = 0.0
        elif born >= self.due:
            self._last = min(2 * self._last, _LONGEST_DELAY) or _FIRST_DELAY
        self.due = now + self._last
        return self._last


def impossible(user: str | None, sessions: int, open_files: int) -> Iterator[str]:
    """What children cannot be, or not in full: ``user``, and the host of so many sessions."""
    if user is not None and os.geteuid() != 0:
        yield f"user = {user!r} is ignored: only root can become somebody else"
    if 2 * sessions > open_files:
        text = f"worker_connections = {sessions} takes twice as many open files"
        yield f"{text}, but the system allows {open_files} (LimitNOFILE, ulimit -Hn)"


def end_with(parent: int) -> None:
    """Have this process told to end (TERM) when its parent ends, however that comes. Raises CannotStart."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise CannotStart("the master has ended")
