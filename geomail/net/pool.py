"""Connections to one HTTP service, kept between questions: how many, and when each may be used again.

In HTTP/1.1, only the order on the connection ties an answer to its question. A
service may send more than it was asked for: a second answer, or a body behind
``Content-Length: 0``. geomail would take that for the answer to the next
question, which is another user's. Four rules together prevent this:

* A connection rests after each answer, until it was checked LOOKS times, LOOK
  seconds apart. That takes a little more than a tenth of a second. Bytes that
  arrive in that time were not asked for. Checks are counted, not seconds: time
  in which this process did not run proves nothing.
* Before a rested connection is used, every place that could hold bytes is
  checked: the wire's buffer, TLS, the kernel.
* The answer on it must begin with a status line, and no bytes may follow its
  end. Otherwise it is thrown away, and the question is asked again on a fresh
  connection, which carried no earlier question.
* After a service has once sent unasked bytes, none of its connections is kept
  again. Its idle connections are closed, and questions on used ones are asked
  again.

One case remains: a service sends unasked bytes for the first time, after the
rest, in the moment between a question and its answer.

The rest costs connections, not time: if none has rested, a fresh one is made.
So the idle connections are as many as the questions in the time of one rest: 256
connections carry some 2,000 questions a second. With more questions, some need a
fresh connection.
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

#: Seconds between two checks of resting connections, and the checks of one rest; the first may come at once.
LOOK, LOOKS = 0.025, 5
#: Seconds for which an idle connection is kept.
IDLE_TIME = 60.0


class Pool:
    """The connections to one service: at most ``most`` at a time; logins that need one wait in order.

    ``keeps``: a connection is kept for the next question. Once false, it stays false.
    ``unasked`` is called each time the service sends unasked bytes, with True the first time.
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
        """The number of connections that wait for the next question or rest."""
        return sum(map(len, self._resting)) + len(self._rested)

    @property
    def ready(self) -> int:
        """The number of connections that can be used again now."""
        return len(self._rested)

    def enter(self, seconds: float, peer: Side, late: str) -> float:
        """Take a place for one connection; return what is left of ``seconds``.

        Raises PeerTimeout with the text ``late`` if no place becomes free in time.
        """
        if self._busy < self.most:
            self._busy += 1
            return seconds
        since = now()
        with TimeLimit(seconds, blame=peer, private=late):
            self._wait()
        return max(0.0, seconds - (now() - since))

    def leave(self) -> None:
        """Give the place to the next login that waits, or back to the pool."""
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

    def take_rested(self) -> Wire | None:
        """Return a connection that has rested and is silent; None if there is none: make one then.

        It is the one that was used last, so that connections in excess stay idle until they are closed.
        """
        while self._rested:
            wire, since = self._rested.popitem()
            wire.stop_watching()
            is_silent = not wire.has_unread()
            if is_silent and since > now() - IDLE_TIME:
                return wire
            wire.close()
            if not is_silent:
                self.report_unasked()
        return None

    def make_room(self) -> None:
        """Close an idle connection if one more would be too many; call it with a place, before connecting."""
        if self._busy + self.idle > self.most:
            for idle in (*self._resting, self._rested):
                if idle:
                    idle.popitem()[0].close()
                    return

    def keep(self, wire: Wire) -> None:
        """Let a connection rest; its answer has been read to the end."""
        self._resting[0][wire] = 0.0
        wire.watch(self._handle_input, wire)
        if not self._is_ticking:
            self._is_ticking = True
            self._timer = self._timer or get_hub().loop.timer(LOOK, LOOK, ref=False)
            self._timer.again(self._tick)

    def report_unasked(self) -> None:
        """Report that the service sent unasked bytes: no connection to it is kept again."""
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
            self._timer.again(self._tick)  # a whole interval from now, even if this call is late
        else:
            self._timer.stop()

    def _handle_input(self, wire: Wire) -> None:
        """Drop an idle connection that has ended, or that sends unasked bytes."""
        said = wire.look_ahead()
        if said is None:
            return
        for resting in self._resting:
            resting.pop(wire, None)
        self._rested.pop(wire, None)
        wire.close()
        if said:
            self.report_unasked()
