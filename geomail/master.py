"""The parent of the workers: binds, forks, reaps, reloads; never speaks mail, never makes a hub.

What can be shared is made here before the fork: listening sockets, and TLS
contexts with their ticket keys. The loop is ``sigtimedwait`` on blocked
signals, so nothing here runs inside a signal handler, and nothing of gevent
runs at all: a hub made before a fork would live in both processes.
"""

from __future__ import annotations

import gc
import grp
import os
import pwd
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gevent import monkey

from geomail.errors import GeomailError
from geomail.listeners import close_vanished, open_listeners
from geomail.names import without_names
from geomail.worker import Listener, Worker

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.sinks.log import Log

_fork = monkey.get_original("os", "fork")
_waitpid = monkey.get_original("os", "waitpid")

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})
_WATCHED = frozenset({*_ENDING, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD})
#: A worker that dies younger than this (seconds) delays the next start.
_HEALTHY_AGE = 10.0
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
#: Seconds that workers get to end after TERM before they are killed.
_PATIENCE = 5.0


class CannotStart(GeomailError):
    """A user or the log's file could not be had; the text says which and why."""


@dataclass(slots=True)
class Generation:
    """One configuration in force, its listeners, and the workers that serve it."""

    config: Config
    listeners: list[Listener]
    workers: dict[int, float] = field(default_factory=dict)
    delay: float = _FIRST_DELAY


class Master:
    """Runs the workers of one configuration file until it is told to stop.

    ``load`` reads and checks the file (raises GeomailError), for the start and
    for every reload.
    """

    def __init__(self, load: Callable[[], Config], log: Log) -> None:
        self._load = load
        self._log = log
        self._current: Generation | None = None
        self._draining: dict[int, float] = {}
        self._respawn_at = 0.0
        self._ending = False

    def run(self) -> None:
        """Start, and stay until all workers have ended. Raises CannotStart, ConfigError (at the start)."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        self._current = self._open(self._load(), [])
        self._announce(self._current)
        gc.collect()
        gc.freeze()
        self._fill(self._current)
        notify("READY=1")
        while not (self._ending and not self._children()):
            received = signal.sigtimedwait(_WATCHED, self._pause())
            if received is not None:
                self._handle(signal.Signals(received.si_signo))
            self._reap()
            if not self._ending and time.monotonic() >= self._respawn_at:
                self._fill(self._current)

    # -- signals ----------------------------------------------------------------------------------

    def _handle(self, number: signal.Signals) -> None:
        if number in _ENDING:
            self._end(signal.SIGTERM)
        elif number == signal.SIGQUIT:
            self._end(signal.SIGQUIT)
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGUSR1:
            self._log.reopen()
            self._signal(self._children(), signal.SIGUSR1)

    def _end(self, number: signal.Signals) -> None:
        notify("STOPPING=1")
        self._ending = True
        self._signal(self._children(), number)
        if number == signal.SIGTERM:
            self._await_children(_PATIENCE)
            self._signal(self._children(), signal.SIGKILL)

    def _await_children(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._children() and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, min(left, 0.2))
            self._reap()

    def _reload(self) -> None:
        assert self._current is not None
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            fresh = self._open(self._load(), self._current.listeners)
        except GeomailError as error:
            self._log.say("error", f"reload failed, the old configuration stays in force: {error}")
        else:
            old, self._current = self._current, fresh
            close_vanished(old.listeners, fresh.listeners)
            self._fill(fresh)
            now = time.monotonic()
            self._draining.update(dict.fromkeys(old.workers, now))
            self._signal(old.workers, signal.SIGQUIT)
            self._log.say("notice", "reloaded; sessions of the old workers go on until they end")
        notify("READY=1")

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
        waiting = len(self._current.workers) < self._current.config.workers
        return max(0.0, self._respawn_at - time.monotonic()) if waiting else 60.0

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
        self._draining.pop(pid, None)
        born = self._current.workers.pop(pid, None)
        if born is None or self._ending:
            return
        code = os.waitstatus_to_exitcode(status)
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        young = time.monotonic() - born < _HEALTHY_AGE
        delay = self._current.delay if young else 0.0
        self._current.delay = min(self._current.delay * 2, _LONGEST_DELAY) if young else _FIRST_DELAY
        self._respawn_at = time.monotonic() + delay
        self._log.say("error", f"worker {pid} died ({how}); its sessions are lost; next start in {delay:g} s")

    def _fill(self, generation: Generation) -> None:
        while len(generation.workers) < generation.config.workers:
            pid = _fork()
            if pid == 0:
                self._become_worker(generation)
            generation.workers[pid] = time.monotonic()

    def _become_worker(self, generation: Generation) -> None:
        """In the child: serve, and leave without running what belongs to the parent."""
        code = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            drop_privileges(generation.config.user)
            Worker(generation.config, generation.listeners, self._log).run()
            code = 0
        except GeomailError as error:
            self._log.say("error", f"worker {os.getpid()} cannot serve: {error}")
        except BaseException:  # noqa: BLE001  # a bug: this process ends here, and must not end silently
            traceback.print_exc()
        finally:
            os._exit(code)

    # -- what is made before the fork ---------------------------------------------------------------

    def _open(self, config: Config, previous: list[Listener]) -> Generation:
        """Bind and prepare all of ``config``, or nothing; sockets bound already are taken over."""
        resolved = without_names(config)
        listeners = open_listeners(resolved, previous)
        try:
            self._open_log(config)
        except GeomailError:
            close_vanished(listeners, previous)
            raise
        return Generation(resolved, listeners)

    def _open_log(self, config: Config) -> None:
        settings = config.log
        try:
            owner = user_and_group(config.user)[0].pw_uid if config.user is not None else None
            self._log.use(**settings.model_dump(), owner=owner)
        except OSError as error:
            raise CannotStart(f"cannot write the log to {settings.target}: {error.strerror}") from None

    def _announce(self, generation: Generation) -> None:
        for listener in generation.listeners:
            for each in (listener, *listener.specific.values()):
                self._log.say("notice", each.described)
        self._log.say("notice", f"started {generation.config.workers} worker(s)")


def user_and_group(user: str) -> tuple[pwd.struct_passwd, int]:
    """The account and the group id of ``name`` or ``name:group``. Raises CannotStart."""
    name, _, group = user.partition(":")
    try:
        account = pwd.getpwnam(name)
        return account, grp.getgrnam(group).gr_gid if group else account.pw_gid
    except KeyError:
        raise CannotStart(f"user = {user!r}: no such user or group") from None


def drop_privileges(user: str | None) -> None:
    """Become ``user`` for good; nothing to do where it is None or we are not root. Raises CannotStart."""
    if user is None or os.geteuid() != 0:
        return
    account, group = user_and_group(user)
    os.setgid(group)
    os.initgroups(account.pw_name, group)
    os.setuid(account.pw_uid)


def notify(state: str) -> None:
    """Tell systemd (``Type=notify``), where it asked to be told; sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    from _socket import AF_UNIX, SOCK_DGRAM
    from _socket import socket as RawSocket

    sock = RawSocket(AF_UNIX, SOCK_DGRAM)
    try:
        sock.sendto(state.encode(), address.replace("@", "\0", 1))
    except OSError:
        pass  # nobody listens there any more; serving mail matters more
    finally:
        sock.close()
