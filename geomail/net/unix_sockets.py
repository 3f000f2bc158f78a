"""Listening Unix sockets and their files, in folders where other users may replace files.

If a privileged process changes or removes a file by its path, an unprivileged
one may have put another file there. So a file is made with the mode that it keeps,
and later only the inode that was bound is changed or removed.
"""

from __future__ import annotations

import errno
import os
import stat
from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as RawSocket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geomail.folders import hold_folder_of

#: The mode of a Unix socket: its folder limits access to it, as in nginx.
_ANYBODY = 0o666
_Identity = tuple[int, int]


class UnixListener(RawSocket):
    """A listening Unix socket that knows its file; :func:`bind_unix` makes it."""

    path: str
    identity: _Identity

    def is_in_place(self) -> bool:
        """Tell whether the file is still at its path."""
        try:
            return _get_identity(os.lstat(self.path)) == self.identity
        except OSError:
            return False

    def admit(self, mode: int, group: int | None) -> None:
        """Give the file this mode and group (None: unchanged). Raises OSError, also for a missing file."""
        with _hold_own_file(self.path) as (file, status):
            if _get_identity(status) != self.identity:
                raise FileExistsError(errno.EEXIST, "there is another file in its place")
            _set_group(file, status, group)
            if stat.S_IMODE(status.st_mode) != mode:
                file.chmod(mode)

    def remove(self) -> None:
        """Remove the file, if it is still there and ours."""
        place = Path(self.path)
        try:
            folder = os.open(place.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if _get_identity(os.stat(place.name, dir_fd=folder, follow_symlinks=False)) == self.identity:
                os.unlink(place.name, dir_fd=folder)
        except OSError:
            pass  # another process has removed it, or the folder is closed to us now
        finally:
            os.close(folder)


def bind_unix(path: str, backlog: int, mode: int = _ANYBODY, group: int | None = None) -> UnixListener:
    """Make a listening, non-blocking Unix socket, whose file has this mode and group (None: the process's).

    A socket at this path on which no process listens any more is replaced. The
    umask is changed for a moment, so no other thread may make files meanwhile.
    Raises OSError.
    """
    sock = UnixListener(AF_UNIX, SOCK_STREAM)
    try:
        sock.setblocking(False)
        with hold_folder_of(path) as folder:
            before = os.umask(0o777 & ~mode)
            try:
                _bind(sock, path, folder)
            finally:
                os.umask(before)
        with _hold_own_file(path) as (file, status):
            sock.path, sock.identity = path, _get_identity(status)
            _set_group(file, status, group)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _bind(sock: RawSocket, path: str, folder: int) -> None:
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_abandoned(path):
            raise
        os.unlink(Path(path).name, dir_fd=folder)
        sock.bind(path)


@contextmanager
def _hold_own_file(path: str) -> Iterator[tuple[Path, os.stat_result]]:
    """Hold the file of our socket: a path that leads to it even if its name changes, and its status."""
    with hold_folder_of(path) as folder:
        held = os.open(Path(path).name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = os.fstat(held)
        if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
            raise FileExistsError(errno.EEXIST, "there is another file in its place")
        yield Path(f"/proc/self/fd/{held}"), status
    finally:
        os.close(held)


def _set_group(file: Path, status: os.stat_result, group: int | None) -> None:
    if group is not None and status.st_gid != group:
        os.chown(file, -1, group)


def _get_identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _is_abandoned(path: str) -> bool:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    probe = RawSocket(AF_UNIX, SOCK_STREAM)
    probe.setblocking(False)
    try:
        return probe.connect_ex(path) == errno.ECONNREFUSED
    finally:
        probe.close()
