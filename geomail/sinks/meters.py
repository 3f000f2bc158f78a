"""What metrics are made of: how logins and sessions ended, and how long things took; never by user.

Like a tally's, these are counters that only grow. A time is counted in the row
of a histogram: under the number of the first of its BOUNDS that it does not
exceed, and in ``us``, the sum of all in microseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from geomail.events import Event, EventStream, LoginRefused, RelayStarted, SessionClosed
from geomail.sinks.tally import MOST_BACKENDS, OTHERS, Row, Table

if TYPE_CHECKING:
    from collections.abc import Callable

#: Upper bounds in seconds, by table.
_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BOUNDS: dict[str, tuple[float, ...]] = {
    "auth": _LATENCY,
    "connect": _LATENCY,
    "login": _LATENCY,
    "session": (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0, 86400.0),
}
#: Tables beside the histograms.
COUNTS = ("logins", "ended", "relayed", "losses")
_NAMES = tuple(map(str, range(1 + max(map(len, BOUNDS.values())))))


class Meters:
    """Counters by table and key, one row each.

    ``auth`` and ``session`` are by protocol, ``connect`` and ``login`` (the
    backend's handshake) by backend. ``logins`` is by protocol, result and
    reason, ``ended`` by protocol, outcome and side, ``relayed`` by protocol
    and backend (keys joined by tabs); ``losses`` by what was lost. ``lost``
    tells that, when it is asked for.
    """

    def __init__(self, events: EventStream, lost: Callable[[], Row]) -> None:
        self._tables = {table: Table() for table in (*BOUNDS, *COUNTS)}
        self._lost = lost
        self._backends: set[str] = set()
        events.subscribe(self._refused, LoginRefused)
        events.subscribe(self._started, RelayStarted)
        events.subscribe(self._closed, SessionClosed)

    def changes(self, everything: bool = False) -> dict[str, dict[str, Row]]:
        """The rows that have changed since the last call, whole, by table."""
        self._note_losses()
        tables = self._tables.items()
        return {name: rows for name, table in tables if (rows := table.changes(everything))}

    def _note_losses(self) -> None:
        for what, number in self._lost().items():
            if number and self._tables["losses"].get(what) != {"count": number}:
                self._row("losses", what)["count"] = number

    def _row(self, table: str, key: str) -> Row:
        rows = self._tables[table]
        row = rows.get(key)
        if row is None:
            row = rows[key] = {}
        return row

    def _count(self, table: str, key: str) -> None:
        row = self._row(table, key)
        row["count"] = row.get("count", 0) + 1

    def _observe(self, table: str, key: str, seconds: float | None) -> None:
        if seconds is None:
            return
        row = self._row(table, key)
        name = _NAMES[bisect_left(BOUNDS[table], seconds)]
        row[name] = row.get(name, 0) + 1
        row["us"] = row.get("us", 0) + int(seconds * 1e6)

    def _backend(self, label: str) -> str:
        """The label, or what too many are counted under."""
        if label not in self._backends:
            if len(self._backends) >= MOST_BACKENDS:
                return OTHERS
            self._backends.add(label)
        return label

    def _refused(self, event: Event) -> None:
        assert isinstance(event, LoginRefused)
        self._count("logins", f"{event.protocol}\trefused\t{event.by}")

    def _started(self, event: Event) -> None:
        assert isinstance(event, RelayStarted)
        self._count("logins", f"{event.protocol}\taccepted\t")
        self._observe_login(event)

    def _closed(self, event: Event) -> None:
        assert isinstance(event, SessionClosed)
        protocol = event.protocol
        self._count("ended", f"{protocol}\t{event.outcome}\t{event.side}")
        self._observe("session", protocol, event.duration)
        if event.relayed:
            row = self._row("relayed", f"{protocol}\t{self._backend(event.backend)}")
            row["in"] = row.get("in", 0) + event.bytes_in
            row["out"] = row.get("out", 0) + event.bytes_out
        elif event.method:
            self._observe_login(event)
            if event.side in ("auth", "backend") and event.outcome != "refused":
                self._count("logins", f"{protocol}\tfailed\t{event.outcome}")

    def _observe_login(self, event: RelayStarted | SessionClosed) -> None:
        self._observe("auth", event.protocol, event.auth_time)
        if event.connect_time is not None:
            backend = self._backend(event.backend)
            self._observe("connect", backend, event.connect_time)
            self._observe("login", backend, event.login_time)
