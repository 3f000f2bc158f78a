"""Counters of this worker's sessions, by server and by backend; never by user."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from geomail.events import EventStream, LoginRefused, RelayStarted, SessionClosed, SessionOpened

if TYPE_CHECKING:
    from geomail.config.schema import Config

#: The most backends with a row of their own; an auth service can name any number of backends.
MOST_BACKENDS = 250
#: The row of all further backends.
OTHERS = "others"

#: The counters in the row of a server, and in the row of a backend.
SERVER_COUNTERS = ("opened", "logins", "refused", "closed", "bytes_in", "bytes_out")
BACKEND_COUNTERS = ("logins", "refused", "ended", "failed", "bytes_in", "bytes_out")

Row = dict[str, int]


class ChangeTracker:
    """A memory of the last report; it finds the rows that changed since then."""

    def __init__(self) -> None:
        self._reported: defaultdict[str, dict[str, Row]] = defaultdict(dict)

    def find_changes(
        self, tables: Mapping[str, Mapping[str, Row]], everything: bool
    ) -> dict[str, dict[str, Row]]:
        """Return the rows that changed since the last report, or all, by table: each row whole."""
        changes = {}
        for table, rows in tables.items():
            reported = self._reported[table]
            found = {key: dict(row) for key, row in rows.items() if everything or reported.get(key) != row}
            reported.update(found)
            if found:
                changes[table] = found
        return changes


class Tally:
    """Counters that only grow, in a row for each server and each backend.

    In the row of a backend, ``refused`` counts the logins that it refused,
    ``ended`` the finished sessions that were logged in, and ``failed`` the
    finished sessions that could not log in because of the backend.
    """

    def __init__(self, events: EventStream, config: Config) -> None:
        self.servers: dict[str, Row] = {}
        self.backends: dict[str, Row] = {}
        self._tracker = ChangeTracker()
        for server in config.servers:
            self.servers[server.name] = dict.fromkeys(SERVER_COUNTERS, 0)
        for name, backend in config.backends.items():
            for address in backend.addresses().values():
                self.backends[f"{address.label} ({name})"] = dict.fromkeys(BACKEND_COUNTERS, 0)
        events.subscribe(self._count_opening, SessionOpened)
        events.subscribe(self._count_refusal, LoginRefused)
        events.subscribe(self._count_login, RelayStarted)
        events.subscribe(self._count_end, SessionClosed)

    def report_changes(self, everything: bool = False) -> dict[str, dict[str, Row]]:
        """Return the rows that changed since the last report, or all, as ``servers`` and ``backends``."""
        return self._tracker.find_changes({"servers": self.servers, "backends": self.backends}, everything)

    def _find_backend(self, label: str) -> Row:
        return self.backends.get(label) or self._add_backend(label)

    def _add_backend(self, label: str) -> Row:
        if len(self.backends) >= MOST_BACKENDS:
            label = OTHERS
        return self.backends.setdefault(label, dict.fromkeys(BACKEND_COUNTERS, 0))

    def _count_opening(self, event: SessionOpened) -> None:
        self.servers[event.server]["opened"] += 1

    def _count_refusal(self, event: LoginRefused) -> None:
        self.servers[event.server]["refused"] += 1
        if event.backend:
            self._find_backend(event.backend)["refused"] += 1

    def _count_login(self, event: RelayStarted) -> None:
        self.servers[event.server]["logins"] += 1
        self._find_backend(event.backend)["logins"] += 1

    def _count_end(self, event: SessionClosed) -> None:
        row = self.servers[event.server]
        row["closed"] += 1
        row["bytes_in"] += event.bytes_in
        row["bytes_out"] += event.bytes_out
        if event.relayed:
            row = self._find_backend(event.backend)
            row["ended"] += 1
            row["bytes_in"] += event.bytes_in
            row["bytes_out"] += event.bytes_out
        elif event.backend and event.side == "backend":
            self._find_backend(event.backend)["failed"] += 1
