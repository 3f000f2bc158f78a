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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gevent import config as gevent_config
from gevent import monkey

from geomail import build
from geomail.children import CannotStart, GrowingDelay, drop_privileges, end_with, impossible, owner
from geomail.console.keeper import ControlSocket, Keeper, open_control
from geomail.errors import GeomailError
from geomail.limits import allow_open_files
from geomail.listeners import close_vanished, open_listeners, tune_all
from geomail.names import without_names
from geomail.systemd import notify
from geomail.worker import Listener, Worker

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
#: Dead workers that the console is told of, and characters of why a reload was refused.
_REMEMBERED, _LONGEST_REASON = 16, 16000


class Abandoned(GeomailError):
    """The companion has ended, so everything did."""


@dataclass(slots=True)
class Generation:
    """One configuration in force, its listeners, and the workers that serve it."""

    number: int
    config: Config
    listeners: list[Listener]
    control: ControlSocket | None
    loaded: float
    workers: dict[int, float] = field(default_factory=dict)
    restart: GrowingDelay = field(default_factory=GrowingDelay)

    @property
    def measures(self) -> bool:
        """Whether metrics are wanted."""
        return self.config.metrics.listen is not None

    @property
    def metrics(self) -> dict[str, Any] | None:
        """Where they are."""
        at = self.config.metrics.listen
        return {"host": at.host, "port": at.port, "path": at.path} if at is not None else None


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
        self._keeper = Keeper(log)
        self._refused: dict[str, Any] | None = None
        self._died: deque[int] = deque(maxlen=_REMEMBERED)

    def run(self) -> None:
        """Start, and stay until all workers have ended.

        Raises CannotStart and ConfigError at the start, Abandoned at the end.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        self._open_files = allow_open_files()
        self._current = self._open(None)
        self._keeper.use(self._current.control, self._current.measures)
        self._use(self._current)
        self._log.say("notice", build.introduced())
        self._log.say("notice", f"started {self._current.config.workers} worker(s)")
        _preload()
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
        error = None
        try:
            fresh = self._open(self._current)
        except Exception as failure:  # noqa: BLE001  # even a bug in what reads the file must not end the mail
            error = str(failure) if isinstance(failure, GeomailError) else f"a bug: {failure!r}"
            error = error[:_LONGEST_REASON]
            self._refused = {"time": time.time(), "error": error}
            self._log.say("error", f"reload failed, the old configuration stays in force: {error}")
        else:
            self._put_in_force(fresh)
        notify("READY=1")
        return error

    def _put_in_force(self, fresh: Generation) -> None:
        """Let new workers serve new clients, and the old ones end with their last session."""
        assert self._current is not None
        old, self._current = self._current, fresh
        self._refused = None
        close_vanished(old.listeners, fresh.listeners)
        self._keeper.use(fresh.control, fresh.measures)
        self._use(fresh, old)
        self._fill(fresh)
        now = time.monotonic()
        self._draining.update(dict.fromkeys(old.workers, now))
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
            "metrics": self._current.metrics,
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
            pid = self._spawn(lambda: self._work(generation))
            if pid:
                generation.workers[pid] = now
            else:
                generation.restart.died(now)
        if (due := self._keeper.due) is not None and now >= due:
            self._keeper.start(self._spawn_console, self._state())

    def _work(self, generation: Generation) -> None:
        feed = self._keeper.feed
        self._keeper.forget()
        Worker(generation.config, generation.listeners, self._log, generation.number, feed).run()

    def _spawn_console(self, run: Callable[[], None]) -> int:
        assert self._current is not None
        listeners = self._current.listeners

        def run_without_mail() -> None:
            for listener in listeners:
                listener.sock.close()
            run()

        return self._spawn(run_without_mail)

    def _spawn(self, run: Callable[[], None]) -> int:
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
            assert self._current is not None
            drop_privileges(self._current.config.user)
            end_with(self._pid)
            run()
            code = 0
        except GeomailError as error:
            self._log.say("error", f"process {os.getpid()} cannot serve: {error}")
        except BaseException:  # noqa: BLE001  # a bug: this process ends here, and must not end silently
            traceback.print_exc()
        finally:
            os._exit(code)

    # -- what is made before the fork ---------------------------------------------------------------

    def _open(self, old: Generation | None) -> Generation:
        """Read the file, bind and prepare all of it, or nothing; what is bound already is taken over."""
        loaded = time.time()
        config = without_names(self._load(self._file))
        bound, served = (old.listeners, old.control) if old else ([], None)
        listeners, control = open_listeners(config, bound), served
        try:
            control = open_control(config.control, served, self._log)
            self._open_log(config)
        except GeomailError:
            close_vanished(listeners, bound)
            if control is not None and control is not served:
                control.close()
            raise
        usual = type(config).model_fields["worker_connections"].default
        named = 0 if config.worker_connections == usual else config.worker_connections
        for text in impossible(config.user, named, self._open_files):
            self._log.say("warning", text)
        return Generation(old.number + 1 if old else 1, config, listeners, control, loaded)

    def _open_log(self, config: Config) -> None:
        settings = config.log
        try:
            self._log.use(**settings.model_dump(), owner=owner(config.user))
        except OSError as error:
            raise CannotStart(f"cannot write the log to {settings.target}: {error.strerror}") from None

    def _use(self, generation: Generation, before: Generation | None = None) -> None:
        """Tune what listens, and log it; after a reload what is new, and what listens no more."""
        for refused in tune_all(generation.listeners):
            self._log.say("warning", refused)
        now, then = _described(generation.listeners), _described(before.listeners if before else ())
        for added in (text for text in now if text not in then):
            self._log.say("notice", added)
        for gone in (text for text in then if text not in now):
            self._log.say("notice", f"no longer {gone}")


def _described(listeners: Iterable[Listener]) -> dict[str, None]:
    """What listens where, in its order."""
    return dict.fromkeys(
        each.described for listener in listeners for each in (listener, *listener.specific.values())
    )


def _name(number: int) -> str:
    """A signal's name; those of real time have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _preload() -> None:
    """Import what a hub is made of, without making one: a worker's user may not be able to read it."""
    for name in ("format_context", "resolver", "threadpool"):
        getattr(gevent_config, name)
