"""Sums of the workers' counters: they do not fall when a worker ends, and they have rates."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable, Iterable, Mapping

from geomail.sinks.meters import BOUNDS, COUNTS
from geomail.sinks.tally import OTHERS, SERVER_COUNTERS

#: Seconds that rates are taken over.
RATE_SECONDS = 10
#: Ended workers that are remembered one by one: such a worker may only have lost its connection.
_REMEMBERED = 64
#: Rows of a table that are kept for all earlier workers: each may have had other backends.
MOST_ROWS = 2000

#: Rows of counters by name: of servers, or of backends.
Table = dict[str, dict[str, int]]
Counters = dict[str, Table]


#: The tables of a tally, and the tables of meters.
TABLES = ("servers", "backends", *BOUNDS, *COUNTS)


def make_counters() -> Counters:
    """Return tables without rows."""
    return {table: {} for table in TABLES}


def add(total: Counters, counters: Mapping[str, Table]) -> None:
    """Add counters to the rows with the same names in ``total``."""
    for table, rows in counters.items():
        for name, row in rows.items():
            sums = total[table].setdefault(name, {})
            for counter, value in row.items():
                sums[counter] = sums.get(counter, 0) + value


def add_rows(servers: Table) -> dict[str, int]:
    """Add up the rows of all servers into one row."""
    return {counter: sum(row[counter] for row in servers.values()) for counter in SERVER_COUNTERS}


class Totals:
    """The counters of ended workers; the caller of each method gives the counters of the living ones."""

    def __init__(self) -> None:
        self._forgotten = make_counters()
        self._ended: dict[Hashable, Counters] = {}
        self._before = add_rows({})
        self._samples: deque[tuple[float, dict[str, int]]] = deque(maxlen=RATE_SECONDS + 1)

    def retire(self, worker: Hashable, counters: Counters) -> None:
        """Keep what a worker counted before it ended."""
        self._ended[worker] = counters
        if len(self._ended) > _REMEMBERED:
            self._forget(self._ended.pop(next(iter(self._ended))))

    def _forget(self, counters: Counters) -> None:
        """Add a worker's counters to the sums; when the table is full, new names go to the row of others."""
        for table, rows in counters.items():
            kept = self._forgotten[table]
            for name, row in rows.items():
                if name not in kept and len(kept) >= MOST_ROWS:
                    first, tab, _ = name.rpartition("\t")
                    add(self._forgotten, {table: {f"{first}{tab}{OTHERS}": row}})
                else:
                    add(self._forgotten, {table: {name: row}})

    def welcome(self, worker: Hashable, counters: Counters) -> None:
        """Note a worker that has connected, for the first time or again; its earlier counts are not new."""
        if self._ended.pop(worker, None) is None:
            for counter, value in add_rows(counters["servers"]).items():
                self._before[counter] += value

    def add_up(self, living: Iterable[Counters]) -> Counters:
        """Return the sums of all counters."""
        total = make_counters()
        for counters in self._all(living):
            add(total, counters)
        return total

    def _all(self, living: Iterable[Counters]) -> Iterable[Counters]:
        return (self._forgotten, *self._ended.values(), *living)

    def sample(self, living: Iterable[Counters]) -> None:
        """Note the sums as they are now; call it once a second."""
        total = make_counters()
        for counters in self._all(living):
            add(total, {"servers": counters["servers"]})
        sums = add_rows(total["servers"])
        counted = {counter: value - self._before[counter] for counter, value in sums.items()}
        self._samples.append((time.monotonic(), counted))

    def compute_rates(self) -> dict[str, float]:
        """Return how much each counter grows in a second; 0 while there are fewer than two samples."""
        if len(self._samples) < 2:
            return dict.fromkeys(SERVER_COUNTERS, 0.0)
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return {name: max(0, last[name] - first[name]) / (ended - began) for name in last}
