"""Counts what happens in this worker's sessions, by server and by backend; never by user."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from geomail.events import EventStream, LoginRefused, RelayStarted, SessionClosed, SessionOpened

if TYPE_CHECKING:
    from geomail.config.schema import Config

#: Backends that are counted apart; an auth service can name any number of them.
MOST_BACKENDS = 250
#: What those beyond are counted under.
OTHERS = "others"

#: What a row of a server and one of a backend hold.
SERVER_COUNTERS = ("opened", "logins", "refused", "closed", "bytes_in", "bytes_out")
BACKEND_COUNTERS = ("logins", "refused", "ended", "failed", "bytes_in", "bytes_out")

Row = dict[str, int]


class Told:
    """What somebody was told of tables of rows: which have changed is found out when that is asked."""

    def __init__(self) -> None:
        self._told: defaultdict[str, dict[str, Row]] = defaultdict(dict)

    def changes(self, tables: Mapping[str, Mapping[str, Row]], everything: bool) -> dict[str, dict[str, Row]]:
        """The rows that have changed since the last call, or all, by table: whole, as they are now."""
        changed = {}
        for table, rows in tables.items():
            told = self._told[table]
            found = {key: dict(row) for key, row in rows.items() if everything or told.get(key) != row}
            told.update(found)
            if found:
                changed[table] = found
        return changed


class Tally:
    """Counters that only grow, in a row for each server and each backend.

    Of a backend's sessions, ``refused`` counts logins that it refused,
    ``ended`` those that were logged in, ``failed`` those that never were, by
    its fault.
    """

    def __init__(self, events: EventStream, config: Config) -> None:
        self.servers: dict[str, Row] = {}
        self.backends: dict[str, Row] = {}
        self._told = Told()
        for server in config.servers:
            self.servers[server.name] = dict.fromkeys(SERVER_COUNTERS, 0)
        for name, backend in config.backends.items():
            for address in backend.addresses().values():
                self.backends[f"{address.label} ({name})"] = dict.fromkeys(BACKEND_COUNTERS, 0)
        events.subscribe(self._opened, SessionOpened)
        events.subscribe(self._refused, LoginRefused)
        events.subscribe(self._started, RelayStarted)
        events.subscribe(self._closed, SessionClosed)

    def changes(self, everything: bool = False) -> dict[str, dict[str, Row]]:
        """The rows that have changed since the last call, whole, as ``servers`` and ``backends``."""
        return self._told.changes({"servers": self.servers, "backends": self.backends}, everything)

    def _backend(self, label: str) -> Row:
        return self.backends.get(label) or self._add_backend(label)

    def _add_backend(self, label: str) -> Row:
        if len(self.backends) >= MOST_BACKENDS:
            label = OTHERS
        return self.backends.setdefault(label, dict.fromkeys(BACKEND_COUNTERS, 0))

    def _opened(self, event: SessionOpened) -> None:
        self.servers[event.server]["opened"] += 1

    def _refused(self, event: LoginRefused) -> None:
        self.servers[event.server]["refused"] += 1
        if event.backend:
            self._backend(event.backend)["refused"] += 1

    def _started(self, event: RelayStarted) -> None:
        self.servers[event.server]["logins"] += 1
        self._backend(event.backend)["logins"] += 1

    def _closed(self, event: SessionClosed) -> None:
        row = self.servers[event.server]
        row["closed"] += 1
        row["bytes_in"] += event.bytes_in
        row["bytes_out"] += event.bytes_out
        if event.relayed:
            row = self._backend(event.backend)
            row["ended"] += 1
            row["bytes_in"] += event.bytes_in
            row["bytes_out"] += event.bytes_out
        elif event.backend and event.side == "backend":
            self._backend(event.backend)["failed"] += 1
