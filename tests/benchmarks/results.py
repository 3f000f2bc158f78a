"""The results of the measurements, and their goals."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tests.benchmarks.stand import Stand

Kind = Literal["ratio", "value", "difference"]


@dataclass(frozen=True)
class Goal:
    """A limit for a line: for the ratio of two of its columns, for their difference, or for the value."""

    limit: float
    kind: Kind = "ratio"
    at_least: bool = False

    def __str__(self) -> str:
        sign = "at least" if self.at_least else "at most"
        return f"{sign} {'+' if self.kind == 'difference' else ''}{self.limit:g}"


@dataclass
class Line:
    """One row: ``measured`` and ``base`` name the columns to compare, ``runs`` are by column."""

    name: str
    label: str
    unit: str
    measured: str
    base: str = ""
    goal: Goal | None = None
    runs: dict[str, list[float]] = field(default_factory=dict)

    def add(self, column: str, value: float) -> None:
        """Add one run."""
        self.runs.setdefault(column, []).append(value)

    def median(self, column: str) -> float | None:
        """Return the median of a column's runs; None without runs."""
        return statistics.median(self.runs[column]) if self.runs.get(column) else None

    @property
    def ratio(self) -> float | None:
        """The median of ``measured`` divided by the median of ``base``."""
        measured, base = self.median(self.measured), self.median(self.base)
        return measured / base if measured is not None and base else None

    @property
    def score(self) -> float | None:
        """The figure that the goal limits."""
        measured, base = self.median(self.measured), self.median(self.base)
        match self.goal.kind if self.goal else "ratio":
            case "value":
                return measured
            case "difference":
                return None if measured is None or base is None else measured - base
            case _:
                return self.ratio

    @property
    def reached(self) -> bool | None:
        """True if the goal is reached; None without a goal or a figure."""
        if self.goal is None or self.score is None:
            return None
        return self.score >= self.goal.limit if self.goal.at_least else self.score <= self.goal.limit

    def as_json(self) -> dict[str, Any]:
        """Return everything, with every run."""
        return {
            "name": self.name,
            "label": self.label,
            "unit": self.unit,
            "figures": {
                column: {"median": self.median(column), "runs": runs} for column, runs in self.runs.items()
            },
            "compared": [self.measured, self.base] if self.base else [self.measured],
            "ratio": self.ratio,
            "goal": str(self.goal) if self.goal else None,
            "reached": self.reached,
        }


@dataclass
class Chapter:
    """A table of results."""

    name: str
    title: str
    columns: list[str]
    lines: list[Line]

    def as_json(self) -> dict[str, Any]:
        """Return everything, with every run."""
        return {
            "name": self.name,
            "title": self.title,
            "columns": self.columns,
            "lines": [line.as_json() for line in self.lines],
        }


@dataclass(frozen=True)
class Amounts:
    """The amount to measure: ``scale`` 1 is a full run. ``only`` names tables and workloads; empty: all."""

    turns: int = 3
    scale: float = 1.0
    only: frozenset[str] = frozenset()

    def of(self, full: int, least: int) -> int:
        """Return this scale's part of a full run's amount, at least ``least``."""
        return max(least, round(full * self.scale))

    def wants(self, *names: str) -> bool:
        """Tell whether one of these names is chosen."""
        return not self.only or not self.only.isdisjoint(names)


@dataclass(frozen=True)
class Step:
    """One measurement, which adds its own result; steps of a lower ``turn`` come first."""

    turn: int
    label: str
    run: Callable[[], None]


class Subject(Protocol):
    """A thing to measure: its steps fill the chapter."""

    chapter: Chapter

    def __init__(self, stand: Stand, amounts: Amounts) -> None: ...

    def steps(self) -> list[Step]:
        """Return the steps in their order."""
        ...


@dataclass(frozen=True)
class Report:
    """All results; ``failures`` are the measurements that failed."""

    machine: dict[str, str]
    amounts: Amounts
    chapters: list[Chapter]
    notes: list[str]
    failures: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return everything, with every run."""
        return {
            "machine": self.machine,
            "turns": self.amounts.turns,
            "scale": self.amounts.scale,
            "notes": self.notes,
            "failures": self.failures,
            "chapters": [chapter.as_json() for chapter in self.chapters],
        }
