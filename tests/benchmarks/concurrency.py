"""Whether a session costs the same, however many others there are."""

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


class Concurrency:
    """IMAP sessions that come and go among ever more that stay."""

    def __init__(self, stand: Stand, amounts: Amounts) -> None:
        self._stand = stand
        self._amounts = amounts
        self._levels = self._possible()
        columns = [f"{level} open" for level in self._levels]
        self.chapter = Chapter(
            "concurrency",
            "A session among many: CPU of one that comes and goes",
            columns,
            [_line(proxy.name, columns) for proxy in stand.proxies],
        )

    def steps(self) -> list[Step]:
        """Every level of every proxy."""
        return [
            Step(turn, f"{column}: {proxy.name}", partial(self._measure, proxy, line, level, column))
            for turn in range(self._amounts.turns)
            for level, column in zip(self._levels, self.chapter.columns, strict=True)
            for proxy, line in zip(self._stand.proxies, self.chapter.lines, strict=True)
        ]

    def _possible(self) -> list[int]:
        levels = [self._stand.possible(self._amounts.of(level, 10)) for level in LEVELS]
        return list(dict.fromkeys(levels))

    def _measure(self, proxy: Proxy, line: Line, level: int, column: str) -> None:
        sessions = self._amounts.of(_SESSIONS, 20)
        port, warm = proxy.ports["imap"], min(100, sessions)
        orders = Orders("imap", port, "sessions", sessions, held=level, warm=warm)
        line.add(column, session_cost(self._stand, proxy, orders))


def _line(proxy: str, columns: list[str]) -> Line:
    goal = Goal(_FLAT) if proxy == "geomail" else None
    label = f"{proxy}, CPU of an IMAP session"
    return Line(f"{proxy}-concurrency", label, "µs", columns[-1], columns[0], goal)
