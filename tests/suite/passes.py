"""One pass over tests, in several pytest processes at a time, reported as by one pytest."""

import json
import os
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.suite.shard import VARIABLE

#: The words that pytest does not count as failures.
HARMLESS = {"passed", "skipped", "xfailed", "deselected"}


@dataclass
class Outcome:
    """The outcome of a part: of a pass over tests, or of a command."""

    name: str
    seconds: float = 0
    failed: bool = False
    output: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    phases: list[tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Pass:
    """Tests to run: the interpreter, the folder, and pytest's options that choose the tests."""

    name: str
    python: Path
    root: Path
    options: Sequence[str]

    def run(self, processes: int) -> Outcome:
        """Run the tests in so many processes; print a line for each finished file."""
        began = time.monotonic()
        outcome = Outcome(self.name)
        with tempfile.TemporaryDirectory(prefix="geomail-shards-") as folder, ExitStack() as running:
            shards = [running.enter_context(_Shard(self, Path(folder, str(n)))) for n in range(processes)]
            while sum(shard.goes_on(outcome) for shard in shards):
                time.sleep(0.1)
            for shard in shards:
                shard.conclude(outcome)
            _check_that_all_ran(shards, outcome)
        outcome.seconds = time.monotonic() - began
        return outcome


class _Shard:
    """A pytest process, its output, and its results so far."""

    def __init__(self, tests: Pass, results: Path) -> None:
        self.collected, self.ran = 0, 0
        self._name, self._results = tests.name, results
        self._command = [
            *(str(tests.python), "-m", "pytest", "-p", "tests.suite.shard", "-p", "no:cacheprovider"),
            *("--quiet", "--color=no", *tests.options),
        ]
        self._root = tests.root
        self._file, self._counts, self._seconds = "", Counter[str](), 0.0

    def __enter__(self) -> "_Shard":
        self._output = tempfile.TemporaryFile("w+", errors="replace")
        self._results.touch()
        self._lines = self._results.open()
        self._process = subprocess.Popen(
            self._command,
            cwd=self._root,
            env=os.environ | {VARIABLE: str(self._results)},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        self._output.close()
        self._lines.close()

    def goes_on(self, outcome: Outcome) -> bool:
        """Read the new results; return False if the process had ended before."""
        ended = self._process.poll() is not None
        for result in self._new():
            if "collected" in result:
                self.collected = result["collected"]
            else:
                self._note(result, outcome)
        return not ended

    def conclude(self, outcome: Outcome) -> None:
        """Add the output of the process, after its end."""
        self._print_file("")
        self._output.seek(0)
        said = self._output.read()
        _, heading, report = said.partition("\n==")
        if self._process.returncode == 0:
            outcome.output += "".join(re.findall("^SKIPPED .*\n", report, re.MULTILINE))
        else:
            outcome.failed = True
            outcome.output += f"=={report}" if heading else said
            outcome.output += f"\n{self._name}: pytest ended with {self._process.returncode}\n"

    def _new(self) -> Iterator[dict[str, Any]]:
        while (line := self._lines.readline()).endswith("\n"):
            yield json.loads(line)
        self._lines.seek(self._lines.tell() - len(line))

    def _note(self, result: dict[str, Any], outcome: Outcome) -> None:
        node, when, seconds, word = (result[name] for name in ("node", "when", "seconds", "outcome"))
        file = node.partition("::")[0]
        if file != self._file:
            self._print_file(file)
        self._seconds += seconds
        self.ran += when == "setup"
        if word:
            self._counts[word] += 1
            outcome.counts[word] += 1
        outcome.phases.append((seconds, f"{when:8} {node}"))

    def _print_file(self, following: str) -> None:
        if self._file:
            print(f"{self._name}: {self._file}: {summary(self._counts)}, {self._seconds:.1f} s", flush=True)
        self._file, self._seconds = following, 0.0
        self._counts.clear()


def summary(counts: Counter[str]) -> str:
    """Write the counts as pytest does, failures first."""
    words = sorted(counts, key=lambda word: (word in HARMLESS, word == "skipped"))
    return ", ".join(f"{counts[word]} {word}" for word in words) or "no tests ran"


def _check_that_all_ran(shards: Sequence[_Shard], outcome: Outcome) -> None:
    """Check that no test is lost: all processes see the same tests, and each test runs once."""
    seen, ran = {shard.collected for shard in shards}, sum(shard.ran for shard in shards)
    if not outcome.failed and seen != {ran}:
        outcome.failed = True
        outcome.output += f"{outcome.name}: {ran} tests were run, and the processes saw {sorted(seen)}\n"
