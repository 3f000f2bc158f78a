"""The time that an operator waits: for the check of a configuration, and for a server's first greeting."""

import socket
import subprocess
import time
from functools import partial

from tests.benchmarks.proxies import Geomail
from tests.benchmarks.results import Amounts, Chapter, Goal, Line, Step
from tests.benchmarks.stand import Stand
from tests.servers.support import LOOPBACK

_EACH_TURN = 2


class Startup:
    """Seconds from the start of a command to its result."""

    def __init__(self, stand: Stand, amounts: Amounts) -> None:
        self._turns = amounts.turns
        self._check = _line("check-config", "check-config, small file", 0.5)
        self._serve = _line("serve", "serve, until it greets", 1.0)
        self._proxy = stand.geomail.proxy(stand.setting())
        stand.keep(self._proxy)
        lines = [self._check, self._serve]
        self.chapter = Chapter("startup", "From the command to its result", ["geomail"], lines)

    def steps(self) -> list[Step]:
        """Return steps for both commands, a few times."""
        return [
            Step(turn, line.label, partial(measure, self._proxy, line))
            for turn in range(self._turns)
            for _ in range(_EACH_TURN)
            for measure, line in ((_check_config, self._check), (_serve, self._serve))
        ]


def _line(name: str, label: str, limit: float) -> Line:
    return Line(name, label, "s", "geomail", goal=Goal(limit, "value"))


def _check_config(proxy: Geomail, line: Line) -> None:
    command = [*proxy.program.run, "check-config", "-c", str(proxy.file)]
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    line.add("geomail", time.monotonic() - started)


def _serve(proxy: Geomail, line: Line) -> None:
    proxy.stop()
    started = time.monotonic()
    proxy.start()
    with socket.create_connection((LOOPBACK, proxy.ports["imap"]), 10) as client:
        client.recv(100)
    line.add("geomail", time.monotonic() - started)
