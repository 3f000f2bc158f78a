"""Greenlets that are used again: making one costs a stack, and every session needs two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gevent import GreenletExit, get_hub
from gevent.event import Event
from greenlet import greenlet as RawGreenlet

from geomail.net.timing import Clock, current

#: Switches to a greenlet or the hub; the hub's own method looks first for a call that ours never want.
switch_to: Final = RawGreenlet.switch
#: Idle greenlets that are kept; each holds some 7 KiB.
_SPARE = 128


class Job:
    """A call that a greenlet of a crew makes, or has made."""

    __slots__ = ("_arguments", "_call", "_ended", "_hand", "_is_running", "finished")

    def __init__(self, hand: RawGreenlet, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._hand: RawGreenlet | None = hand
        self._call: Callable[..., object] | None = call
        self._arguments = arguments
        self._ended: Event | None = None
        self._is_running = False
        self.finished = False

    def kill(self) -> None:
        """End it by GreenletExit, and wait until it has ended; not in the hub, nor in the job itself."""
        if self._is_running and self._hand is not None:
            step_aside(self._hand.throw, GreenletExit)  # mostly that was it, and nobody has to be woken
        else:
            self.stop()
        self.join()

    def stop(self, error: BaseException | type[BaseException] = GreenletExit) -> None:
        """Throw ``error`` into it, soon; nothing but GreenletExit may leave it again."""
        if not self.finished:
            get_hub().loop.run_callback(self._throw, error)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, ``timeout`` seconds at most."""
        if not self.finished:
            self._ended = self._ended or Event()
            self._ended.wait(timeout)

    def run(self) -> None:
        """Make the call, in the greenlet it was given to; a bug is told, and goes no further."""
        self._is_running = True
        try:
            assert self._call is not None, "a job is done once"
            self._call(*self._arguments)
        except GreenletExit:
            pass
        except BaseException as bug:  # noqa: BLE001
            get_hub().handle_error(self._call, type(bug), bug, bug.__traceback__)
        self._is_running = False
        self.finished = True
        self._hand, self._call, self._arguments = None, None, ()  # whoever keeps the job keeps nothing else
        if self._ended is not None:
            self._ended.set()

    def _throw(self, error: BaseException | type[BaseException]) -> None:
        if self._hand is not None:
            self._hand.throw(error)


def step_aside(switch: Callable[..., object], *arguments: Any) -> None:
    """Make a call that switches to another greenlet; this one goes on when that has had its turn."""
    back = get_hub().loop.run_callback(current().switch)
    try:
        switch(*arguments)
    finally:
        back.stop()


class Crew:
    """Makes calls in greenlets of its own, as ``gevent.spawn`` does, and keeps these for the next calls."""

    def __init__(self) -> None:
        self.idle: list[_Hand] = []
        self._run_soon = get_hub().loop.run_callback

    def start(self, call: Callable[..., object], *arguments: Any) -> Job:
        """Make the call soon, in a greenlet that has a lasting Clock."""
        hand = self.idle.pop() if self.idle else _Hand(self.idle)
        job = hand.job = Job(hand.greenlet, call, arguments)
        self._run_soon(hand.switch)
        return job


class _Hand:
    """One greenlet of a crew: makes a call, then waits for the next."""

    __slots__ = ("_hub", "_idle", "greenlet", "job", "switch")

    def __init__(self, idle: list[_Hand]) -> None:
        self._hub = get_hub()
        self._idle = idle
        self.job: Job | None = None
        self.greenlet = RawGreenlet(self._work, self._hub)
        self.switch = self.greenlet.switch
        self.greenlet.clock = Clock(self.greenlet, lasting=True)  # type: ignore[attr-defined]

    def _work(self) -> None:
        while self.job is not None:
            self.job.run()
            self.job = None
            if len(self._idle) < _SPARE:
                self._idle.append(self)
                switch_to(self._hub)
        self.greenlet.clock.close()  # type: ignore[attr-defined]
        del self.greenlet.clock  # type: ignore[attr-defined]  # it refers back, and only gc would notice
