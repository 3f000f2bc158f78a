"""Folders of files that a privileged process makes, where others may replace what lies on the way to them.

Who may write to a folder may put a link there in place of a folder in it, and
the whole of the path behind it leads elsewhere then. So a folder is walked to
step by step, and held: what is made or removed in it is made or removed there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HELD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: Links on one way, as in Linux.
_MOST_LINKS = 40


@contextmanager
def holding_folder_of(path: str) -> Iterator[int]:
    """A descriptor of the folder that a file is in. Raises OSError.

    As root, links on the way are followed only where nobody else can have put them.
    """
    folder = _walked_to(Path(path).parent)
    try:
        yield folder
    finally:
        os.close(folder)


def is_closed(status: os.stat_result) -> bool:
    """Tell whether only root and this process can put files into the folder."""
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _walked_to(folder: Path) -> int:
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
    if os.geteuid() == 0 and not (is_closed(where) or own):
        raise PermissionError(
            errno.EPERM, "a folder on the way is a link that others than root may have made"
        )
