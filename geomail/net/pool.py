"""Connections to one HTTP service, kept between questions: how many, and which may be used again when.

HTTP/1.1 has nothing that ties an answer to its question but their order on the
connection. So a service that says more than it was asked for (a second answer,
a body behind ``Content-Length: 0``) would have that taken for the answer to the
next question, which is another user's. Four rules together keep that out:

* A connection rests after each answer until it was looked at LOOKS times, LOOK
  seconds apart: for a tenth of a second and a little. Whatever comes in that time
  was not asked for. Looks are counted, and not seconds: time in which this
  process did not run proves nothing.
* Before a rested connection is used, everything that could hold bytes is looked
  at: what was read ahead, TLS, the kernel.
* What comes back on it must begin with a status line, and nothing may be there
  behind its end; else it is thrown away and the question is put again, on a
  fresh connection, where no earlier question was.
* A service that has ever said something unasked is never kept again: its idle
  connections are closed, and what is being answered on used ones is asked again.

What is left is a service that says something unasked for the first time, later
than the rest, in the moment between a question and its answer.

The rest costs connections, not time: where none has rested, a fresh one is made.
So as many are idle as there are questions in the time of a rest: 256 connections
carry some 2,000 questions a second, and beyond that some questions take a fresh one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from gevent.event import Event

from geomail.errors import Side
from geomail.net.timing import TimeLimit, now
from geomail.net.wire import Wire

#: Seconds between two looks at resting connections, and how many a rest takes; the first may come at once.
LOOK, LOOKS = 0.025, 5
#: Seconds that an idle connection is kept.
IDLE_TIME = 60.0


class Pool:
    """The connections to one service: at most ``most`` at a time; logins that need one wait in order.

    ``keeps`` is whether a connection is kept for the next question; nobody sets it true again.
    ``unasked`` is called whenever the service was heard to say something unasked, with true the first time.
    """

    def __init__(self, most: int, unasked: Callable[[bool], object]) -> None:
        self.most = most
        self.keeps = True
        self._unasked = unasked
        self._busy = 0
        self._waiting: dict[Event, None] = {}
        self._resting: deque[dict[Wire, float]] = deque({} for _ in range(LOOKS))
        self._rested: dict[Wire, float] = {}
        self._timer: Any = None
        self._is_ticking = False

    @property
    def idle(self) -> int:
        """The number of connections that wait for the next question, or for the end of their rest."""
        return sum(map(len, self._resting)) + len(self._rested)

    @property
    def ready(self) -> int:
        """The number of connections that can be used again now."""
        return len(self._rested)

    def enter(self, seconds: float, peer: Side, late: str) -> float:
        """Take a place, for one connection; returns what is left of ``seconds``.

        Raises PeerTimeout with the text ``late`` if none came free in time.
        """
        if self._busy < self.most:
            self._busy += 1
            return seconds
        since = now()
        with TimeLimit(seconds, blame=peer, private=late):
            self._wait()
        return max(0.0, seconds - (now() - since))

    def leave(self) -> None:
        """Give the place to the next in the line, or back."""
        if self._waiting:
            turn = next(iter(self._waiting))
            del self._waiting[turn]
            turn.set()
        else:
            self._busy -= 1

    def _wait(self) -> None:
        turn = Event()
        self._waiting[turn] = None
        try:
            turn.wait()
        except BaseException:
            if turn.is_set():
                self.leave()
            else:
                del self._waiting[turn]
            raise

    # -- connections ------------------------------------------------------------------------------

    def rested(self) -> Wire | None:
        """A connection that has rested and is silent, None if there is none: make one then.

        That of the shortest silence, so that those which are too many are given up.
        """
        while self._rested:
            wire, since = self._rested.popitem()
            wire.stop_watching()
            is_silent = not wire.has_unread()
            if is_silent and since > now() - IDLE_TIME:
                return wire
            wire.close()
            if not is_silent:
                self.speaks_unasked()
        return None

    def make_room(self) -> None:
        """Close an idle connection, if one more would be too many; its caller has a place and connects."""
        if self._busy + self.idle > self.most:
            for idle in (*self._resting, self._rested):
                if idle:
                    idle.popitem()[0].close()
                    return

    def keep(self, wire: Wire) -> None:
        """Let a connection rest whose answer has come to its end."""
        self._resting[0][wire] = 0.0
        wire.watch(self._stirs, wire)
        if not self._is_ticking:
            self._is_ticking = True
            self._timer = self._timer or get_hub().loop.timer(LOOK, LOOK, ref=False)
            self._timer.again(self._tick)

    def speaks_unasked(self) -> None:
        """Note that the service said something unasked: it is never kept again."""
        is_new, self.keeps = self.keeps, False
        self.close()
        self._unasked(is_new)

    def close(self) -> None:
        """Close the idle connections."""
        for idle in (*self._resting, self._rested):
            while idle:
                idle.popitem()[0].close()
        if self._timer is not None:
            self._timer.close()
            self._timer, self._is_ticking = None, False

    def _tick(self) -> None:
        at = now()
        for wire in self._resting.pop():
            self._rested[wire] = at
        self._resting.appendleft({})
        while self._rested and self._rested[oldest := next(iter(self._rested))] < at - IDLE_TIME:
            del self._rested[oldest]
            oldest.close()
        self._is_ticking = any(self._resting)
        if self._is_ticking:
            self._timer.again(self._tick)  # a whole interval from now on, however late this one is
        else:
            self._timer.stop()

    def _stirs(self, wire: Wire) -> None:
        """An idle connection has ended, or says what geomail did not ask for."""
        said = wire.look_ahead()
        if said is None:
            return
        for resting in self._resting:
            resting.pop(wire, None)
        self._rested.pop(wire, None)
        wire.close()
        if said:
            self.speaks_unasked()
