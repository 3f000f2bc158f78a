"""Pipes for moving bytes between sockets inside the kernel (splice(2)): pooled, and bounded in number."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass

#: Bytes that a pipe holds; what any user may ask for by default (fs.pipe-max-size).
CAPACITY = 1 << 20
#: Pipes that are open at a time; past them bytes are copied.
MOST_PIPES = 64


@dataclass(frozen=True, slots=True)
class Pipe:
    """The two ends of a pipe."""

    reading: int
    writing: int

    def close(self) -> None:
        """Close both ends, whatever is in it."""
        os.close(self.reading)
        os.close(self.writing)


class Pipes:
    """The pipes of one process."""

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self._open = 0

    def take(self) -> Pipe | None:
        """An empty pipe, None if there are too many already or none can be had."""
        if self._idle:
            return self._idle.pop()
        if self._open >= MOST_PIPES:
            return None
        try:
            pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            return None  # out of descriptors: copying needs none
        try:
            fcntl.fcntl(pipe.writing, fcntl.F_SETPIPE_SZ, CAPACITY)
        except OSError:
            pass  # a smaller one does as well, only slower
        self._open += 1
        return pipe

    def give_back(self, pipe: Pipe, *, empty: bool) -> None:
        """Keep the pipe for the next taker; one that still holds bytes is closed."""
        if empty:
            self._idle.append(pipe)
        else:
            pipe.close()
            self._open -= 1

    def close(self) -> None:
        """Close the pipes that nobody has."""
        while self._idle:
            self._idle.pop().close()
            self._open -= 1
