"""Whether a session costs the same, however many others there are."""

from dataclasses import dataclass
from functools import partial

from tests.benchmarks.clients import Orders
from tests.benchmarks.proxies import Proxy
from tests.benchmarks.results import Amounts, Chapter, Goal, Line, Step
from tests.benchmarks.side_by_side import session_cost
from tests.benchmarks.stand import Stand

#: Sessions that are logged in all the time, while others come and go.
LEVELS = (100, 1000, 9000)
_SESSIONS = 3000
#: Growth that is still called flat: what two runs of the same may differ by.
_FLAT = 1.15


@dataclass(frozen=True)
class _Row:
    proxy: Proxy
    oldest_goes: bool
    line: Line


class Concurrency:
    """IMAP sessions that come and go among ever more that stay.

    Where who comes is who goes, the others stay silent all the time; where
    the oldest goes, it has been silent for long, and its proxy may have put it
    aside.
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
        title = "A session among many: CPU of one that comes, and one that goes"
        self.chapter = Chapter("concurrency", title, columns, [row.line for row in self._rows])

    def steps(self) -> list[Step]:
        """Every level of every proxy."""
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
