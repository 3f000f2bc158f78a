"""Ctrl-C: it ends a command wherever it waits, and says nothing of its own."""

from __future__ import annotations

import signal
from types import FrameType

import gevent


def quietly() -> None:
    """Have Ctrl-C raise KeyboardInterrupt here: gevent would raise it in its hub, and print it."""
    waiting = gevent.getcurrent()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if gevent.getcurrent() is waiting:
            raise KeyboardInterrupt
        gevent.kill(waiting, KeyboardInterrupt)

    signal.signal(signal.SIGINT, interrupt)
