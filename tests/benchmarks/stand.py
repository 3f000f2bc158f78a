"""All that measurements share: a folder, certificates, mail servers, and the running proxies."""

import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.benchmarks import usage
from tests.benchmarks.clients import Done, Orders
from tests.benchmarks.drivers import ENVIRONMENT, Drivers
from tests.benchmarks.proxies import GeomailProgram, NginxProgram, Proxy, Setting, Tables
from tests.servers.certificates import Certificate, Certificates
from tests.servers.support import LOOPBACK, Daemon, free_port

#: Descriptors of a proxy that do not belong to a session.
_SPARE_FILES = 400
_MOST_DRIVERS = 4
#: The share of the time that a proxy should be busy while sessions begin and end.
_BUSY = 0.9


class Stand:
    """All that measurements share, for the time of a ``with`` block."""

    def __init__(self, folder: Path, geomail: GeomailProgram, nginx: NginxProgram | None) -> None:
        self.folder = folder
        self.geomail = geomail
        self.nginx = nginx
        self.notes: list[str] = []
        self._busy: dict[str, list[float]] = {}
        self.processors = sorted(os.sched_getaffinity(0))
        self._running = ExitStack()
        self._number = 0

    def __enter__(self) -> Self:
        _raise_limit()
        self.certificate = Certificates(self.folder).server
        ports = {name: free_port() for name in ("imap", "smtp", "pop3", "auth")}
        self.auth = ports["auth"]
        words = [f"{name}={port}" for name, port in ports.items()]
        with usage.on_processors(self.others):
            command = [sys.executable, "-m", "tests.benchmarks.backend", *words]
            far = Daemon(command, self.folder / "far.log", ENVIRONMENT)
        self._running.callback(far.stop)
        far.wait_until_accepting((LOOPBACK, port) for port in ports.values())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.notes += idleness(self._busy)
        try:
            self._running.close()
        except pytest.fail.Exception as failure:  # it did not end; the results must not be lost for that
            self.notes.append(str(failure))

    @property
    def programs(self) -> list[NginxProgram | GeomailProgram]:
        """The programs to measure, nginx first if it is installed."""
        return [self.geomail] if self.nginx is None else [self.nginx, self.geomail]

    @property
    def others(self) -> set[int]:
        """The processors of clients and backend, without the proxy's."""
        return set(self.processors[1:] or self.processors)

    def possible(self, sessions: int) -> int:
        """Return this number of sessions, or what the limit of open files allows: each needs two files."""
        most = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES) // 2
        note = f"no more than {most} sessions at a time: the limit of open files is low (ulimit -n)"
        if sessions > most and note not in self.notes:
            self.notes.append(note)
        return min(sessions, most)

    def setting(
        self,
        *,
        workers: int = 1,
        certificate: Certificate | None = None,
        tables: Callable[[Path], Tables] | None = None,
    ) -> Setting:
        """Make a setting in its own folder; a single worker runs only on the first processor."""
        self._number += 1
        folder = self.folder / f"setting-{self._number}"
        return Setting(
            folder=folder,
            certificate=certificate or self.certificate,
            auth=self.auth,
            processors=frozenset(self.processors[:workers]),
            workers=workers,
            tables=(tables or with_control)(folder),
        )

    @cached_property
    def proxies(self) -> list[Proxy]:
        """One proxy of each program, for the comparison."""
        return [self.keep(each.proxy(self.setting())) for each in self.programs]

    def keep(self, proxy: Proxy) -> Proxy:
        """Return the proxy, and stop it at the end of this stand at the latest."""
        self._running.callback(proxy.stop)
        return proxy

    def note_busy(self, proxy: Proxy, share: float) -> None:
        """Note the share of the time that a proxy was busy while sessions began and ended."""
        self._busy.setdefault(proxy.name, []).append(share)

    def drivers(self, orders: Orders, processors: set[int] | None = None) -> Drivers:
        """Make clients with these orders."""
        processors = processors or self.others
        return Drivers(orders, max(1, min(_MOST_DRIVERS, len(processors) - 1)), processors)


def errors_only(folder: Path) -> Tables:
    """Return the tables for geomail with only errors in its log."""
    return {"log": {"target": str(folder / "geomail.log"), "level": "error"}, "control": {"socket": "off"}}


def with_log(folder: Path) -> Tables:
    """Return the tables for geomail with a log line for each session."""
    return {**errors_only(folder), "log": {"target": str(folder / "geomail.log"), "level": "info"}}


def with_control(folder: Path) -> Tables:
    """Return the tables for geomail in the comparison with nginx: with its log and control socket."""
    return {**with_log(folder), "control": {"socket": str(folder / "control.sock")}}


def with_metrics(folder: Path) -> Tables:
    """Return the tables for geomail with log, control socket and metrics."""
    return {**with_control(folder), "metrics": {"listen": f"{LOOPBACK}:{free_port()}"}}


def cost(stand: Stand, proxy: Proxy, orders: Orders) -> tuple[float, Done]:
    """Measure the CPU seconds that an order costs the proxy; return these and the order's result."""
    proxy.start()
    with stand.drivers(orders) as drivers:
        drivers.open()
        usage.settle(proxy.pid)
        before = usage.cpu(proxy.pid)
        done = drivers.work()
        usage.settle(proxy.pid)
        spent = usage.cpu(proxy.pid) - before
    usage.settle(proxy.pid)
    return spent, done


def idleness(busy: Mapping[str, Sequence[float]]) -> list[str]:
    """Return a note if a proxy was not busy enough; ``busy`` holds its shares of the time."""
    if all(share >= _BUSY for shares in busy.values() for share in shares):
        return []
    shares_by_proxy = ", ".join(
        f"{name} for {min(shares):.0%} to {max(shares):.0%} of the time" for name, shares in busy.items()
    )
    return [
        f"the clients are too slow here to keep the proxies busy ({shares_by_proxy}); "
        "a proxy that sleeps between two events needs more CPU for each"
    ]


def _raise_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
