"""Reports of a worker to the console, and the orders that the console may give it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent

from geomail.events import EventStream, TraceLine
from geomail.process.incidents import Incidents
from geomail.session.registry import Sessions
from geomail.session.tracing import Tracing
from geomail.sinks.feed import ConsoleAddress, Feed
from geomail.sinks.meters import Meters
from geomail.sinks.tally import Tally

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.sinks.log import Log

#: Seconds at the end of the process for the last events to reach the console.
_LAST_NEWS = 0.5


class Reporter:
    """A worker's reports to the console; without a ``console`` it reports nothing.

    ``is_draining`` tells whether the worker ends with its last session.
    """

    def __init__(
        self,
        sessions: Sessions,
        incidents: Incidents,
        is_draining: Callable[[], bool],
        console: ConsoleAddress | None,
    ) -> None:
        self.tracing = Tracing(self._emit)
        self._sessions = sessions
        self._incidents = incidents
        self._is_draining = is_draining
        self._console = console
        self._feed: Feed | None = None
        self._counters: tuple[Tally | Meters, ...] = ()
        self._last_state: dict[str, Any] = {}

    def start(self, config: Config, generation: int, events: EventStream, log: Log) -> None:
        """Connect to the console, and report from now on what happens in ``events``."""
        if self._console is None:
            return
        hello = {
            "pid": os.getpid(),
            "generation": generation,
            "started": time.time(),
            "protocols": {server.name: server.protocol for server in config.servers},
        }
        meters = Meters(events, lambda: {"log": log.lost_lines}, lambda: self._incidents.counts)
        self._counters = (Tally(events, config), meters)
        orders = {
            "list": self._sessions.list_page,
            "kick": self._sessions.kick_page,
            "trace": self._trace,
            "untrace": self._untrace,
        }
        self._feed = Feed(self._console, events, hello, self._status, orders, self.tracing.stop_all)

    def close(self) -> None:
        """Send the last events, and disconnect."""
        if self._feed is not None:
            self._feed.close(_LAST_NEWS)

    def _trace(self, order: dict[str, Any]) -> dict[str, Any]:
        self.tracing.start(order["trace"], order["select"])
        gevent.spawn(self._sessions.trace_all)
        return {}

    def _untrace(self, order: dict[str, Any]) -> dict[str, Any]:
        self.tracing.stop(order["trace"])
        return {}

    def _emit(self, line: TraceLine) -> None:
        if self._feed is not None:
            self._feed.take(line)

    def _status(self, everything: bool) -> dict[str, Any]:
        """Return the state and the rows that have changed since the last call, or all; empty if none has."""
        state = {"sessions": len(self._sessions), "draining": self._is_draining()}
        changed = [counters.report_changes(everything) for counters in self._counters]
        if state == self._last_state and not any(changed):
            return {}
        self._last_state = state
        return {**state, **{table: rows for tables in changed for table, rows in tables.items()}}
