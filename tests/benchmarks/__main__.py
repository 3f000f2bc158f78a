"""``make bench``: measure geomail and nginx. README.md in this folder describes the method."""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import pytest
import typer
from rich.console import Console

from tests.benchmarks import chart, screen, side_by_side
from tests.benchmarks.concurrency import Concurrency
from tests.benchmarks.drivers import Failed
from tests.benchmarks.machine import describe
from tests.benchmarks.observability import Observability
from tests.benchmarks.proxies import GeomailProgram, NginxProgram, NotThere
from tests.benchmarks.results import Amounts, Report, Step, Subject
from tests.benchmarks.scaling import Scaling
from tests.benchmarks.side_by_side import WORKLOADS
from tests.benchmarks.stand import Stand
from tests.benchmarks.startup import Startup
from tests.servers.geomail import COMMAND

SUBJECTS: dict[str, type[Subject]] = {
    side_by_side.NAME: side_by_side.SideBySide,
    "concurrency": Concurrency,
    "workers": Scaling,
    "startup": Startup,
    "observability": Observability,
}
#: The names that --only takes.
NAMES = [*SUBJECTS, *(workload.name for workload in WORKLOADS)]
_QUICK_SCALE, _QUICK_SECONDS = 0.1, 50.0


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="One turn, a tenth of the work: under a minute.")
    ] = False,
    only: Annotated[
        str, typer.Option(metavar="NAME,...", help="Tables and workloads to measure; see --list.")
    ] = "",
    turns: Annotated[int, typer.Option(min=1, max=9, help="Alternated runs of which the median counts.")] = 3,
    scale: Annotated[
        float, typer.Option(min=0.0001, max=10, help="Work of each run; 1 is a full one.")
    ] = 1.0,
    minutes: Annotated[float, typer.Option(help="No measurement begins later than this.")] = 10.0,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where benchmark.json and benchmark.svg are written.")
    ] = Path("build/benchmark"),
    names: Annotated[bool, typer.Option("--list", help="Show the names that --only takes.")] = False,
) -> None:
    """Measure what geomail costs, and nginx too if it is installed."""
    if names:
        typer.echo("\n".join(NAMES))
        return
    amounts = Amounts(1 if quick else turns, _QUICK_SCALE if quick else scale, _chosen(only))
    console = Console(stderr=True, highlight=False)
    try:
        found = measure(console, amounts, _QUICK_SECONDS if quick else minutes * 60)
    except (pytest.skip.Exception, pytest.fail.Exception) as lack:
        typer.echo(f"this machine cannot measure: {lack}", err=True)
        raise typer.Exit(1) from None
    screen.show(Console(), found)
    for file in write(found, output):
        console.print(f"written: {file}", soft_wrap=True)
    if found.failures:
        raise typer.Exit(1)


def measure(console: Console, amounts: Amounts, seconds: float) -> Report:
    """Make all measurements of ``amounts`` that begin within ``seconds``."""
    deadline = time.monotonic() + seconds
    geomail, nginx, notes = GeomailProgram([str(COMMAND)]), None, []
    console.print(f"measuring {geomail.build}", soft_wrap=True)
    try:
        nginx = NginxProgram()
    except NotThere as reason:
        notes.append(f"geomail is measured alone: {reason}")
    with (
        tempfile.TemporaryDirectory(prefix="geomail-bench-") as folder,
        Stand(Path(folder), geomail, nginx) as stand,
    ):
        stand.notes += notes
        subjects = [
            subject(stand, amounts) for name, subject in SUBJECTS.items() if amounts.wants(*members(name))
        ]
        steps = sorted((step for each in subjects for step in each.steps()), key=lambda step: step.turn)
        failures = _make(steps, console, deadline, stand.notes)
    chapters = [subject.chapter for subject in subjects]
    return Report(describe(geomail, nginx), amounts, chapters, stand.notes, failures)


def _make(steps: list[Step], console: Console, deadline: float, notes: list[str]) -> list[str]:
    """Make the steps; return the failures."""
    failures = []
    with screen.progress(console, len(steps)) as tell:
        for number, step in enumerate(steps):
            if time.monotonic() > deadline:
                notes.append(f"time is up: {len(steps) - number} of {len(steps)} measurements were not made")
                break
            tell(step.label)
            try:
                step.run()
            except (Failed, pytest.fail.Exception) as failure:
                failures.append(f"{step.label}: {failure}")
    return failures


def members(subject: str) -> list[str]:
    """Return the names that choose a table: its own, and its workloads'."""
    return [subject, *(each.name for each in WORKLOADS if subject == side_by_side.NAME)]


def write(found: Report, folder: Path) -> list[Path]:
    """Write the results as JSON, and as a chart if both proxies ran; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "benchmark.json"]
    files[0].write_text(json.dumps(found.as_json(), indent=2, ensure_ascii=False) + "\n")
    if drawing := chart.draw(found):
        files.append(folder / "benchmark.svg")
        files[1].write_text(drawing)
    return files


def _chosen(only: str) -> frozenset[str]:
    chosen = frozenset(name for name in only.split(",") if name)
    if unknown := chosen - set(NAMES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: unknown; --list shows the names")
    return chosen


if __name__ == "__main__":
    typer.run(bench)
