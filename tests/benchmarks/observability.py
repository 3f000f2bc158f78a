"""The cost of the log, the control socket, the metrics and a viewer."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.benchmarks.clients import Orders
from tests.benchmarks.drivers import Failed
from tests.benchmarks.proxies import Geomail, Tables
from tests.benchmarks.results import Amounts, Chapter, Goal, Line, Step
from tests.benchmarks.side_by_side import idle_memory, idle_sessions, session_cost
from tests.benchmarks.stand import Stand, errors_only, with_log, with_metrics

_SESSIONS, _IDLE = 4000, 4000
_WITHOUT, _WITH = "without", "with"


class Observability:
    """IMAP sessions and idle memory, with log, control socket and metrics off and on."""

    def __init__(self, stand: Stand, amounts: Amounts) -> None:
        self._stand = stand
        self._amounts = amounts
        self._off, self._log, self._all = (
            self._geomail(each) for each in (errors_only, with_log, with_metrics)
        )
        self._lines = [
            _line("log", "a log line for each session, CPU", "µs"),
            _line("all", "log, control socket, metrics, CPU", "µs", Goal(1.15)),
            _line("viewer", "a viewer of all events, CPU", "µs", Goal(1.15)),
            _line("memory", "log, control socket, metrics, idle session", "KiB", Goal(1, "difference")),
        ]
        title = "What operators see: CPU and memory of an IMAP session"
        self.chapter = Chapter("observability", title, [_WITHOUT, _WITH], self._lines)

    def steps(self) -> list[Step]:
        """Return a step for each setting, from none to all, and in reverse order in every other turn."""
        measures: list[tuple[str, Callable[[], None]]] = [
            ("nothing to see", self._measure_off),
            ("log", self._measure_log),
            ("log, control socket, metrics", self._measure_all),
            ("a viewer", self._measure_viewer),
            ("idle, nothing to see", partial(self._measure_idle, self._off, _WITHOUT)),
            ("idle, log, control socket, metrics", partial(self._measure_idle, self._all, _WITH)),
        ]
        return [
            Step(turn, f"{label}: geomail", measure)
            for turn in range(self._amounts.turns)
            for label, measure in (measures if turn % 2 == 0 else measures[::-1])
        ]

    def _geomail(self, tables: Callable[[Path], Tables]) -> Geomail:
        proxy = self._stand.geomail.proxy(self._stand.setting(tables=tables))
        self._stand.keep(proxy)
        return proxy

    def _cost(self, proxy: Geomail) -> float:
        sessions = self._amounts.of(_SESSIONS, 20)
        orders = Orders("imap", proxy.ports["imap"], "sessions", sessions, warm=min(100, sessions))
        return session_cost(self._stand, proxy, orders)

    def _measure_off(self) -> None:
        spent = self._cost(self._off)
        for line in self._lines[:2]:
            line.add(_WITHOUT, spent)

    def _measure_log(self) -> None:
        self._lines[0].add(_WITH, self._cost(self._log))

    def _measure_all(self) -> None:
        spent = self._cost(self._all)
        self._lines[1].add(_WITH, spent)
        self._lines[2].add(_WITHOUT, spent)

    def _measure_viewer(self) -> None:
        self._all.start()
        with watch(self._all.setting.folder / "control.sock"):
            self._lines[2].add(_WITH, self._cost(self._all))

    def _measure_idle(self, proxy: Geomail, column: str) -> None:
        orders = Orders("imap", proxy.ports["imap"], held=idle_sessions(_IDLE, self._amounts, self._stand))
        self._lines[3].add(column, idle_memory(self._stand, proxy, orders))


def _line(name: str, label: str, unit: str, goal: Goal | None = None) -> Line:
    return Line(name, label, unit, _WITH, _WITHOUT, goal)


@contextmanager
def watch(path: Path) -> Iterator[None]:
    """Read every event from a control socket until the block ends, as ``geomail tail`` does."""
    with socket.socket(socket.AF_UNIX) as viewer:
        viewer.settimeout(10)
        viewer.connect(str(path))
        viewer.sendall(json.dumps({"id": 1, "do": "tail"}).encode() + b"\n")
        said = b""
        while b'"watching"' not in said:
            said += viewer.recv(65536)
        viewer.settimeout(None)
        amounts: list[int] = []
        reader = threading.Thread(target=_read_all, args=(viewer, amounts))
        reader.start()
        try:
            yield
        finally:
            viewer.shutdown(socket.SHUT_RDWR)
            reader.join()
    if not amounts:
        raise Failed("the viewer of all events received none")


def _read_all(viewer: socket.socket, amounts: list[int]) -> None:
    while data := viewer.recv(1 << 20):
        amounts.append(len(data))
