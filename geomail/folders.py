"""Folders of files that a privileged process makes, although other users may replace folders on the way.

A user that may write to a folder may replace a folder in it by a link; the rest of
the path then leads elsewhere. So the path is opened step by step, and the last
folder is held open: files are made and removed in just that folder.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HELD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: The most links in one path, as in Linux.
_MOST_LINKS = 40


@contextmanager
def hold_folder_of(path: str) -> Iterator[int]:
    """Hold the folder of a file open; give its descriptor. Raises OSError.

    As root, a link on the way is followed only if no other user can have made it.
    """
    folder = _open_stepwise(Path(path).parent)
    try:
        yield folder
    finally:
        os.close(folder)


def is_protected(status: os.stat_result) -> bool:
    """Tell whether only root and this process's user can put files into the folder."""
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _open_stepwise(folder: Path) -> int:
    ahead = list(reversed(folder.absolute().parts))
    links = 0
    held = os.open("/", _HELD)
    try:
        while ahead:
            step = os.open(ahead.pop(), _HELD, dir_fd=held)
            if stat.S_ISLNK(os.fstat(step).st_mode):
                links += 1
                try:
                    _check_link(held, step, links)
                    ahead += reversed(Path(os.readlink("", dir_fd=step)).parts)
                finally:
                    os.close(step)
            else:
                os.close(held)
                held = step
    except OSError:
        os.close(held)
        raise
    return held


def _check_link(folder: int, link: int, links: int) -> None:
    if links > _MOST_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    where = os.fstat(folder)
    own = where.st_mode & stat.S_ISVTX and where.st_uid == 0 and os.fstat(link).st_uid == 0
    if os.geteuid() == 0 and not (is_protected(where) or own):
        raise PermissionError(
            errno.EPERM, "a folder on the way is a link that another user than root may have made"
        )
