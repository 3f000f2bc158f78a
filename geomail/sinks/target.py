"""The targets of log lines: standard error, a file, or syslog."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from _socket import AF_UNIX, SOCK_DGRAM
from _socket import socket as RawSocket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from gevent import monkey

from geomail.folders import hold_folder_of, is_protected

#: A level, and a line that ends in a line feed.
Line = tuple[str, bytes]

#: Linux's PIPE_BUF (POSIX demands 512): a pipe never mixes a write of up to this size with another one.
_PIPE_BUF = 4096
_FILE_BATCH = 1 << 20
_SYSLOG = "/dev/log"
_LF = 0x0A
_SEVERITIES = {"error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}
_FACILITIES = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8,
    "cron": 9, "authpriv": 10, "ftp": 11, **{f"local{number}": 16 + number for number in range(8)},
}  # fmt: skip

_poll = monkey.get_original("select", "poll")


class LinesLost(OSError):
    """``count`` lines were not written."""

    def __init__(self, count: int, why: str) -> None:
        super().__init__(why)
        self.count = count


class Target(Protocol):
    """A place for lines. ``name`` is its name in ``[log]``; ``stamps``: it adds the time to each line."""

    name: str
    stamps: bool

    def write(self, lines: Sequence[Line]) -> None:
        """Write the lines, and wait for as long as that takes. Raises LinesLost."""

    def is_ready(self) -> bool:
        """Tell whether it would probably take a line without waiting."""

    def reopen(self) -> None:
        """Open the target again, in case it was moved away.

        Raises OSError if that fails; the target that is open stays in use then.
        """

    def close(self) -> None:
        """Close it."""


def open_target(name: str, facility: str = "mail", tag: str = "", owner: int | None = None) -> Target:
    """Open a target of ``[log]``: ``stderr``, ``syslog``, ``syslog:SOCKET``, or a file's path.

    A line in syslog begins with ``tag``; without one, with geomail and its
    process id. A file is given to the user ``owner``. Raises OSError.
    """
    kind, _, path = name.partition(":")
    if kind == "syslog":
        return Syslog(path or _SYSLOG, _FACILITIES[facility], tag)
    return StandardError() if name == "stderr" else File(name, owner)


class _Descriptor:
    """A target that takes lines by write(2); a pipe takes at most ``_most`` bytes at a time."""

    stamps = False

    def __init__(self, fd: int) -> None:
        self._torn = False
        self._take(fd)

    def _take(self, fd: int) -> None:
        self._fd = fd
        self._most = _FILE_BATCH if stat.S_ISREG(os.fstat(fd).st_mode) else _PIPE_BUF

    def is_ready(self) -> bool:
        return _is_writable(self._fd)

    def write(self, lines: Sequence[Line]) -> None:
        written = 0
        for batch in _split_into_batches(lines, self._most):
            self._write_all(b"".join(batch), len(lines) - written - len(batch))
            written += len(batch)

    def _write_all(self, data: bytes, lines_behind: int) -> None:
        """Write some of the lines; ``lines_behind`` more come after them.

        If an earlier write stopped inside a line, a line feed ends that part first.
        """
        rest = b"\n" + data if self._torn else data
        while rest:
            try:
                written = os.write(self._fd, rest)
            except BlockingIOError:  # another process that shares this file has made it non-blocking
                _is_writable(self._fd, None)
                continue
            except OSError as error:
                lost = lines_behind + rest.count(b"\n", 0 if rest[0] != _LF else 1)
                raise LinesLost(lost, os.strerror(error.errno or 0)) from None
            self._torn = rest[written - 1] != _LF
            rest = rest[written:]


class StandardError(_Descriptor):
    """Standard error of this process."""

    name = "stderr"

    def __init__(self) -> None:
        super().__init__(2)

    def reopen(self) -> None:
        """Do nothing: it cannot be moved away."""

    def close(self) -> None:
        """Do nothing: other code writes to it too."""


class File(_Descriptor):
    """A file to append to, or a named pipe; root gives it to the user ``owner``.

    A user that may write to the folder can put any file at this path, also a
    link. So root gives the file away only if this class has just created it, or
    if only root can have put it there.
    """

    def __init__(self, path: str, owner: int | None) -> None:
        self.name = self._path = path
        self._owner = owner if os.geteuid() == 0 else None
        super().__init__(self._open())

    def _open(self) -> int:
        if self._owner is None or os.geteuid() != 0:  # a worker has no rights that a link could abuse
            return self._open_path(os.O_CREAT)
        with hold_folder_of(self._path) as folder:
            try:
                fd = self._open_path(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, folder)
            except FileExistsError:
                return self._take_over(self._owner, folder)
            os.fchown(fd, self._owner, -1)
            return fd

    def _take_over(self, owner: int, folder: int) -> int:
        """Open the file that exists already, if it is the owner's or may be given to the owner."""
        fd = self._open_path(os.O_NOFOLLOW, folder)
        try:
            status = os.fstat(fd)
            if stat.S_ISREG(status.st_mode) and (status.st_uid != owner or status.st_nlink != 1):
                if status.st_nlink != 1 or not is_protected(os.fstat(folder)):
                    problem = "it must belong to the workers' user and have no second link; move it away"
                    raise PermissionError(errno.EPERM, problem)
                os.fchown(fd, owner, -1)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _open_path(self, how: int, folder: int | None = None) -> int:
        """Open the path, or its name in the open ``folder``; do not wait for the reader of a named pipe."""
        path = self._path if folder is None else Path(self._path).name
        flags = os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | how
        try:
            fd = os.open(path, flags | os.O_WRONLY, 0o640, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.ENXIO:  # a pipe that no process reads
                raise
            fd = os.open(path, flags | os.O_RDWR, dir_fd=folder)
        if stat.S_ISFIFO(os.fstat(fd).st_mode):  # it must not break when its reader leaves
            os.close(fd)
            fd = os.open(path, flags | os.O_RDWR, dir_fd=folder)
        os.set_blocking(fd, True)
        return fd

    def reopen(self) -> None:
        fresh = self._open()
        os.close(self._fd)
        self._torn = False
        self._take(fresh)

    def close(self) -> None:
        os.close(self._fd)


class Syslog:
    """The syslog daemon of this machine, over its datagram socket (RFC 3164's form, as libc sends it)."""

    stamps = True

    def __init__(self, path: str, facility: int, tag: str) -> None:
        self.name = f"syslog:{path}"
        self._path = path
        self._facility = facility
        self._tag = tag
        self._sock = self._connect()

    def _connect(self) -> RawSocket:
        sock = RawSocket(AF_UNIX, SOCK_DGRAM)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        return sock

    def is_ready(self) -> bool:
        return _is_writable(self._sock.fileno())

    def reopen(self) -> None:
        fresh = self._connect()
        self._sock.close()
        self._sock = fresh

    def close(self) -> None:
        self._sock.close()

    def write(self, lines: Sequence[Line]) -> None:
        for written, (level, line) in enumerate(lines):
            message = self._make_message(level, line)
            try:
                self._send(message)
            except OSError as error:
                raise LinesLost(len(lines) - written, os.strerror(error.errno or 0)) from None

    def _make_message(self, level: str, line: bytes) -> bytes:
        tag = self._tag or f"geomail[{os.getpid()}]"
        head = f"<{self._facility * 8 + _SEVERITIES[level]}>{time.strftime('%b %e %H:%M:%S')} {tag}: "
        return head.encode() + line.rstrip(b"\n")

    def _send(self, message: bytes) -> None:
        try:
            self._sock.send(message)
        except OSError:  # the daemon was restarted: its socket is a new one
            self.reopen()
            self._sock.send(message)


def _is_writable(fd: int, milliseconds: int | None = 0) -> bool:
    poll = _poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(milliseconds))


def _split_into_batches(lines: Sequence[Line], most: int) -> Iterator[list[bytes]]:
    """Yield the lines in batches of at most ``most`` bytes; a longer line is a batch of its own."""
    batch: list[bytes] = []
    size = 0
    for _, line in lines:
        if batch and size + len(line) > most:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch
