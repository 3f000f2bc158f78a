"""Counters for the metrics: how logins and sessions ended, and how long things took; never by user.

They only grow, like the counters of a tally. The row of a histogram has a
counter for each of its BOUNDS: a time counts for the first bound that it does
not exceed. ``us`` is the sum of all times in microseconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

from geomail.events import EventStream, LoginRefused, RelayStarted, SessionClosed
from geomail.sinks.tally import MOST_BACKENDS, OTHERS, ChangeTracker, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Upper bounds in seconds, by table.
BOUNDS: dict[str, tuple[float, ...]] = {
    "auth": _LATENCY,
    "connect": _LATENCY,
    "login": _LATENCY,
    "session": (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0, 86400.0),
}
#: The tables that are not histograms.
COUNTS = ("logins", "ended", "relayed", "losses", "incidents")


class Histogram:
    """Counters of times, one for each of ``bounds``."""

    __slots__ = ("_bounds", "_counts", "_seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one time."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def to_row(self) -> Row:
        """Return the counts as a row."""
        counts = {str(number): count for number, count in enumerate(self._counts) if count}
        return {**counts, "us": round(self._seconds * 1e6)}


class Meters:
    """Counters by table and key, one row each.

    - ``auth``, ``session``: histograms by protocol
    - ``connect``, ``login`` (the backend's handshake): histograms by backend
    - ``logins``: by protocol, result and reason
    - ``ended``: by protocol, outcome and side
    - ``relayed``: by protocol and backend
    - ``losses``: by what was lost, as ``losses()`` counts it at each report
    - ``incidents``: by kind, as ``incidents()`` counts them at each report

    A key of several parts is joined by tabs.
    """

    def __init__(
        self, events: EventStream, losses: Callable[[], Row], incidents: Callable[[], Row] = dict
    ) -> None:
        self._auth, self._connect, self._login, self._session = map(_make_histograms, BOUNDS)
        self._logins: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._ended: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._relayed: dict[tuple[str, str], Row] = {}
        self._losses = losses
        self._incidents = incidents
        self._backends: set[str] = set()
        self._tracker = ChangeTracker()
        events.subscribe(self._count_refusal, LoginRefused)
        events.subscribe(self._count_login, RelayStarted)
        events.subscribe(self._count_end, SessionClosed)

    def report_changes(self, everything: bool = False) -> dict[str, dict[str, Row]]:
        """Return the rows that changed since the last report, or all, by table."""
        tables: dict[str, dict[str, Row]] = {
            **{
                table: {key: found.to_row() for key, found in rows.items()}
                for table, rows in self._histograms()
            },
            "logins": {"\t".join(key): {"count": count} for key, count in self._logins.items()},
            "ended": {"\t".join(key): {"count": count} for key, count in self._ended.items()},
            "relayed": {"\t".join(key): row for key, row in self._relayed.items()},
            "losses": {what: {"count": number} for what, number in self._losses().items() if number},
            "incidents": {kind: {"count": number} for kind, number in self._incidents().items()},
        }
        return self._tracker.find_changes(tables, everything)

    def _histograms(self) -> Iterator[tuple[str, dict[str, Histogram]]]:
        return zip(BOUNDS, (self._auth, self._connect, self._login, self._session), strict=True)

    def _choose_key(self, label: str) -> str:
        """Return the backend's label, or OTHERS if there are too many backends."""
        if label not in self._backends:
            if len(self._backends) >= MOST_BACKENDS:
                return OTHERS
            self._backends.add(label)
        return label

    def _count_refusal(self, event: LoginRefused) -> None:
        self._logins[event.protocol, "refused", event.side] += 1

    def _count_login(self, event: RelayStarted) -> None:
        self._logins[event.protocol, "accepted", ""] += 1
        self._observe_login(event)

    def _count_end(self, event: SessionClosed) -> None:
        protocol = event.protocol
        self._ended[protocol, event.outcome, event.side] += 1
        self._session[protocol].observe(event.duration)
        if event.relayed:
            row = self._find_bytes(protocol, self._choose_key(event.backend))
            row["in"] += event.bytes_in
            row["out"] += event.bytes_out
        elif event.method:
            self._observe_login(event)
            if event.side in ("auth", "backend") and event.outcome != "refused":
                self._logins[protocol, "failed", event.outcome] += 1

    def _find_bytes(self, protocol: str, backend: str) -> Row:
        row = self._relayed.get((protocol, backend))
        if row is None:
            row = self._relayed[protocol, backend] = {"in": 0, "out": 0}
        return row

    def _observe_login(self, event: RelayStarted | SessionClosed) -> None:
        if event.auth_time is not None:
            self._auth[event.protocol].observe(event.auth_time)
        if event.connect_time is not None:
            backend = self._choose_key(event.backend)
            self._connect[backend].observe(event.connect_time)
            if event.login_time is not None:
                self._login[backend].observe(event.login_time)


def _make_histograms(table: str) -> defaultdict[str, Histogram]:
    return defaultdict(lambda: Histogram(BOUNDS[table]))
