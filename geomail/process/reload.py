"""The start and the replacement of generations: read the file, try new workers out, put them in force."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from geomail.errors import GeomailError
from geomail.privileges import CannotStart
from geomail.process.generation import Generation, announce_listeners, open_generation, use_log
from geomail.process.listeners import close_vanished
from geomail.process.readiness import Readiness, await_all
from geomail.process.systemd import notify

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.process.keeper import Keeper
    from geomail.process.workforce import Workforce
    from geomail.sinks.log import Log

#: Seconds that new workers have to serve before a reload is undone.
_START_PATIENCE = 30.0
#: Characters of the reason why a reload was refused.
_LONGEST_REASON = 16000
#: Signals that end geomail, and a reload before it is complete.
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class ReloadRefused(GeomailError):
    """A configuration that could not be put in force; the old one still is."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason[:_LONGEST_REASON])


class Reloader:
    """The means to put the configuration of ``load`` in force: at the start, and at each reload.

    ``refused`` is the time and the error of the last reload, None if it succeeded.
    """

    def __init__(self, load: Callable[[], Config], workforce: Workforce, keeper: Keeper, log: Log) -> None:
        self.refused: dict[str, Any] | None = None
        self._load = load
        self._workforce = workforce
        self._keeper = keeper
        self._log = log
        self._open_files = 0
        self._last_number = 0

    def start(self, open_files: int) -> Generation:
        """Put the first configuration in force, without workers yet; each process may open ``open_files``.

        Raises GeomailError.
        """
        self._open_files = open_files
        fresh = self._open(None)
        self._last_number = fresh.number
        self._put_in_force(fresh)
        announce_listeners(self._log, fresh)
        return fresh

    def reload(self, old: Generation) -> None:
        """Replace the generation in force by one of the file as it is now. Raises ReloadRefused."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._replace(old)
        except ReloadRefused as refusal:
            self.refused = {"time": time.time(), "error": str(refusal)}
            self._log.say("error", f"reload failed, the old configuration stays in force: {refusal}")
            raise
        finally:
            notify("READY=1")

    def _replace(self, old: Generation) -> None:
        """Start new workers beside the old ones; if all serve, let the old ones end."""
        try:
            fresh = self._open(old)
        except Exception as error:  # noqa: BLE001  # even a bug in reading the file must not end the mail
            reason = str(error) if isinstance(error, GeomailError) else f"a bug: {error!r}"
            raise ReloadRefused(reason) from None
        if failure := self._try_out(fresh):
            self._undo(fresh, old)
            raise ReloadRefused(failure)
        self._put_in_force(fresh)
        close_vanished(old.listeners, fresh.listeners)
        announce_listeners(self._log, fresh, old)
        self._workforce.drain(old)
        self._log.say("notice", "reloaded; sessions of the old workers go on until they end")

    def _open(self, old: Generation | None) -> Generation:
        return open_generation(self._last_number + 1, self._load(), old, self._log, self._open_files)

    def _try_out(self, fresh: Generation) -> str:
        """Start all workers of a generation; return why they do not serve, empty if they do."""
        self._last_number = fresh.number  # its workers have it, even if the reload is undone
        started: list[Readiness] = []
        try:
            for _ in range(fresh.config.workers):
                readiness = Readiness()
                has_room = self._workforce.start(fresh, readiness, started)
                readiness.in_master()
                started.append(readiness)
                if not has_room:
                    return "the system has no room for another process (see ulimit -u, TasksMax)"
            return await_all(started, _START_PATIENCE, _ENDING)
        except OSError as error:  # for example too many open files
            return f"cannot start a worker: {error.strerror}"
        finally:
            for readiness in started:
                readiness.close()

    def _undo(self, fresh: Generation, old: Generation) -> None:
        """Let the new workers end with the sessions that they may have; restore everything else."""
        fresh.close_beside(old)
        self._workforce.drain(fresh)
        try:
            use_log(self._log, old.config, old.account)
        except CannotStart as error:
            self._log.say("error", str(error))

    def _put_in_force(self, fresh: Generation) -> None:
        self._workforce.current = fresh
        self._keeper.use(fresh.control, fresh.metrics)
        self.refused = None
