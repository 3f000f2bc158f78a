"""The cost of a session among many others: it should not depend on their number."""

from dataclasses import dataclass
from functools import partial

from tests.benchmarks.clients import Orders
from tests.benchmarks.proxies import Proxy
from tests.benchmarks.results import Amounts, Chapter, Goal, Line, Step
from tests.benchmarks.side_by_side import session_cost
from tests.benchmarks.stand import Stand

#: Sessions that stay logged in while others begin and end.
LEVELS = (100, 1000, 9000)
_SESSIONS = 3000
#: The growth that still counts as none: two runs of the same may differ by this factor.
_FLAT = 1.15


@dataclass(frozen=True)
class _Row:
    proxy: Proxy
    oldest_goes: bool
    line: Line


class Concurrency:
    """IMAP sessions that begin and end among more and more that stay.

    If the new session ends itself, the others stay silent all the time. If the
    oldest session ends, it has been silent for long, and the proxy may have
    parked it.
    """

    def __init__(self, stand: Stand, amounts: Amounts) -> None:
        self._stand = stand
        self._amounts = amounts
        self._levels = self._possible()
        columns = [f"{level} open" for level in self._levels]
        self._rows = [
            _Row(proxy, oldest_goes, _line(proxy.name, oldest_goes, columns))
            for oldest_goes in (False, True)
            for proxy in stand.proxies
        ]
        title = "A session among many: CPU for one that begins and one that ends"
        self.chapter = Chapter("concurrency", title, columns, [row.line for row in self._rows])

    def steps(self) -> list[Step]:
        """Return a step for every level and proxy."""
        return [
            Step(turn, f"{column}: {row.line.label}", partial(self._measure, row, level, column))
            for turn in range(self._amounts.turns)
            for level, column in zip(self._levels, self.chapter.columns, strict=True)
            for row in self._rows
        ]

    def _possible(self) -> list[int]:
        levels = [self._stand.possible(self._amounts.of(level, 10)) for level in LEVELS]
        return list(dict.fromkeys(levels))

    def _measure(self, row: _Row, level: int, column: str) -> None:
        sessions = self._amounts.of(_SESSIONS, 20)
        orders = Orders(
            "imap",
            row.proxy.ports["imap"],
            "sessions",
            sessions,
            held=level,
            oldest_goes=row.oldest_goes,
            warm=min(100, sessions),
        )
        row.line.add(column, session_cost(self._stand, row.proxy, orders))


def _line(proxy: str, oldest_goes: bool, columns: list[str]) -> Line:
    goal = Goal(_FLAT) if proxy == "geomail" else None
    name, label = ("oldest", "the oldest goes") if oldest_goes else ("beside", "the others stay")
    return Line(f"{proxy}-{name}", f"{proxy}, {label}", "µs", columns[-1], columns[0], goal)
