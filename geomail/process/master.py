"""The parent of the workers: binds, forks, reaps, reloads; never speaks mail, never makes a hub.

What can be shared is made here before the fork: listening sockets, and TLS
contexts with their ticket keys. The loop is ``sigtimedwait`` on blocked
signals, so nothing here runs inside a signal handler, and nothing of gevent
runs at all: a hub made before a fork would live in both processes.
"""

from __future__ import annotations

import gc
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gevent import monkey

from geomail import build
from geomail.errors import GeomailError
from geomail.net import memory
from geomail.privileges import CannotStart, become, forbid_inspection
from geomail.process.children import end_with
from geomail.process.generation import Generation, open_generation, tell_listeners, use_log
from geomail.process.keeper import Keeper
from geomail.process.listeners import close_vanished
from geomail.process.open_files import allow_open_files
from geomail.process.preload import preload
from geomail.process.readiness import Readiness, await_all
from geomail.process.systemd import notify
from geomail.process.worker import Worker

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.sinks.log import Log

_fork = monkey.get_original("os", "fork")
_waitpid = monkey.get_original("os", "waitpid")

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})
#: When garbage is collected: each time, all live sessions are looked at, and nothing of a session is garbage.
_SELDOM = (20_000, 50, 100)
_WATCHED = frozenset(
    {*_ENDING, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGIO}
)
#: Seconds that workers get to end after TERM before they are killed.
_PATIENCE = 5.0
#: Seconds that new workers have to serve before a reload is undone.
_START_PATIENCE = 30.0
#: Dead workers that the console is told of, and characters of why a reload was refused.
_REMEMBERED, _LONGEST_REASON = 16, 16000


class Abandoned(GeomailError):
    """The companion has ended, so everything did."""


