"""Break the source in the ways of ``mutations.toml``, one at a time, and run the tests that must fail.

    python -m tests.mutations [--jobs 2] [WORD ...]

Each change is made to a copy of the tree, never to the tree itself. Words choose the rows
whose file, text or tests contain one of them. The exit status is 1 if the tests miss a row's fault.
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
#: Seconds for all tests of one row, and for a single test.
_PATIENCE, _LONGEST_TEST = 300, 25

Outcome = Literal["caught", "SURVIVED", "BROKEN"]


@dataclass(frozen=True)
class Mutation:
    """One change of the source: ``old`` occurs once in ``file`` and becomes ``new``.

    ``tests`` are pytest's arguments. ``stands_for`` names the removed tests that caught this
    fault before; it is empty if the row only guards the core of the code.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    stands_for: str = ""

    def apply(self, text: str) -> str:
        """Return the changed text. Raises ValueError unless ``old`` occurs exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} holds {self.old!r} {text.count(self.old)} times")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Result:
    """The outcome of one row: ``by`` is the first test that failed, or the reason why no test could tell."""

    mutation: Mutation
    outcome: Outcome
    by: str
    seconds: float


def mutations() -> list[Mutation]:
    """Read all rows of the table."""
    rows = tomllib.loads(TABLE.read_text())["mutation"]
    return [Mutation(**{**row, "tests": tuple(row["tests"].split())}) for row in rows]


def copy_tree(target: Path) -> None:
    """Copy the files that git knows, as they are now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


class Trees:
    """Copies of the tree. Each is reused for the next row, because its caches of Python's save time."""

    def __init__(self, folder: Path, number: int) -> None:
        self._free = [folder / str(each) for each in range(number)]
        self._clock = itertools.count(int(time.time()) + 1)
        for tree in self._free:
            copy_tree(tree)

    @contextmanager
    def changed(self, mutation: Mutation) -> Iterator[Path]:
        """Make the change in a copy, until the block ends."""
        tree = self._free.pop()
        path = tree / mutation.file
        whole = path.read_text()
        try:
            self._write(path, mutation.apply(whole))
            yield tree
        finally:
            self._write(path, whole)
            self._free.append(tree)

    def _write(self, path: Path, text: str) -> None:
        """Write a file with a time of its own: Python compares this time, in seconds, with its cache."""
        path.write_text(text)
        os.utime(path, 2 * (next(self._clock),))


def try_row(mutation: Mutation, trees: Trees) -> Result:
    """Run the row's tests on a changed copy of the tree."""
    began = time.monotonic()
    with trees.changed(mutation) as tree:
        try:
            done = _run_tests(tree, mutation.tests)
        except subprocess.TimeoutExpired:
            return Result(mutation, "BROKEN", f"not done in {_PATIENCE} s", time.monotonic() - began)
    seconds = time.monotonic() - began
    if done.returncode == 0:
        return Result(mutation, "SURVIVED", "", seconds)
    noticed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode != 1 or noticed is None:
        return Result(mutation, "BROKEN", (done.stdout + done.stderr)[-400:], seconds)
    return Result(mutation, "caught", noticed[1], seconds)


def _run_tests(tree: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    options = ["-q", "-x", "-rfE", "-p", "no:cacheprovider", f"--timeout={_LONGEST_TEST}", "--tb=no"]
    own = ["-o", "addopts=--import-mode=importlib"]
    path = os.pathsep.join((str(tree), str(tree / "cli")))  # before the installed tree
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *own, *tests],
        cwd=tree, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=_PATIENCE, check=False,
    )  # fmt: skip


def report_line(found: Result) -> str:
    """Return one line of the report."""
    row = found.mutation
    old, new = (" ".join(text.split())[:60] for text in (row.old, row.new))
    return f"{found.outcome:<8} {found.seconds:5.1f} s  {row.file}: {old} -> {new}  [{found.by}]"


def main(
    words: Annotated[list[str] | None, typer.Argument(help="Only rows that contain one of these.")] = None,
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
        for found in Pool(jobs).imap_unordered(lambda row: try_row(row, trees), rows):
            typer.echo(report_line(found))
            if found.outcome != "caught":
                left.append(found)
    typer.echo(f"{len(rows) - len(left)} of {len(rows)} mutations were caught")
    if left:
        raise typer.Exit(1)


if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()
    typer.run(main)
