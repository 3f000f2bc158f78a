"""What metrics are made of: how logins and sessions ended, and how long things took; never by user.

Like a tally's, these are counters that only grow. A time is counted in the row
of a histogram: under the number of the first of its BOUNDS that it does not
exceed, and in ``us``, the sum of all in microseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

from geomail.events import EventStream, LoginRefused, RelayStarted, SessionClosed
from geomail.sinks.tally import MOST_BACKENDS, OTHERS, Row, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Upper bounds in seconds, by table.
_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BOUNDS: dict[str, tuple[float, ...]] = {
    "auth": _LATENCY,
    "connect": _LATENCY,
    "login": _LATENCY,
    "session": (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0, 86400.0),
}
#: Tables beside the histograms.
COUNTS = ("logins", "ended", "relayed", "losses", "incidents")


class Histogram:
    """How many times were how long; ``bounds`` as in BOUNDS."""

    __slots__ = ("_bounds", "_counts", "_seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one time."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def row(self) -> Row:
        """What was counted, as a row."""
        counts = {str(number): count for number, count in enumerate(self._counts) if count}
        return {**counts, "us": round(self._seconds * 1e6)}


class Meters:
    """Counters by table and key, one row each.

    ``auth`` and ``session`` are by protocol, ``connect`` and ``login`` (the
    backend's handshake) by backend. ``logins`` is by protocol, result and
    reason, ``ended`` by protocol, outcome and side, ``relayed`` by protocol
    and backend (keys joined by tabs); ``losses`` by what was lost, ``incidents``
    by kind. ``lost`` and ``noted`` tell these, when they are asked for.
    """

    def __init__(self, events: EventStream, lost: Callable[[], Row], noted: Callable[[], Row] = dict) -> None:
        self._auth, self._connect, self._login, self._session = map(_histograms, BOUNDS)
        self._logins: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._ended: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._relayed: dict[tuple[str, str], Row] = {}
        self._lost = lost
        self._noted = noted
        self._backends: set[str] = set()
        self._told = Told()
        events.subscribe(self._refused, LoginRefused)
        events.subscribe(self._started, RelayStarted)
        events.subscribe(self._closed, SessionClosed)

    def changes(self, everything: bool = False) -> dict[str, dict[str, Row]]:
        """The rows that have changed since the last call, whole, by table."""
        tables: dict[str, dict[str, Row]] = {
            **{table: {key: found.row() for key, found in rows.items()} for table, rows in self._times()},
            "logins": {"\t".join(key): {"count": count} for key, count in self._logins.items()},
            "ended": {"\t".join(key): {"count": count} for key, count in self._ended.items()},
            "relayed": {"\t".join(key): row for key, row in self._relayed.items()},
            "losses": {what: {"count": number} for what, number in self._lost().items() if number},
            "incidents": {kind: {"count": number} for kind, number in self._noted().items()},
        }
        return self._told.changes(tables, everything)

    def _times(self) -> Iterator[tuple[str, dict[str, Histogram]]]:
        return zip(BOUNDS, (self._auth, self._connect, self._login, self._session), strict=True)

    def _backend(self, label: str) -> str:
        """The label, or what too many are counted under."""
        if label not in self._backends:
            if len(self._backends) >= MOST_BACKENDS:
                return OTHERS
            self._backends.add(label)
        return label

    def _refused(self, event: LoginRefused) -> None:
        self._logins[event.protocol, "refused", event.by] += 1

    def _started(self, event: RelayStarted) -> None:
        self._logins[event.protocol, "accepted", ""] += 1
        self._observe_login(event)

    def _closed(self, event: SessionClosed) -> None:
        protocol = event.protocol
        self._ended[protocol, event.outcome, event.side] += 1
        self._session[protocol].observe(event.duration)
        if event.relayed:
            row = self._bytes(protocol, self._backend(event.backend))
            row["in"] += event.bytes_in
            row["out"] += event.bytes_out
        elif event.method:
            self._observe_login(event)
            if event.side in ("auth", "backend") and event.outcome != "refused":
                self._logins[protocol, "failed", event.outcome] += 1

    def _bytes(self, protocol: str, backend: str) -> Row:
        row = self._relayed.get((protocol, backend))
        if row is None:
            row = self._relayed[protocol, backend] = {"in": 0, "out": 0}
        return row

    def _observe_login(self, event: RelayStarted | SessionClosed) -> None:
        if event.auth_time is not None:
            self._auth[event.protocol].observe(event.auth_time)
        if event.connect_time is not None:
            backend = self._backend(event.backend)
            self._connect[backend].observe(event.connect_time)
            if event.login_time is not None:
                self._login[backend].observe(event.login_time)


def _histograms(table: str) -> defaultdict[str, Histogram]:
    return defaultdict(lambda: Histogram(BOUNDS[table]))
