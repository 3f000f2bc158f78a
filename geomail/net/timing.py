"""Time limits: ``gevent.Timeout`` turned into geomail's own error.

A limit is for a phase (a login, a question to the auth source, a handshake),
never for one read: a client that sends one byte every 29 seconds would never
reach that limit. Each greenlet has one timer, its :class:`Clock`; entering a
limit only notes a deadline, and the timer is moved when it fires too early or
would fire too late. So a session sets about one timer, however many phases it has.
"""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Any, Final

from gevent import Timeout, get_hub, getcurrent

from geomail.errors import PeerTimeout, Side

#: time.monotonic and gevent's getcurrent; Final, so that the compiled build need not ask a module for them.
now: Final = time.monotonic
current: Final = getcurrent


class Clock:
    """The one timer of a greenlet: it throws ``alarm`` into the greenlet when the first limit is over.

    ``fired`` is that limit. ``lasting`` keeps the timer between limits, for a
    greenlet that serves one session after another.
    """

    def __init__(self, greenlet: Any, *, lasting: bool = False) -> None:
        self.alarm = Timeout(None)
        self.lasting = lasting
        self.fired: TimeLimit | None = None
        self.armed = math.inf
        self.innermost: TimeLimit | None = None
        self._greenlet = greenlet
        self._timer: Any = None

    def wake_by(self, deadline: float) -> None:
        """Check the limits at ``deadline`` (of ``time.monotonic()``) or earlier."""
        if deadline < self.armed:
            self.close()
            self.armed = deadline
            self._timer = get_hub().loop.timer(max(0.0, deadline - now()), ref=False)
            self._timer.start(self._ring, update=True)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.close()
            self._timer, self.armed = None, math.inf

    def _ring(self) -> None:
        self.close()
        over, limit, at = None, self.innermost, now()
        while limit is not None:
            if limit.get_expiry() <= at:
                over = limit
            limit = limit.outer
        limit = self.innermost
        while limit is not None:
            if limit is not over:
                self.wake_by(limit.get_expiry())
            limit = limit.outer
        if over is not None:
            self.fired = over
            self._greenlet.throw(self.alarm)


class TimeLimit:
    """A block that must end within ``seconds``, or PeerTimeout is raised in it.

    ``blame`` is the side for which the block waits. ``private`` is the text for
    the log; ``{seconds}`` in it is filled in when the error is raised. Limits
    nest: each turns only its own end into an error, the outermost first.
    """

    __slots__ = ("_blame", "_clock", "_private", "_seconds", "deadline", "outer")

    def __init__(self, seconds: float, *, blame: Side, private: str) -> None:
        self._blame: Side = blame
        self._private = private
        self._seconds = seconds
        self._clock: Clock | None = None
        self.outer: TimeLimit | None = None
        self.deadline = math.inf

    def start(self) -> float:
        """Start the time of the block; return when it will be over, unless that is changed later."""
        self.deadline = now() + self._seconds
        return self.deadline

    def get_expiry(self) -> float:
        """Return the time.monotonic() at which the block's time is over."""
        return self.deadline

    def __enter__(self) -> None:
        greenlet: Any = current()
        try:
            clock: Clock = greenlet.clock
        except AttributeError:
            clock = greenlet.clock = Clock(greenlet)
        self._clock = clock
        self.outer, clock.innermost = clock.innermost, self
        over = self.start()
        if over < clock.armed:
            clock.wake_by(over)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        clock, self._clock = self._clock, None
        assert clock is not None
        clock.innermost, self.outer = self.outer, None
        if not (clock.lasting or clock.innermost):
            clock.close()
            del current().clock  # type: ignore[attr-defined]
        if error is clock.alarm and clock.fired is self:
            clock.fired = clock.alarm.__traceback__ = None
            private = self._private.replace("{seconds}", f"{self._seconds:g}")
            raise PeerTimeout(private, blame=self._blame) from None
