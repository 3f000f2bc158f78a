"""The results as tables on the screen, and the progress of the measurements."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.benchmarks.results import Chapter, Line, Report

_PIPE_WIDTH = 110


class Tell(Protocol):
    """Reports the measurement that begins."""

    def __call__(self, label: str) -> None: ...


@contextmanager
def progress(console: Console, total: int) -> Iterator[Tell]:
    """Show a bar on a terminal, and otherwise a line for each measurement."""
    if not console.is_terminal:
        numbers = iter(range(1, total + 1))
        yield lambda label: console.print(f"{next(numbers)}/{total} {label}", highlight=False, soft_wrap=True)
        return
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, completed=-1)
        yield lambda label: bar.update(task, advance=1, description=label)


def show(console: Console, found: Report) -> None:
    """Print all results."""
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    for chapter in found.chapters:
        console.print(_table(chapter))
    remarks = [*(f"note: {note}" for note in found.notes), *(f"failed: {each}" for each in found.failures)]
    for remark in (*remarks, ", ".join(f"{name} {value}" for name, value in found.machine.items())):
        console.print(remark, highlight=False, markup=False, soft_wrap=True)


def _table(chapter: Chapter) -> Table:
    table = Table(title=chapter.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in ("", *chapter.columns, "ratio"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    for line in chapter.lines:
        cells = [number(line.median(column)) for column in chapter.columns]
        table.add_row(line.label, line.unit, *cells, _ratio(line), _goal(line))
    table.add_row()
    return table


def number(value: float | None) -> str:
    """Write a figure with three significant digits, or a hyphen."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _ratio(line: Line) -> str:
    return "" if line.ratio is None else f"[bold]{line.ratio:.2f}[/bold]"


def _goal(line: Line) -> str:
    if line.goal is None:
        return ""
    verdict = {True: "[green]reached[/green]", False: "[red]missed[/red]", None: ""}[line.reached]
    return f"{line.goal}  {verdict}"
