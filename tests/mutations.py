"""Breaks the source in the ways of ``mutations.toml``, one at a time, and runs the tests that must notice.

    python -m tests.mutations [--jobs 2] [WORD ...]

Each change is made to a copy of the tree, never to the tree itself. With words, only the
rows are tried whose file, text or tests hold one of them. The exit status is 1 if a row survives.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from gevent.pool import Pool

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".toml")
#: Seconds for the tests of one row, and for each of them.
_PATIENCE, _LONGEST_TEST = 300, 25

Outcome = Literal["caught", "SURVIVED", "BROKEN"]


@dataclass(frozen=True)
class Mutation:
    """One change of the source: ``old`` occurs once in ``file`` and becomes ``new``.

    ``tests`` is what pytest is given. ``stands_for`` names the tests that were thinned out and
    caught it before; it is empty where the row only guards what is at the core.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    stands_for: str = ""

    def applied(self, text: str) -> str:
        """The changed text. Raises ValueError if ``old`` is not there once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} holds {self.old!r} {text.count(self.old)} times")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Found:
    """The outcome of one row: ``by`` is the first test that noticed, or why nothing can be said."""

    mutation: Mutation
    outcome: Outcome
    by: str
    seconds: float


def mutations() -> list[Mutation]:
    """All rows of the table."""
    rows = tomllib.loads(TABLE.read_text())["mutation"]
    return [Mutation(**{**row, "tests": tuple(row["tests"].split())}) for row in rows]


def copied(target: Path) -> None:
    """Copy what git knows of the tree, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


class Trees:
    """Copies of the tree: each is used for one row after the other, as Python's caches in it save time."""

    def __init__(self, folder: Path, number: int) -> None:
        self._free = [folder / str(each) for each in range(number)]
        self._clock = itertools.count(int(time.time()) + 1)
        for tree in self._free:
            copied(tree)

    @contextmanager
    def changed(self, mutation: Mutation) -> Iterator[Path]:
        """A copy in which the change is made, until the block ends."""
        tree = self._free.pop()
        path = tree / mutation.file
        whole = path.read_text()
        try:
            self._write(path, mutation.applied(whole))
            yield tree
        finally:
            self._write(path, whole)
            self._free.append(tree)

    def _write(self, path: Path, text: str) -> None:
        """Write a file with a time of its own: by that, and to the second, Python knows its caches."""
        path.write_text(text)
        os.utime(path, 2 * (next(self._clock),))


def tried(mutation: Mutation, trees: Trees) -> Found:
    """Run the row's tests on a changed copy of the tree."""
    began = time.monotonic()
    with trees.changed(mutation) as tree:
        try:
            done = _tested(tree, mutation.tests)
        except subprocess.TimeoutExpired:
            return Found(mutation, "BROKEN", f"not done in {_PATIENCE} s", time.monotonic() - began)
    seconds = time.monotonic() - began
    if done.returncode == 0:
        return Found(mutation, "SURVIVED", "", seconds)
    noticed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode != 1 or noticed is None:
        return Found(mutation, "BROKEN", (done.stdout + done.stderr)[-400:], seconds)
    return Found(mutation, "caught", noticed[1], seconds)


def _tested(tree: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-x", "-rfE", "-p", "no:cacheprovider", f"--timeout={_LONGEST_TEST}", "--tb=no"]
    own = ["-o", "addopts=--import-mode=importlib"]
    path = os.pathsep.join((str(tree), str(tree / "cli")))  # ahead of the tree that is installed
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *own, *tests],
        cwd=tree, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=_PATIENCE, check=False,
    )  # fmt: skip


def told(found: Found) -> str:
    """One line of the report."""
    row = found.mutation
    old, new = (" ".join(text.split())[:60] for text in (row.old, row.new))
    return f"{found.outcome:<8} {found.seconds:5.1f} s  {row.file}: {old} -> {new}  [{found.by}]"


def main(
    words: Annotated[list[str] | None, typer.Argument(help="Only rows that hold one of these.")] = None,
    jobs: Annotated[int, typer.Option(help="How many at a time.")] = 2,
) -> None:
    """Try the mutations, and print a line for each."""
    rows = [
        row
        for row in mutations()
        if not words or any(word in f"{row.file} {row.old} {row.tests} {row.stands_for}" for word in words)
    ]
    left = []
    with tempfile.TemporaryDirectory(prefix="geomail-mutations-") as folder:
        trees = Trees(Path(folder), jobs)
        for found in Pool(jobs).imap_unordered(lambda row: tried(row, trees), rows):
            typer.echo(told(found))
            if found.outcome != "caught":
                left.append(found)
    typer.echo(f"{len(rows) - len(left)} of {len(rows)} mutations were caught")
    if left:
        raise typer.Exit(1)


if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()
    typer.run(main)
