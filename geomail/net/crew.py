"""Greenlets that are used again and again: each new one costs a stack, and every session needs two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gevent import GreenletExit, get_hub
from gevent.event import Event
from greenlet import greenlet as RawGreenlet

from geomail.net.timing import Clock, current

#: Switches to a greenlet or the hub; the hub's own method first looks for a callback that geomail never sets.
switch_to: Final = RawGreenlet.switch
#: The number of idle greenlets that are kept; each takes some 7 KiB.
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
        """End the job by GreenletExit, and wait for its end. Never call it in the hub, or in the job."""
        if self._is_running and self._hand is not None:
            step_aside(
                self._hand.throw, GreenletExit
            )  # mostly the job has ended then, and join() need not wait
        else:
            self.stop()
        self.join()

    def stop(self, error: BaseException | type[BaseException] = GreenletExit) -> None:
        """Throw ``error`` into the job soon. The job must catch it, unless it is GreenletExit."""
        if not self.finished:
            get_hub().loop.run_callback(self._throw, error)

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the job, at most ``timeout`` seconds."""
        if not self.finished:
            self._ended = self._ended or Event()
            self._ended.wait(timeout)

    def run(self) -> None:
        """Make the call in the greenlet that got it. Report a bug as gevent does, and raise nothing."""
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
        self._hand, self._call, self._arguments = None, None, ()  # code that keeps the job keeps nothing else
        if self._ended is not None:
            self._ended.set()

    def _throw(self, error: BaseException | type[BaseException]) -> None:
        if self._hand is not None:
            self._hand.throw(error)


def step_aside(switch: Callable[..., object], *arguments: Any) -> None:
    """Make a call that switches to another greenlet; go on in this one after the other's turn."""
    back = get_hub().loop.run_callback(current().switch)
    try:
        switch(*arguments)
    finally:
        back.stop()


class Crew:
    """A group of greenlets: it makes calls as ``gevent.spawn`` does, and keeps the greenlets for others."""

    def __init__(self) -> None:
        self.idle: list[_Hand] = []
        self._run_soon = get_hub().loop.run_callback

    def start(self, call: Callable[..., object], *arguments: Any) -> Job:
        """Make the call soon, in a greenlet with a lasting Clock; return the job."""
        hand = self.idle.pop() if self.idle else _Hand(self.idle)
        job = hand.job = Job(hand.greenlet, call, arguments)
        self._run_soon(hand.switch)
        return job


class _Hand:
    """One greenlet of a crew: it makes a call, then waits for the next."""

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
        del self.greenlet.clock  # type: ignore[attr-defined]  # the clock refers to the greenlet: a cycle