class Master:
    """Runs the workers of one configuration file until it is told to stop, and their console.

    ``load`` reads and checks the file (raises GeomailError), for the start and
    for every reload. ``companion`` is a process that its work makes no sense
    without: it is started already, and when it ends, so does everything.
    """

    def __init__(
        self, file: Path, load: Callable[[Path], Config], log: Log, companion: int | None = None
    ) -> None:
        self._file = file
        self._load = load
        self._log = log
        self._companion = companion
        self._abandoned = ""
        self._current: Generation | None = None
        self._draining: dict[int, float] = {}
        self._ending: signal.Signals | None = None
        self._pid = os.getpid()
        self._started = time.time()
        self._open_files = 0
        self._last_number = 0
        self._trial: list[Readiness] = []
        self._keeper = Keeper(log)
        self._refused: dict[str, Any] | None = None
        self._died: deque[int] = deque(maxlen=_REMEMBERED)

    def run(self) -> None:
        """Start, and stay until all workers have ended.

        Raises CannotStart and ConfigError at the start, Abandoned at the end.
        """
        forbid_inspection()
        memory.wipe_freed_memory()
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        self._open_files = allow_open_files()
        self._current = self._open(None)
        self._last_number = self._current.number
        self._keeper.use(self._current.control, self._current.metrics)
        tell_listeners(self._log, self._current)
        self._log.say("notice", build.introduce_build())
        self._log.say("notice", f"started {self._current.config.workers} worker(s)")
        preload()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_SELDOM)
        self._fill(self._current)
        notify("READY=1")
        while not (self._ending and not self._children()):
            received = signal.sigtimedwait(_WATCHED, self._pause())
            if received is not None:
                self._handle(signal.Signals(received.si_signo))
            self._reap()
            if not self._ending:
                self._fill(self._current)
            self._keeper.tell_again(self._state())
        self._end_console()
        if self._abandoned:
            raise Abandoned(self._abandoned)

    # -- signals ----------------------------------------------------------------------------------

    def _handle(self, number: signal.Signals) -> None:
        if number in _ENDING:
            self._end(signal.SIGTERM)
        elif number == signal.SIGQUIT:
            self._end(signal.SIGQUIT)
        elif number == signal.SIGHUP and not self._ending:
            self._reload()
            self._keeper.tell(self._state())
            self._hear_console()
        elif number == signal.SIGIO:
            self._hear_console()
        elif number == signal.SIGUSR1:
            self._log.reopen()
            self._signal(self._children(), signal.SIGUSR1)
            self._keeper.signal(signal.SIGUSR1)
        elif number == signal.SIGUSR2:  # nginx's way to another binary, whose default would end all mail
            self._log.say("warning", "USR2 is ignored: another version of geomail comes with a restart")

    def _end(self, number: signal.Signals) -> None:
        """Listen no more, so that no client waits for an answer that never comes; then end the workers."""
        assert self._current is not None
        notify("STOPPING=1")
        patient = number == signal.SIGQUIT
        self._log.say("notice", "stopping when the last session has ended" if patient else "stopping")
        self._ending = number
        close_vanished(self._current.listeners, ())
        self._keeper.tell(self._state())
        self._signal(self._children(), number)
        if number == signal.SIGTERM:
            self._wait_until(lambda: not self._children(), _PATIENCE)
            self._signal(self._children(), signal.SIGKILL)

    def _end_console(self) -> None:
        self._keeper.signal(signal.SIGTERM)
        self._wait_until(lambda: not self._keeper.is_running, _PATIENCE)
        self._keeper.signal(signal.SIGKILL)
        self._keeper.close()

    def _wait_until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Bury children until it is so, for ``seconds`` at most."""
        deadline = time.monotonic() + seconds
        self._reap()
        while not reached() and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, min(left, 0.2))
            self._reap()

    def _hear_console(self) -> None:
        for asked in self._keeper.heard():
            if "reload" in asked and not self._ending:
                error = self._reload()
                self._keeper.tell(self._state(), reload=asked["reload"], error=error)

    def _reload(self) -> str | None:
        """Put the file as it is now in force; why it could not be, if it could not."""
        assert self._current is not None
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        error = self._renewed(self._current)
        if error is not None:
            error = error[:_LONGEST_REASON]
            self._refused = {"time": time.time(), "error": error}
            self._log.say("error", f"reload failed, the old configuration stays in force: {error}")
        notify("READY=1")
        return error

    def _renewed(self, old: Generation) -> str | None:
        """Have new workers serve beside the old ones, and then instead of them; why not, if they cannot."""
        try:
            fresh = self._open(old)
        except Exception as failure:  # noqa: BLE001  # even a bug in what reads the file must not end the mail
            return str(failure) if isinstance(failure, GeomailError) else f"a bug: {failure!r}"
        if error := self._try_out(fresh):
            self._undo(fresh, old)
            return error
        self._put_in_force(fresh, old)
        return None

    def _open(self, old: Generation | None) -> Generation:
        number = self._last_number + 1
        return open_generation(number, self._load(self._file), old, self._log, self._open_files)

    def _try_out(self, fresh: Generation) -> str:
        """Start all workers of a generation; why they do not serve, empty if they do."""
        now = time.monotonic()
        self._last_number = fresh.number  # which is theirs from now on, whatever becomes of them
        try:
            for _ in range(fresh.config.workers):
                readiness = Readiness()
                pid = self._spawn(partial(self._work, fresh), fresh, readiness)
                readiness.in_master()
                self._trial.append(readiness)
                if not pid:
                    return "there is no room for another process"
                fresh.workers[pid] = now
            return await_all(self._trial, _START_PATIENCE, (*_ENDING, signal.SIGQUIT))
        except OSError as error:  # too many open files, say
            return f"cannot start a worker: {error.strerror}"
        finally:
            for readiness in self._trial:
                readiness.close()
            self._trial.clear()

    def _undo(self, fresh: Generation, old: Generation) -> None:
        """End the new workers after the sessions that they may have begun; leave all else as it was."""
        fresh.close_beside(old)
        self._draining.update(dict.fromkeys(fresh.workers, time.monotonic()))
        self._signal(fresh.workers, signal.SIGQUIT)
        try:
            use_log(self._log, old.config, old.account)
        except CannotStart as error:
            self._log.say("error", str(error))

    def _put_in_force(self, fresh: Generation, old: Generation) -> None:
        """Let the new workers serve new clients alone, and the old ones end with their last session."""
        self._current = fresh
        self._refused = None
        close_vanished(old.listeners, fresh.listeners)
        self._keeper.use(fresh.control, fresh.metrics)
        tell_listeners(self._log, fresh, old)
        self._draining.update(dict.fromkeys(old.workers, time.monotonic()))
        self._signal(old.workers, signal.SIGQUIT)
        self._log.say("notice", "reloaded; sessions of the old workers go on until they end")

    def _state(self) -> dict[str, Any]:
        """What the console should know of the master."""
        assert self._current is not None
        return {
            "pid": self._pid,
            "started": self._started,
            "file": str(self._file.absolute()),
            "generation": self._current.number,
            "loaded": self._current.loaded,
            "refused": self._refused,
            "expected": self._current.config.workers,
            "died": list(self._died),
            "ending": self._ending is not None,
        }

    # -- workers ----------------------------------------------------------------------------------

    def _children(self) -> list[int]:
        current = self._current.workers if self._current else {}
        return [*current, *self._draining]

    def _signal(self, workers: dict[int, float] | list[int], number: signal.Signals) -> None:
        for pid in workers:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # it ended a moment ago, and is about to be reaped

    def _pause(self) -> float:
        if self._current is None or self._ending:
            return 1.0
        due = [self._keeper.due] if self._keeper.due is not None else []
        if len(self._current.workers) < self._current.config.workers:
            due.append(self._current.restart.due)
        return max(0.0, min(due) - time.monotonic()) if due else 60.0

    def _reap(self) -> None:
        while True:
            try:
                pid, status = _waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._buried(pid, status)

    def _buried(self, pid: int, status: int) -> None:
        assert self._current is not None
        code = os.waitstatus_to_exitcode(status)
        how = f"exit status {code}" if code >= 0 else f"killed by {_name(-code)}"
        if self._keeper.buried(pid, how if code and not self._ending else None):
            return
        if pid == self._companion and not self._ending:
            self._abandoned = f"the process that this one was started with has ended ({how})"
            self._end(signal.SIGTERM)
            return
        drained, born = self._draining.pop(pid, None), self._current.workers.pop(pid, None)
        if born is not None and not self._ending:
            self._mourn(pid, how, f"; next start in {self._current.restart.died(born):g} s")
        elif (drained or born) is not None and code and self._ending != signal.SIGTERM:
            self._mourn(pid, how)

    def _mourn(self, pid: int, how: str, successor: str = "") -> None:
        self._died.append(pid)
        self._keeper.tell(self._state())
        self._log.say("error", f"worker {pid} died ({how}); its sessions are lost{successor}")

    def _fill(self, generation: Generation) -> None:
        """Start what is missing, where it is time for it."""
        now = time.monotonic()
        while len(generation.workers) < generation.config.workers and now >= generation.restart.due:
            pid = self._spawn(partial(self._work, generation), generation)
            if pid:
                generation.workers[pid] = now
            else:
                generation.restart.died(now)
        if (due := self._keeper.due) is not None and now >= due:
            self._keeper.start(partial(self._spawn_console, generation), self._state())

    def _work(self, generation: Generation, readiness: Readiness | None = None) -> None:
        feed = self._keeper.feed if generation.has_console else None
        self._keeper.forget()
        generation.leave_to_console()
        worker = Worker(
            generation.config, generation.listeners, self._log, generation.number, feed, generation.contexts
        )
        worker.run(readiness.tell if readiness is not None else _nobody_waits)

    def _spawn_console(self, generation: Generation, run: Callable[[], None]) -> int:
        """Start the console, which has no use for listeners of mail and for keys."""

        def run_without_mail(_readiness: Readiness | None) -> None:
            self._current = None
            generation.forget()
            run()

        return self._spawn(run_without_mail, generation)

    def _spawn(
        self,
        run: Callable[[Readiness | None], None],
        generation: Generation,
        readiness: Readiness | None = None,
    ) -> int:
        """Run it in a child, which leaves without running what belongs to the parent; its process id.

        0 where the system has no room for another process; the mail that goes on must not suffer.

        The child is to unblock signals once it knows what to do with them: before, TERM would end it
        in silence, and QUIT or HUP, too.
        """
        try:
            pid: int = _fork()
        except OSError as error:
            self._log.say("error", f"cannot start a process: {error.strerror}")
            return 0
        if pid:
            return pid
        code = 1
        try:
            self._begin(generation, readiness)
            run(readiness)
            code = 0
        except GeomailError as error:
            self._fail(f"process {os.getpid()} cannot serve: {error}", readiness)
        except BaseException as bug:  # noqa: BLE001  # this process ends here, and must not end silently
            traceback.print_exc()
            self._fail(f"process {os.getpid()} has a bug: {bug!r}", readiness)
        finally:
            os._exit(code)

    def _begin(self, generation: Generation, readiness: Readiness | None) -> None:
        """In a child: become what it is to be."""
        if self._current is not None:
            self._current.leave_to_workers_of(generation)
        for other in self._trial:
            other.close()
        if readiness is not None:
            readiness.in_child()
        become(generation.account)
        end_with(self._pid)

    def _fail(self, why: str, readiness: Readiness | None) -> None:
        self._log.say("error", why)
        if readiness is not None:
            readiness.tell(why)


def _nobody_waits() -> None:
    """For a worker whose master need not know when it serves."""


def _name(number: int) -> str:
    """A signal's name; those of real time have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
