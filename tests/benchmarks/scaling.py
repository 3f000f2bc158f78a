"""The gain by a second worker for work that needs the processor: TLS handshakes with a long RSA key."""

import subprocess
from functools import partial
from pathlib import Path

from tests.benchmarks import usage
from tests.benchmarks.clients import Orders
from tests.benchmarks.proxies import GeomailProgram, NginxProgram, Proxy
from tests.benchmarks.results import Amounts, Chapter, Goal, Line, Step
from tests.benchmarks.stand import Stand
from tests.servers.certificates import Certificate
from tests.servers.support import program

#: Bits of the key: so many that a handshake costs the proxy far more than the clients.
_BITS = 4096
_SESSIONS = 800
_COLUMNS = ["1 worker", "2 workers"]


class Scaling:
    """Sessions per second, and per CPU second of the busier worker, with one worker and with two."""

    def __init__(self, stand: Stand, amounts: Amounts) -> None:
        self._stand = stand
        self._amounts = amounts
        self._certificate = rsa_certificate(stand.folder)
        self._lines = [
            (_line(each.name, "wall", "throughput"), _line(each.name, "cpu", "by CPU of the busier worker"))
            for each in stand.programs
        ]
        lines = [line for pair in self._lines for line in pair]
        title = f"A second worker: IMAPS sessions, RSA key of {_BITS} bits"
        self.chapter = Chapter("workers", title, _COLUMNS, lines)
        if len(stand.processors) < 4:
            stand.notes.append(
                f"two workers share {len(stand.processors)} processors with clients and backend: throughput"
                " shows less than they could do, which the CPU of the busier worker does not"
            )

    def steps(self) -> list[Step]:
        """Return steps for one and for two workers of every proxy."""
        return [
            Step(turn, f"{_COLUMNS[workers - 1]}: {each.name}", partial(self._measure, each, lines, workers))
            for turn in range(self._amounts.turns)
            for workers in (1, 2)
            for each, lines in zip(self._stand.programs, self._lines, strict=True)
        ]

    def _measure(self, each: NginxProgram | GeomailProgram, lines: tuple[Line, Line], workers: int) -> None:
        stand = self._stand
        proxy = each.proxy(stand.setting(workers=workers, certificate=self._certificate))
        orders = Orders("imap", proxy.ports["imaps"], "sessions", self._amounts.of(_SESSIONS, 20), tls=True)
        try:
            proxy.start()
            wall, capacity = rates(stand, proxy, orders)
        finally:
            proxy.stop()
        lines[0].add(_COLUMNS[workers - 1], wall)
        lines[1].add(_COLUMNS[workers - 1], capacity)


def rates(stand: Stand, proxy: Proxy, orders: Orders) -> tuple[float, float]:
    """Measure sessions per second, and per CPU second of the busiest process."""
    apart = set(stand.processors[2:] if len(stand.processors) >= 4 else stand.processors)
    with stand.drivers(orders, apart) as drivers:
        drivers.open()
        usage.settle(proxy.pid)
        before = usage.cpu_by_process(proxy.pid)
        done = drivers.work()
        usage.settle(proxy.pid)
        after = usage.cpu_by_process(proxy.pid)
    busiest = max(spent - before.get(pid, 0.0) for pid, spent in after.items())
    return orders.amount / done.seconds, orders.amount / busiest


def rsa_certificate(folder: Path) -> Certificate:
    """Make a certificate with a key that makes signatures expensive."""
    files = Certificate(folder / "rsa.crt", folder / "rsa.key")
    subprocess.run(
        [program("openssl"), "req", "-x509", "-newkey", f"rsa:{_BITS}", "-nodes", "-subj", "/CN=localhost",
         "-days", "30", "-keyout", files.key, "-out", files.certificate],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return files


def _line(proxy: str, what: str, label: str) -> Line:
    goal = Goal(1.8, at_least=True) if proxy == "geomail" else None
    return Line(f"{proxy}-{what}", f"{proxy}, {label}", "1/s", _COLUMNS[1], _COLUMNS[0], goal)
