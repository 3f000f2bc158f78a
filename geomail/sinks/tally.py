"""Counts what happens in this worker's sessions, by server and by backend; never by user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geomail.events import Event, EventStream, LoginRefused, RelayStarted, SessionClosed, SessionOpened

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


class Tally:
    """Counters that only grow, in a row for each server and each backend.

    Of a backend's sessions, ``refused`` counts logins that it refused,
    ``ended`` those that were logged in, ``failed`` those that never were, by
    its fault.
    """

    def __init__(self, events: EventStream, config: Config) -> None:
        self.servers = {server.name: _server_row() for server in config.servers}
        self.backends = {
            f"{address.label} ({name})": _backend_row()
            for name, backend in config.backends.items()
            for address in backend.addresses().values()
        }
        self._changed_servers = set(self.servers)
        self._changed_backends = set(self.backends)
        events.subscribe(self._opened, SessionOpened)
        events.subscribe(self._refused, LoginRefused)
        events.subscribe(self._started, RelayStarted)
        events.subscribe(self._closed, SessionClosed)

    def changes(self, everything: bool = False) -> dict[str, dict[str, Row]]:
        """The rows that have changed since the last call, whole, as ``servers`` and ``backends``."""
        servers = self.servers if everything else self._changed_servers
        backends = self.backends if everything else self._changed_backends
        changed = {
            "servers": {name: self.servers[name] for name in servers},
            "backends": {label: self.backends[label] for label in backends},
        }
        self._changed_servers, self._changed_backends = set(), set()
        return {table: rows for table, rows in changed.items() if rows}

    def _server(self, name: str) -> Row:
        self._changed_servers.add(name)
        return self.servers[name]

    def _backend(self, label: str) -> Row:
        if label not in self.backends:
            if len(self.backends) >= MOST_BACKENDS:
                label = OTHERS
            self.backends.setdefault(label, _backend_row())
        self._changed_backends.add(label)
        return self.backends[label]

    def _opened(self, event: Event) -> None:
        assert isinstance(event, SessionOpened)
        self._server(event.server)["opened"] += 1

    def _refused(self, event: Event) -> None:
        assert isinstance(event, LoginRefused)
        self._server(event.server)["refused"] += 1
        if event.backend:
            self._backend(event.backend)["refused"] += 1

    def _started(self, event: Event) -> None:
        assert isinstance(event, RelayStarted)
        self._server(event.server)["logins"] += 1
        self._backend(event.backend)["logins"] += 1

    def _closed(self, event: Event) -> None:
        assert isinstance(event, SessionClosed)
        rows = [self._server(event.server)]
        rows[0]["closed"] += 1
        if event.relayed:
            rows.append(self._backend(event.backend))
            rows[1]["ended"] += 1
        elif event.backend and event.side == "backend":
            self._backend(event.backend)["failed"] += 1
        for row in rows:
            row["bytes_in"] += event.bytes_in
            row["bytes_out"] += event.bytes_out


def _server_row() -> Row:
    return dict.fromkeys(SERVER_COUNTERS, 0)


def _backend_row() -> Row:
    return dict.fromkeys(BACKEND_COUNTERS, 0)
