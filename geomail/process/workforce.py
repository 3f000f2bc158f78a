"""The children of the master: the workers of all generations, and the console."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from geomail.privileges import become
from geomail.process.children import end_with
from geomail.process.forks import run_in_child
from geomail.process.generation import Generation
from geomail.process.worker import Worker

if TYPE_CHECKING:
    from geomail.process.keeper import Keeper
    from geomail.process.readiness import Readiness
    from geomail.sinks.log import Log


class Workforce:
    """The workers of the generation in force, ``current``, and of older ones that still have sessions.

    It also starts the console.
    """

    def __init__(self, log: Log, keeper: Keeper) -> None:
        self.current: Generation | None = None
        self._log = log
        self._keeper = keeper
        self._draining: set[int] = set()
        self._master = os.getpid()

    @property
    def pids(self) -> list[int]:
        """The process ids of all workers."""
        current = self.current.workers if self.current else {}
        return [*current, *self._draining]

    @property
    def due(self) -> float | None:
        """The time (time.monotonic()) when a missing worker may be started; None: none is missing."""
        generation = self.current
        if generation is None or len(generation.workers) >= generation.config.workers:
            return None
        return generation.restart.due

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all workers."""
        _signal(self.pids, number)

    def drain(self, generation: Generation) -> None:
        """Let the workers of a generation end with their last session."""
        self._draining.update(generation.workers)
        _signal(generation.workers, signal.SIGQUIT)

    def bury(self, pid: int) -> str | None:
        """Forget a worker that has ended, and return what the log says of its successor.

        Empty: it has no successor. None: the process was not a worker.
        """
        if pid in self._draining:
            self._draining.remove(pid)
            return ""
        generation = self.current
        born = generation.workers.pop(pid, None) if generation is not None else None
        if generation is None or born is None:
            return None
        return f"; next start in {generation.restart.note_death(born):g} s"

    # -- starting children ------------------------------------------------------------------------

    def fill(self) -> None:
        """Start the missing workers of the generation in force that are due."""
        now = time.monotonic()
        while self.current is not None and (due := self.due) is not None and now >= due:
            if not self.start(self.current):
                self.current.restart.note_death(now)

    def start(
        self, generation: Generation, readiness: Readiness | None = None, others: Sequence[Readiness] = ()
    ) -> bool:
        """Start a worker of a generation; return whether the system had room for it.

        It reports by its ``readiness`` whether it serves; ``others`` belong to other workers.
        """

        def work() -> None:
            for other in others:
                other.close()
            if readiness is not None:
                readiness.in_child()
            self._become_child_of(generation)
            self._work(generation, readiness.report if readiness is not None else _report_nothing)

        pid = self._start_child(work, readiness)
        if pid:
            generation.workers[pid] = time.monotonic()
        return bool(pid)

    def start_console(self, run: Callable[[], None]) -> int:
        """Start the console, without the listeners and keys of mail; return its process id, or 0."""
        generation = self.current
        assert generation is not None

        def run_without_mail() -> None:
            self._become_child_of(generation)
            self.current = None
            generation.forget()
            run()

        return self._start_child(run_without_mail, None)

    def _start_child(self, run: Callable[[], None], readiness: Readiness | None) -> int:
        """Start a child and return its process id; 0 if the system has no room for another process.

        A lack of room is logged, and must not end the running sessions.
        """
        try:
            return run_in_child(run, partial(self._report, readiness))
        except OSError as error:
            self._log.say("error", f"cannot start a process: {error.strerror}")
            return 0

    # -- in a child -------------------------------------------------------------------------------

    def _become_child_of(self, generation: Generation) -> None:
        """Close what other generations alone need, and give up the master's rights."""
        if self.current is not None:
            self.current.leave_to_workers_of(generation)
        become(generation.account)
        end_with(self._master)

    def _work(self, generation: Generation, serving: Callable[[], None]) -> None:
        console = self._keeper.feed if generation.has_console else None
        self._keeper.forget()
        generation.leave_to_console()
        worker = Worker(
            generation.config,
            generation.listeners,
            self._log,
            generation.number,
            console,
            generation.contexts,
        )
        worker.run(serving)

    def _report(self, readiness: Readiness | None, failure: str) -> None:
        self._log.say("error", failure)
        if readiness is not None:
            readiness.report(failure)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it ended a moment ago; the master has not reaped it yet


def _report_nothing() -> None:
    """Do nothing: the master does not wait until this worker serves."""
