"""Ports, processes and logs for all servers that tests start, and skipping a test without its server."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import NoReturn

import pytest

LOOPBACK = "127.0.0.1"
SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

PORTS = range(20000, 32000)
SLICE = 400

_holders: list[socket.socket] = []


def unavailable(reason: str) -> NoReturn:
    """Skip the test because this machine lacks a server; with CI=true, fail."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"CI must have what the tests need: {reason}", pytrace=False)
    pytest.skip(reason)


def program(name: str) -> str:
    """Return the path of a program; skip the test if it is missing."""
    path = shutil.which(name, path=SYSTEM_PATH)
    if path is None:
        unavailable(f"{name} is not installed (make servers)")
    return path


@cache
def hold_ports() -> Iterator[int]:
    """Yield the ports that belong to this process until it ends, one after the other, in a cycle.

    Several processes may run tests at the same time. Each reserves a slice of the ports by an abstract
    socket: only one process can have its name, and the name ends with the process.
    """
    for start in PORTS[::SLICE]:
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0geomail-tests-ports-{start}")
        except OSError:
            holder.close()
            continue
        _holders.append(holder)
        return cycle(range(start, start + SLICE))
    raise RuntimeError(f"{len(PORTS) // SLICE} processes run tests already")


def free_port() -> int:
    """Return an unused TCP port of this machine, below the ports that the kernel gives to clients."""
    for port in islice(hold_ports(), SLICE):
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"no free port among {SLICE}")


def open_files(pid: int) -> set[str]:
    """Return the names in /proc of the files that a process has open, and does not close meanwhile."""
    names = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            names.add(str(link.readlink()))
    return names


@dataclass(frozen=True)
class Log:
    """A growing log file."""

    path: Path

    @property
    def text(self) -> str:
        """The text written so far."""
        return self.path.read_text(errors="replace") if self.path.exists() else ""

    @property
    def end(self) -> int:
        """The current length, for ``after`` of :meth:`wait_for`."""
        return len(self.text)

    def wait_for(self, pattern: str, after: int = 0, seconds: float = 30) -> re.Match[str]:
        """Wait for a match of ``pattern``; return the first one."""
        deadline = time.monotonic() + seconds
        while (found := re.compile(pattern).search(self.text, after)) is None:
            if time.monotonic() > deadline:
                pytest.fail(f"not in {self.path.name}: {pattern}\n{self.text[after:]}")
            time.sleep(0.02)
        return found


class Daemon:
    """A server in its own process, in the foreground; it ends with this process."""

    def __init__(self, command: Sequence[str], output: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = Path(command[0]).name
        self.output = Log(output)
        with output.open("ab") as sink:
            self.process = subprocess.Popen(
                [program("setpriv"), "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=env,
            )

    def wait_until_accepting(self, addresses: Iterable[tuple[str, int] | str], seconds: float = 30) -> None:
        """Wait until all these addresses (a Unix socket's is its path) accept connections."""
        deadline = time.monotonic() + seconds
        for address in addresses:
            while not _accepts(address):
                if self.process.poll() is not None:
                    pytest.fail(f"{self.name} ended with {self.process.returncode}:\n{self.output.text}")
                if time.monotonic() > deadline:
                    pytest.fail(f"{self.name} does not accept at {address}:\n{self.output.text}")
                time.sleep(0.02)

    def stop(self, seconds: float = 30) -> int:
        """Stop it by TERM, as an operator would; return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"{self.name} did not end {seconds} s after TERM:\n{self.output.text}")


def _accepts(address: tuple[str, int] | str) -> bool:
    family = socket.AF_UNIX
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as probe:
        probe.settimeout(1)
        return probe.connect_ex(address) == 0
