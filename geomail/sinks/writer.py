"""Where log lines go, and the thread that brings them there.

A write to a file or a pipe may block for as long as a disk or a reader likes,
and no event loop can prevent that. So a worker writes from a thread of its
own: sessions put lines into a bounded queue, and what does not fit is counted.
"""

from __future__ import annotations

import os
import stat
import time
from _socket import AF_UNIX, SOCK_DGRAM
from _socket import socket as RawSocket
from collections import deque
from typing import Protocol

import gevent
from gevent import monkey

#: Lines that may wait for a slow target; more are dropped, and counted.
MOST_LINES = 20_000
#: Seconds that the thread lets lines gather before it looks again.
_GATHER = 0.02
#: Seconds that the end of a worker waits for its last lines.
_PATIENCE = 2.0
#: POSIX's least PIPE_BUF is 512, Linux's is 4096: a write up to it is never mixed with another's.
_PIPE_BUF = 4096
_SYSLOG = "/dev/log"
_SEVERITIES = {"error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}
FACILITIES = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8,
    "cron": 9, "authpriv": 10, "ftp": 11, **{f"local{number}": 16 + number for number in range(8)},
}  # fmt: skip

_start_thread = monkey.get_original("_thread", "start_new_thread")
_sleep = monkey.get_original("time", "sleep")


class Target(Protocol):
    """Where lines go: each ends in a line feed."""

    def write(self, level: str, line: bytes) -> None:
        """Write one line, however long that takes."""

    def write_all(self, lines: list[tuple[str, bytes]]) -> None:
        """Write many."""

    def reopen(self) -> None:
        """Open a file anew."""


def open_target(name: str, facility: str) -> Target:
    """The target of ``[log]``: ``stderr``, ``syslog`` or a file's path. Raises OSError."""
    if name == "syslog":
        return _Syslog(FACILITIES[facility])
    return _Descriptor(None if name == "stderr" else name)


class _Descriptor:
    """The standard error, or a file that is appended to."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fd = 2
        self.reopen()

    def reopen(self) -> None:
        if self._path is not None:
            fresh = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            if self._fd != 2:
                os.close(self._fd)
            self._fd = fresh
        self._most = 1 << 20 if stat.S_ISREG(os.fstat(self._fd).st_mode) else _PIPE_BUF

    def write(self, level: str, line: bytes) -> None:
        while line:
            line = line[os.write(self._fd, line) :]

    def write_all(self, lines: list[tuple[str, bytes]]) -> None:
        batch, size = [], 0
        for _, line in lines:
            if batch and size + len(line) > self._most:
                self.write("", b"".join(batch))
                batch, size = [], 0
            batch.append(line)
            size += len(line)
        self.write("", b"".join(batch))


class _Syslog:
    """The syslog daemon of this machine, over its datagram socket (RFC 3164's form, as libc sends it)."""

    def __init__(self, facility: int) -> None:
        self._facility = facility
        self._sock = RawSocket(AF_UNIX, SOCK_DGRAM)
        self._sock.connect(_SYSLOG)

    def reopen(self) -> None:
        fresh = RawSocket(AF_UNIX, SOCK_DGRAM)
        fresh.connect(_SYSLOG)
        self._sock.close()
        self._sock = fresh

    def write(self, level: str, line: bytes) -> None:
        priority = self._facility * 8 + _SEVERITIES[level]
        stamp = time.strftime("%b %e %H:%M:%S").encode()
        message = b"<%d>%b geomail[%d]: %b" % (priority, stamp, os.getpid(), line.rstrip(b"\n"))
        try:
            self._sock.send(message)
        except OSError:  # the daemon was restarted: its socket is a new one
            self.reopen()
            self._sock.send(message)

    def write_all(self, lines: list[tuple[str, bytes]]) -> None:
        for level, line in lines:
            self.write(level, line)


class Writer:
    """Writes to a target from a thread of its own; :meth:`put` never waits."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._lines: deque[tuple[str, bytes]] = deque()
        self._dropped = 0
        self._sleeping = False
        self._reopen = False
        self._closing = False
        self._closed = False
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        _start_thread(self._run, ())

    def put(self, level: str, line: bytes) -> None:
        """Have the line written soon, or count it as dropped if too many wait already."""
        if len(self._lines) >= MOST_LINES:
            self._dropped += 1
            return
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
            try:
                self._deliver()
            except OSError as error:
                self._dropped += 1
                self._complain(error)
            if not self._closing:
                _sleep(_GATHER)
        self._closed = True

    def _deliver(self) -> None:
        if self._reopen:
            self._reopen = False
            self._target.reopen()
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            lines.append(("error", b"log: %d lines were lost: the target did not take them\n" % lost))
        if lines:
            self._target.write_all(lines)

    def _complain(self, error: OSError) -> None:
        try:
            os.write(2, b"geomail: cannot write the log: %b\n" % os.strerror(error.errno or 0).encode())
        except OSError:
            pass  # there is nobody left to tell
