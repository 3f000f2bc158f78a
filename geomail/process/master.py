"""The master: binds, forks, reaps and reloads; it never speaks mail, and never makes a hub.

Listening sockets, and TLS contexts with their ticket keys, are made here before
the fork, so that all workers share them. The loop waits in ``sigtimedwait`` for
blocked signals: no code runs inside a signal handler. Nothing of gevent runs
here, as a hub made before a fork would live in both processes.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gevent import monkey

from geomail import build
from geomail.errors import GeomailError
from geomail.net import memory
from geomail.privileges import forbid_inspection
from geomail.process.generation import Generation
from geomail.process.keeper import Keeper
from geomail.process.listeners import close_vanished
from geomail.process.open_files import allow_open_files
from geomail.process.preload import preload
from geomail.process.reload import Reloader, ReloadRefused
from geomail.process.systemd import notify
from geomail.process.workforce import Workforce

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.sinks.log import Log

_waitpid = monkey.get_original("os", "waitpid")

#: Thresholds of the garbage collector: each run looks at all live sessions, and a session leaves no garbage.
_RARELY = (20_000, 50, 100)
#: Seconds that workers get to end after TERM before they are killed.
_PATIENCE = 5.0
#: Longest pauses of the loop, in seconds: while geomail ends, and before.
_PAUSE_WHILE_ENDING, _PAUSE = 1.0, 60.0
#: The dead workers whose process ids the console gets.
_REMEMBERED = 16

#: A function that carries out an order of the console. It returns the fields of the answer beside ``error``.
Handler = Callable[[dict[str, Any]], dict[str, Any]]


class CompanionExited(GeomailError):
    """The companion process exited, so geomail has shut down."""


class OrderImpossible(GeomailError):
    """An order of the console that cannot be carried out; the text says why."""


class Master:
    """The parent of the workers of one configuration file, and of their console.

    ``load`` reads and checks the file (raises GeomailError), for the start and
    for every reload. ``companion`` is the process id of a child that runs
    already: when that process exits, geomail shuts down.
    """

    def __init__(
        self, file: Path, load: Callable[[Path], Config], log: Log, companion: int | None = None
    ) -> None:
        self._file = file
        self._log = log
        self._companion = companion
        self._companion_end = ""
        self._ending: signal.Signals | None = None
        self._pid = os.getpid()
        self._started = time.time()
        self._died: deque[int] = deque(maxlen=_REMEMBERED)
        self._keeper = Keeper(log)
        self._workforce = Workforce(log, self._keeper)
        self._reloader = Reloader(partial(load, file), self._workforce, self._keeper, log)
        self._signals = self._make_signal_table()
        self._orders = self._make_order_table()

    def run(self) -> None:
        """Start, and stay until all workers have ended.

        Raises CannotStart and ConfigError at the start, CompanionExited at the end.
        """
        self._start()
        while not (self._ending and not self._workforce.pids):
            received = signal.sigtimedwait(self._signals, self._compute_pause())
            handle = self._signals[received.si_signo] if received is not None else self._reap
            handle()
            if not self._ending:
                self._start_missing()
            self._keeper.send_unsent(self._describe())
        self._end_console()
        if self._companion_end:
            raise CompanionExited(f"the companion process exited ({self._companion_end}); geomail shut down")

    def _start(self) -> None:
        forbid_inspection()
        memory.wipe_freed_memory()
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        first = self._reloader.start(allow_open_files())
        self._log.say("notice", build.introduce_build())
        count = first.config.workers
        self._log.say("notice", f"started {count} worker{'s' if count > 1 else ''}")
        preload()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_RARELY)
        self._start_missing()
        notify("READY=1")
        self._reap()  # a companion that exited before its signal was blocked

    @property
    def _current(self) -> Generation:
        """The generation in force; there is one since the start."""
        assert self._workforce.current is not None
        return self._workforce.current

    def _start_missing(self) -> None:
        """Start the children that are missing and due."""
        self._workforce.fill()
        if (due := self._keeper.due) is not None and time.monotonic() >= due:
            self._keeper.start(self._workforce.start_console, self._describe())

    def _compute_pause(self) -> float:
        """Return the seconds after which the loop goes on if no signal comes."""
        if self._ending:
            return _PAUSE_WHILE_ENDING
        due = [when for when in (self._keeper.due, self._workforce.due) if when is not None]
        return max(0.0, min(due) - time.monotonic()) if due else _PAUSE

    # -- signals ----------------------------------------------------------------------------------

    def _make_signal_table(self) -> dict[int, Callable[[], None]]:
        """Return the handlers of signals; every signal in it is blocked, and the loop waits for it."""
        return {
            signal.SIGTERM: self._stop_now,
            signal.SIGINT: self._stop_now,
            signal.SIGQUIT: self._stop_after_sessions,
            signal.SIGHUP: self._reload_by_signal,
            signal.SIGIO: self._take_orders,
            signal.SIGUSR1: self._reopen_logs,
            signal.SIGUSR2: self._ignore_upgrade,
            signal.SIGCHLD: self._reap,
        }

    def _stop_now(self) -> None:
        self._stop(signal.SIGTERM, "stopping")
        self._wait_until(lambda: not self._workforce.pids, _PATIENCE)
        self._workforce.signal(signal.SIGKILL)

    def _stop_after_sessions(self) -> None:
        self._stop(signal.SIGQUIT, "stopping when the last session has ended")

    def _reload_by_signal(self) -> None:
        if not self._ending:
            try:
                self._reloader.reload(self._current)
            except ReloadRefused:
                pass  # it is in the log
            self._keeper.report_state(self._describe())

    def _reopen_logs(self) -> None:
        self._log.reopen()
        self._workforce.signal(signal.SIGUSR1)
        self._keeper.signal(signal.SIGUSR1)

    def _ignore_upgrade(self) -> None:
        """Ignore USR2, which replaces the binary of nginx; by default it would end the process."""
        self._log.say("warning", "USR2 is ignored: another version of geomail needs a restart")

    def _stop(self, number: signal.Signals, text: str) -> None:
        """Stop listening, so that no client waits for an answer that never comes; then end the workers."""
        notify("STOPPING=1")
        self._log.say("notice", text)
        self._ending = number
        close_vanished(self._current.listeners, ())
        self._keeper.report_state(self._describe())
        self._workforce.signal(number)

    def _end_console(self) -> None:
        self._keeper.signal(signal.SIGTERM)
        self._wait_until(lambda: not self._keeper.is_running, _PATIENCE)
        self._keeper.signal(signal.SIGKILL)
        self._keeper.close()

    def _wait_until(self, reached: Callable[[], bool], seconds: float) -> None:
        """Reap children until a condition is met, for ``seconds`` at most."""
        deadline = time.monotonic() + seconds
        self._reap()
        while not reached() and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, min(left, 0.2))
            self._reap()

    # -- orders of the console --------------------------------------------------------------------

    def _make_order_table(self) -> dict[str, Handler]:
        """Return the handlers of orders, by the names of the orders."""
        return {"reload": self._reload_by_order}

    def _take_orders(self) -> None:
        """Carry out all orders that the console has sent, and answer each."""
        for order in self._keeper.take_orders():
            try:
                answer = {"error": None, **self._carry_out(order)}
            except GeomailError as error:
                answer = {"error": str(error)}
            self._keeper.answer(order.get("id"), answer, self._describe())

    def _carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order, and return the fields of its answer. Raises GeomailError."""
        name = str(order.get("order"))
        if (handler := self._orders.get(name)) is None:
            raise OrderImpossible(f"unknown order: {name}")
        return handler(order)

    def _reload_by_order(self, _order: dict[str, Any]) -> dict[str, Any]:
        if self._ending:
            raise OrderImpossible("geomail is stopping")
        self._reloader.reload(self._current)
        return {}

    def _describe(self) -> dict[str, Any]:
        """Describe the master to the console."""
        return {
            "pid": self._pid,
            "started": self._started,
            "file": str(self._file.absolute()),
            "generation": self._current.number,
            "loaded": self._current.loaded,
            "refused": self._reloader.refused,
            "expected": self._current.config.workers,
            "died": list(self._died),
            "ending": self._ending is not None,
        }

    # -- children that ended ----------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status = _waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._bury(pid, os.waitstatus_to_exitcode(status))

    def _bury(self, pid: int, code: int) -> None:
        """Forget a child that has ended, and start the consequences."""
        how = f"exit status {code}" if code >= 0 else f"killed by {_name_signal(-code)}"
        if self._keeper.bury(pid, how if code and not self._ending else None):
            return
        if pid == self._companion and not self._ending:
            self._companion_end = how
            self._stop_now()
            return
        successor = self._workforce.bury(pid)
        if successor is None:
            return  # it was not a worker
        if self._ending:
            successor = ""
        if successor or (code and self._ending != signal.SIGTERM):
            self._died.append(pid)
            self._keeper.report_state(self._describe())
            self._log.say("error", f"worker {pid} died ({how}); its sessions are lost{successor}")


def _name_signal(number: int) -> str:
    """Return a signal's name; real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
