"""Where measurements are made: a folder, certificates, the far side, and the proxies that run."""

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

#: Descriptors of a proxy that are no session's.
_SPARE_FILES = 400
_MOST_DRIVERS = 4
#: Share of the time that a proxy should be at work while sessions come and go.
_BUSY = 0.9


class Stand:
    """Everything that measurements share, for the time of a ``with`` block."""

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
        except pytest.fail.Exception as failure:  # it did not end; what was measured is not lost for that
            self.notes.append(str(failure))

    @property
    def programs(self) -> list[NginxProgram | GeomailProgram]:
        """What is measured, nginx first where it is there."""
        return [self.geomail] if self.nginx is None else [self.nginx, self.geomail]

    @property
    def others(self) -> set[int]:
        """The processors of clients and backend, beside that of a proxy."""
        return set(self.processors[1:] or self.processors)

    def possible(self, sessions: int) -> int:
        """So many sessions at a time, or as many as the limit of open files allows: each takes two."""
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
        """A setting in a folder of its own; one worker runs on the first processor alone."""
        self._number += 1
        folder = self.folder / f"setting-{self._number}"
        return Setting(
            folder=folder,
            certificate=certificate or self.certificate,
            auth=self.auth,
            processors=frozenset(self.processors[:workers]),
            workers=workers,
            tables=(tables or seen)(folder),
        )

    @cached_property
    def proxies(self) -> list[Proxy]:
        """One of each program, as they are measured side by side."""
        return [self.keep(each.proxy(self.setting())) for each in self.programs]

    def keep(self, proxy: Proxy) -> Proxy:
        """The proxy, which ends with this stand at the latest."""
        self._running.callback(proxy.stop)
        return proxy

    def was_busy(self, proxy: Proxy, share: float) -> None:
        """Note for which share of the time a proxy was at work while sessions came and went."""
        self._busy.setdefault(proxy.name, []).append(share)

    def drivers(self, orders: Orders, processors: set[int] | None = None) -> Drivers:
        """Clients with these orders."""
        processors = processors or self.others
        return Drivers(orders, max(1, min(_MOST_DRIVERS, len(processors) - 1)), processors)


def unseen(folder: Path) -> Tables:
    """geomail with nothing for operators to look at but its errors."""
    return {"log": {"target": str(folder / "geomail.log"), "level": "error"}, "control": {"socket": "off"}}


def logged(folder: Path) -> Tables:
    """geomail with a line in its log for each session."""
    return {**unseen(folder), "log": {"target": str(folder / "geomail.log"), "level": "info"}}


def seen(folder: Path) -> Tables:
    """geomail as it is measured beside nginx: with its log and its control socket."""
    return {**logged(folder), "control": {"socket": str(folder / "control.sock")}}


def measured(folder: Path) -> Tables:
    """geomail with everything that operators may want."""
    return {**seen(folder), "metrics": {"listen": f"{LOOPBACK}:{free_port()}"}}


def cost(stand: Stand, proxy: Proxy, orders: Orders) -> tuple[float, Done]:
    """Seconds of CPU that an order cost the proxy, and what was done."""
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
    """What there is to say of the shares of the time, by proxy, in which each was at work."""
    if all(share >= _BUSY for shares in busy.values() for share in shares):
        return []
    told = ", ".join(
        f"{name} for {min(shares):.0%} to {max(shares):.0%} of the time" for name, shares in busy.items()
    )
    return [
        f"the clients are not fast enough here: while sessions came and went, {told} was at work; "
        "a proxy that sleeps between two events pays more for each"
    ]


def _raise_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
