"""The processes of mail clients, as the measuring process uses them."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.benchmarks.clients import Done, Orders
from tests.benchmarks.usage import on_processors

#: The environment in which Python finds the modules of this package.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"}
#: Seconds after the time limit of their orders in which clients can report that they gave up.
_GRACE = 15.0


class Failed(Exception):
    """There is no figure, because something failed; the text says why."""


class Drivers:
    """Client processes that share one order, for the time of a ``with`` block."""

    def __init__(self, orders: Orders, number: int, processors: set[int]) -> None:
        self._patience = orders.seconds + _GRACE
        with on_processors(processors):
            self._processes = [_start(share) for share in shares(orders, number)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def open(self) -> Done:
        """Log the held sessions in."""
        return self._command("open")

    def work(self) -> Done:
        """Do the work to measure."""
        return self._command("work")

    def _command(self, command: str) -> Done:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{command}\n".encode())
            process.stdin.flush()
        return _sum([self._answer(process) for process in self._processes])

    def _answer(self, process: subprocess.Popen[bytes]) -> Done:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], self._patience)
        line = process.stdout.readline() if ready else b""
        if not line:
            process.kill()
            raise Failed(_last_line(process.stderr) or "the clients did not answer")
        return Done(**json.loads(line))


def shares(orders: Orders, number: int) -> list[Orders]:
    """Divide an order into equal parts, into fewer ones if it is too small."""
    counted = orders.amount if orders.work == "sessions" else orders.held
    number = max(1, min(number, counted))
    return [
        replace(
            orders,
            held=_share(orders.held, number, part),
            amount=_share(orders.amount, number, part) if orders.work == "sessions" else orders.amount,
            at_a_time=max(1, orders.at_a_time // number),
            warm=orders.warm // number,
        )
        for part in range(number)
    ]


def _share(whole: int, number: int, part: int) -> int:
    return whole // number + (part < whole % number)


def _start(orders: Orders) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.clients"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(orders)).encode() + b"\n")
    process.stdin.flush()
    return process


def _sum(parts: Sequence[Done]) -> Done:
    return Done(
        max(part.seconds for part in parts),
        sum(part.handshakes for part in parts),
        sum(part.resumed for part in parts),
    )


def _last_line(pipe: IO[bytes] | None) -> str:
    lines = pipe.read().decode(errors="replace").splitlines() if pipe is not None else []
    return lines[-1] if lines else ""
