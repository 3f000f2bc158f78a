"""The benchmark runs, and computes its figures correctly; the figures themselves do not matter here."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from geomail import __version__
from geomail.build import is_compiled
from tests.benchmarks import usage
from tests.benchmarks.chart import draw
from tests.benchmarks.clients import Orders, Work
from tests.benchmarks.drivers import ENVIRONMENT, shares
from tests.benchmarks.results import Amounts, Chapter, Goal, Line, Report
from tests.benchmarks.stand import idleness

WORKLOADS = [
    "imap",
    "smtp",
    "pop3",
    "tls-full",
    "tls-resumed",
    "down-1",
    "up-8",
    "tls-up",
    "ping",
    "tls-idle",
]
TABLES = ["concurrency", "workers", "startup", "observability"]
MACHINE = dict.fromkeys(
    ("date", "geomail", "nginx", "Python", "gevent", "OpenSSL", "processors", "kernel"), "<1>"
)


def benchmark(folder: Path, only: str) -> dict[str, Any]:
    """Run the command with tiny amounts; return its output."""
    command = [sys.executable, "-m", "tests.benchmarks", "--turns=1", "--scale=0.0005"]
    ran = subprocess.run(
        [*command, f"--only={only}", f"--output={folder}"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found: dict[str, Any] = json.loads((folder / "benchmark.json").read_text())
    build = "compiled" if is_compiled() else "pure Python"
    assert ran.stderr.startswith(f"measuring geomail {__version__} ({build}, ")
    assert found["machine"]["geomail"].endswith(f" {build}")
    assert found["failures"] == []
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Run a tiny benchmark; return its folder and its results."""
    folder = tmp_path_factory.mktemp("measured")
    return folder, benchmark(folder, ",".join([*WORKLOADS, *TABLES]))


@pytest.mark.long
@pytest.mark.timeout(240)
def test_workloads_are_measured_on_each_installed_proxy(measured: tuple[Path, dict[str, Any]]) -> None:
    folder, found = measured

    (chapter,) = [each for each in found["chapters"] if each["name"] not in TABLES]
    assert any("too slow" in note for note in found["notes"])
    assert [line["name"] for line in chapter["lines"]] == WORKLOADS
    for line in chapter["lines"]:
        assert {column: len(figure["runs"]) for column, figure in line["figures"].items()} == dict.fromkeys(
            chapter["columns"], 1
        )
        assert (line["ratio"] is not None) == ("nginx" in chapter["columns"])
    assert (folder / "benchmark.svg").exists() == ("nginx" in chapter["columns"])


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", TABLES)
def test_the_other_tables_are_filled(name: str, measured: tuple[Path, dict[str, Any]]) -> None:
    (chapter,) = [each for each in measured[1]["chapters"] if each["name"] == name]

    assert chapter["lines"]
    for line in chapter["lines"]:
        assert set(line["figures"]) == set(chapter["columns"])
        assert all(figure["median"] is not None for figure in line["figures"].values())


def test_a_note_names_proxies_that_were_not_kept_busy() -> None:
    assert idleness({}) == idleness({"nginx": [1.0, 0.9], "geomail": [0.95]}) == []

    (note,) = idleness({"nginx": [0.5, 0.3], "geomail": [0.95]})

    assert "nginx for 30% to 50% of the time, geomail for 95% to 95% of the time" in note


def test_unknown_names_are_refused() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--only=imap,fax"]

    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 2
    assert "fax" in ran.stderr


def line(goal: Goal | None, nginx: list[float], geomail: list[float]) -> Line:
    return Line("x", "x < y", "µs", "geomail", "nginx", goal, {"nginx": nginx, "geomail": geomail})


@pytest.mark.parametrize(
    ("goal", "nginx", "geomail", "reached"),
    [
        (Goal(1.25), [100, 100, 900], [125, 90, 200], True),
        (Goal(1.25), [100, 100, 900], [126, 90, 200], False),
        (Goal(1.8, at_least=True), [10], [18], True),
        (Goal(1.8, at_least=True), [10], [17], False),
        (Goal(1, "difference"), [10], [11], True),
        (Goal(1, "difference"), [10], [11.5], False),
        (Goal(0.5, "value"), [], [0.5], True),
        (Goal(0.5, "value"), [], [0.6], False),
        (Goal(1.25), [], [1], None),
        (None, [1], [1], None),
    ],
)
def test_goals_are_about_medians(
    goal: Goal | None, nginx: list[float], geomail: list[float], reached: bool | None
) -> None:
    assert line(goal, nginx, geomail).reached is reached


@pytest.mark.parametrize(
    ("work", "held", "amount", "number", "expected"),
    [
        ("sessions", 0, 10, 3, [(0, 4), (0, 3), (0, 3)]),
        ("sessions", 9, 10, 2, [(5, 5), (4, 5)]),
        ("sessions", 0, 1, 4, [(0, 1)]),
        ("round trips", 5, 100, 2, [(3, 100), (2, 100)]),
        ("down", 1, 1000, 4, [(1, 1000)]),
        ("nothing", 6, 0, 2, [(3, 0), (3, 0)]),
    ],
)
def test_clients_share_the_work(
    work: Work, held: int, amount: int, number: int, expected: list[tuple[int, int]]
) -> None:
    parts = shares(Orders("imap", 143, work, amount, held), number)

    assert [(part.held, part.amount) for part in parts] == expected


def test_cpu_and_memory_are_those_of_a_whole_tree() -> None:
    burn = "n = b'x' * 50_000_000; x = sum(range(10_000_000)); input()"
    with subprocess.Popen(
        ["sh", "-c", '"$0" -c "$1"; :', sys.executable, burn], stdin=subprocess.PIPE
    ) as shell:
        assert shell.stdin is not None
        deadline = time.monotonic() + 20
        while usage.cpu(shell.pid) < 0.05 and time.monotonic() < deadline:
            time.sleep(0.05)
        usage.settle(shell.pid)
        spent, memory, pids = usage.cpu(shell.pid), usage.memory(shell.pid), usage.tree(shell.pid)
        shell.stdin.write(b"\n")

    assert len(pids) == 2
    assert spent > 0.05
    assert memory > 50_000_000
    assert os.getpid() not in pids


def test_the_chart_is_a_picture_of_every_ratio() -> None:
    lines = [line(None, [2], [1]), line(None, [1], [4]), line(None, [], [4])]
    report = Report(MACHINE, Amounts(), [Chapter("side-by-side", "", ["nginx", "geomail"], lines)], [], [])

    texts = [
        each.text for each in ElementTree.fromstring(draw(report)).iter("{http://www.w3.org/2000/svg}text")
    ]

    assert texts.count("x < y") == 2
    assert {"0.50", "4.00", "1.00 / 2.00 µs"} <= set(texts)


def test_nothing_is_drawn_where_nothing_can_be_compared() -> None:
    chapter = Chapter("side-by-side", "", ["geomail"], [line(None, [], [4])])

    assert draw(Report(MACHINE, Amounts(), [chapter], [], [])) == ""
