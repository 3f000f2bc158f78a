"""Ctrl-C: it ends a command wherever it waits, and prints nothing of its own."""

from __future__ import annotations

import signal
from types import FrameType

import gevent


def catch_ctrl_c() -> None:
    """Make Ctrl-C raise KeyboardInterrupt in this greenlet; gevent would raise and print it in its hub."""
    main = gevent.getcurrent()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if gevent.getcurrent() is main:
            raise KeyboardInterrupt
        gevent.kill(main, KeyboardInterrupt)

    signal.signal(signal.SIGINT, interrupt)
