"""Pipes for moving bytes between sockets inside the kernel (splice(2)): pooled, and bounded in number."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass

#: Bytes that a pipe holds; by default, every user may have so many (fs.pipe-max-size).
CAPACITY = 1 << 20
#: The most pipes that are open at a time; a relay that gets none copies its bytes.
MOST_PIPES = 64


@dataclass(frozen=True, slots=True)
class Pipe:
    """The two ends of a pipe."""

    reading: int
    writing: int

    def close(self) -> None:
        """Close both ends; bytes in the pipe are lost."""
        os.close(self.reading)
        os.close(self.writing)


class Pipes:
    """The pipes of one process."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self._open = 0

    def take(self) -> Pipe | None:
        """Return an empty pipe; None if too many are open, or none can be made."""
        if self._idle:
            return self._idle.pop()
        if self._open >= MOST_PIPES:
            return None
        try:
            pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            return None  # no descriptor is free: copying needs none
        try:
            fcntl.fcntl(pipe.writing, fcntl.F_SETPIPE_SZ, CAPACITY)
        except OSError:
            pass  # a smaller pipe works, too, but is slower
        self._open += 1
        return pipe

    def give_back(self, pipe: Pipe, *, empty: bool) -> None:
        """Keep the pipe for the next caller of :meth:`take`; close it if it still holds bytes."""
        if empty:
            self._idle.append(pipe)
        else:
            pipe.close()
            self._open -= 1

    def close(self) -> None:
        """Close the pipes that are not in use."""
        while self._idle:
            self._idle.pop().close()
            self._open -= 1
