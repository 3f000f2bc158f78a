"""What a child of the master is: whose it is, how long it lives, and when another takes its place."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import signal
import time
from collections.abc import Iterator

from geomail.errors import GeomailError

#: One that dies younger than this (seconds) delays the next start.
_HEALTHY_AGE = 10.0
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_PR_SET_PDEATHSIG = 1


class CannotStart(GeomailError):
    """A user or the log's file could not be had; the text says which and why."""


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


def owner(user: str | None) -> int | None:
    """The uid of whose files children write, where that is ``user``; None: ours. Raises CannotStart."""
    return user_and_group(user)[0].pw_uid if user is not None and os.geteuid() == 0 else None


def user_and_group(user: str) -> tuple[pwd.struct_passwd, int]:
    """The account and the group id of ``name`` or ``name:group``. Raises CannotStart."""
    name, _, group = user.partition(":")
    try:
        account = pwd.getpwnam(name)
        return account, grp.getgrnam(group).gr_gid if group else account.pw_gid
    except KeyError:
        raise CannotStart(f"user = {user!r}: no such user or group") from None


def drop_privileges(user: str | None) -> None:
    """Become ``user`` for good; nothing to do where it is None or we are not root. Raises CannotStart."""
    if user is None or os.geteuid() != 0:
        return
    account, group = user_and_group(user)
    os.setgid(group)
    os.initgroups(account.pw_name, group)
    os.setuid(account.pw_uid)


def impossible(user: str | None, sessions: int, open_files: int) -> Iterator[str]:
    """What children cannot be, or not in full: ``user``, and the host of so many sessions."""
    if user is not None and os.geteuid() != 0:
        yield f"user = {user!r} is ignored: only root can become somebody else"
    if 2 * sessions > open_files:
        text = f"worker_connections = {sessions} takes twice as many open files"
        yield f"{text}, but the system allows {open_files} (LimitNOFILE, ulimit -Hn)"


def end_with(parent: int) -> None:
    """Have this process told to end (TERM) when its parent ends, however that comes. Raises CannotStart."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise CannotStart("the master has ended")
