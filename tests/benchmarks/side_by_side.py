"""geomail compared with nginx: the cost of a unit of work, measured in turns."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.benchmarks import usage
from tests.benchmarks.clients import Done, Orders, Work
from tests.benchmarks.drivers import Failed
from tests.benchmarks.proxies import Proxy
from tests.benchmarks.results import Amounts, Chapter, Goal, Line, Step
from tests.benchmarks.stand import Stand, cost

NAME = "side-by-side"
MIB = 1 << 20
#: Seconds that sessions are idle before their memory is read; a few sessions need less.
_HOLD, _HANDFUL = 2.0, 100


@dataclass(frozen=True)
class Workload:
    """One row of the table. ``amount`` is as in :class:`Orders`; for bulk data, MiB in total."""

    name: str
    label: str
    goal: float
    work: Work
    amount: int = 0
    held: int = 0
    protocol: str = "imap"
    tls: bool = False
    resume: bool = False

    @property
    def unit(self) -> str:
        """The unit of the figure."""
        match self.work:
            case "nothing":
                return "KiB"
            case "up" | "down":
                return "ms/MiB"
            case _:
                return "µs"

    def line(self, base: str) -> Line:
        """Return its row; ``base`` is the proxy that geomail is compared with."""
        return Line(self.name, self.label, self.unit, "geomail", base, Goal(self.goal))


WORKLOADS = (
    Workload("imap", "IMAP session", 1.25, "sessions", 4000),
    Workload("smtp", "SMTP session", 1.4, "sessions", 4000, protocol="smtp"),
    Workload("pop3", "POP3 session", 1.4, "sessions", 4000, protocol="pop3"),
    Workload("tls-full", "IMAPS session, full handshake", 1.15, "sessions", 1500, tls=True),
    Workload("tls-resumed", "IMAPS session, resumed", 1.2, "sessions", 1500, tls=True, resume=True),
    Workload("down-1", "bulk to 1 client", 0.4, "down", 1024, held=1),
    Workload("down-8", "bulk to 8 clients", 0.4, "down", 1024, held=8),
    Workload("up-1", "bulk from 1 client", 0.4, "up", 1024, held=1),
    Workload("up-8", "bulk from 8 clients", 0.4, "up", 1024, held=8),
    Workload("tls-down", "bulk to 1 client, TLS", 0.7, "down", 512, held=1, tls=True),
    Workload("tls-up", "bulk from 1 client, TLS", 1.05, "up", 512, held=1, tls=True),
    Workload("ping", "64-byte round trip", 1.6, "round trips", 200, held=200),
    Workload("tls-ping", "64-byte round trip, TLS", 1.6, "round trips", 200, held=200, tls=True),
    Workload("idle", "memory of an idle session", 0.5, "nothing", held=5000),
    Workload("tls-idle", "memory of an idle session, TLS", 0.9, "nothing", held=2000, tls=True),
)


class SideBySide:
    """The table of workloads, for each proxy on this machine."""

    def __init__(self, stand: Stand, amounts: Amounts) -> None:
        self._stand = stand
        self._amounts = amounts
        self._workloads = [each for each in WORKLOADS if amounts.wants(each.name, NAME)]
        base = "nginx" if stand.nginx else ""
        lines = [each.line(base) for each in self._workloads]
        columns = [proxy.name for proxy in stand.proxies]
        self.chapter = Chapter(NAME, "CPU and memory of the proxy", columns, lines)

    def steps(self) -> list[Step]:
        """Return a step for every workload and proxy; the first proxy changes from turn to turn."""
        return [
            Step(turn, f"{workload.label}: {proxy.name}", partial(self._measure, workload, proxy, line))
            for turn in range(self._amounts.turns)
            for workload, line in zip(self._workloads, self.chapter.lines, strict=True)
            for proxy in (self._stand.proxies if turn % 2 == 0 else self._stand.proxies[::-1])
        ]

    def _measure(self, workload: Workload, proxy: Proxy, line: Line) -> None:
        orders = orders_for(workload, proxy, self._amounts, self._stand)
        line.add(proxy.name, _MEASURES[workload.work](self._stand, proxy, orders))


def orders_for(workload: Workload, proxy: Proxy, amounts: Amounts, stand: Stand) -> Orders:
    """Return the clients' orders: some sessions first, then the work to measure."""
    held, amount = workload.held, workload.amount
    match workload.work:
        case "sessions":
            amount = amounts.of(amount, 20)
        case "round trips":
            amount = amounts.of(amount, 10)
        case "nothing":
            held = idle_sessions(held, amounts, stand)
        case _:
            amount = amounts.of(amount, held) * MIB // held
    return Orders(
        protocol=workload.protocol,
        port=proxy.ports[f"{workload.protocol}s" if workload.tls else workload.protocol],
        work=workload.work,
        amount=amount,
        held=held,
        tls=workload.tls,
        resume=workload.resume,
        warm=min(100, amount) if workload.work == "sessions" else 0,
    )


def idle_sessions(full: int, amounts: Amounts, stand: Stand) -> int:
    """Return the number of idle sessions; a small scale reduces it less, because the first ones cost more."""
    return stand.possible(min(full, amounts.of(3 * full, 20)))


def session_cost(stand: Stand, proxy: Proxy, orders: Orders) -> float:
    """Measure microseconds of CPU for one session."""
    spent, done = cost(stand, proxy, orders)
    _check_resumption(orders, done)
    stand.note_busy(proxy, spent / done.seconds)
    return spent * 1e6 / orders.amount


def round_trip_cost(stand: Stand, proxy: Proxy, orders: Orders) -> float:
    """Measure microseconds of CPU for one round trip."""
    return cost(stand, proxy, orders)[0] * 1e6 / (orders.amount * orders.held)


def bulk_cost(stand: Stand, proxy: Proxy, orders: Orders) -> float:
    """Measure milliseconds of CPU for one MiB."""
    return cost(stand, proxy, orders)[0] * 1e3 / (orders.amount * orders.held / MIB)


def idle_memory(stand: Stand, proxy: Proxy, orders: Orders) -> float:
    """Measure the KiB by which a new proxy grows for one silent session after its login."""
    proxy.stop()
    proxy.start()
    with stand.drivers(orders) as drivers:
        usage.settle(proxy.pid)
        before = usage.memory(proxy.pid)
        drivers.open()
        time.sleep(_HOLD if orders.held > _HANDFUL else 0.1)
        usage.settle(proxy.pid)
        grown = usage.memory(proxy.pid) - before
    usage.settle(proxy.pid)
    return grown / 1024 / orders.held


def _check_resumption(orders: Orders, done: Done) -> None:
    if orders.tls and orders.resume != (done.resumed > done.handshakes / 2):
        raise Failed(f"{done.resumed} of {done.handshakes} TLS sessions were resumed")


_MEASURES: dict[Work, Callable[[Stand, Proxy, Orders], float]] = {
    "sessions": session_cost,
    "round trips": round_trip_cost,
    "down": bulk_cost,
    "up": bulk_cost,
    "nothing": idle_memory,
}
