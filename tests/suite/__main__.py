"""Run checks and tests, as ``make test`` does: ``python -m tests.suite --python PYTHON PART...``.

A part is ``lint``, ``pure`` (all tests, on the sources), ``compiled`` (on the compiled build: the tests of
the compiled modules, and the end-to-end tests) or ``long`` (tests that take minutes by nature). Style, types
and the compiler need one core. They run at the same time as the tests on the sources, which wait more than
they compute.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.suite.passes import Outcome, Pass, summary

ROOT = Path(__file__).parents[2]
PARTS = ("lint", "pure", "compiled", "long")
PROCESSES = 3
SLOWEST = 10
#: Tests of compiled modules that the module's name does not lead to.
FURTHER = ("tests/e2e", "tests/test_compiled.py", "tests/test_smoke.py")
#: Files that tests read, other than the sources.
NEEDED = ("tests", "man", "samples", "Makefile", "LICENSE", "pyproject.toml", "requirements.lock")
NO_COMPILER = 3


def main() -> int:
    """Run the parts of the command line; return the exit status, 0 if all of them passed."""
    began = time.monotonic()
    options = arguments()
    with ThreadPoolExecutor(1) as other_core:
        outcomes = list(run(options, other_core))
    report(outcomes, time.monotonic() - began)
    return int(any(outcome.failed for outcome in outcomes))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.suite", description=__doc__)
    parser.add_argument("--python", required=True, help="the interpreter that environments are made with")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="how many run tests at a time")
    parser.add_argument("parts", nargs="+", choices=PARTS)
    return parser.parse_args()


def run(options: argparse.Namespace, other_core: ThreadPoolExecutor) -> Iterator[Outcome]:
    """Run the parts; style, types and the compiler run on the other core during the tests."""
    ours, parts = Path(sys.executable), options.parts
    lint = other_core.submit(check_style) if "lint" in parts else None
    compiler = other_core.submit(compile_modules, options.python) if "compiled" in parts else None
    if "pure" in parts:
        yield Pass("pure", ours, ROOT, ["-m", "not long"]).run(options.processes)
    if "long" in parts:
        yield Pass("long", ours, ROOT, ["-m", "long"]).run(1)
    if lint:
        yield lint.result()
    if compiler:
        yield from compiled_pass(compiler, options.processes)


def check_style() -> Outcome:
    """Check style and types."""
    scripts = Path(sys.executable).parent
    return command("lint", [str(scripts / "ruff"), "check"], [str(scripts / "mypy")])


def environment() -> Path:
    """Return the path of the compiled build's environment."""
    name = Path(sys.prefix).name
    return ROOT / name.replace(".venv", ".venv-compiled", 1)


def compile_modules(python: str) -> Outcome:
    """Make the compiled build, unless it exists."""
    return command("compile", ["tests/compiled.sh", python, str(environment())])


def compiled_pass(compiler: Future[Outcome], processes: int) -> Iterator[Outcome]:
    """Run the tests of the compiled modules, in a folder without the sources: Python would import these."""
    built = compiler.result()
    yield built
    if built.failed or not (environment() / "compiled-of").exists():
        return
    with without_sources() as folder:
        os.environ["GEOMAIL_COMPILED"] = "1"
        python = environment() / "bin" / "python"
        yield Pass("compiled", python, folder, ["-m", "not long", *of_compiled_modules()]).run(processes)


@contextmanager
def without_sources() -> Iterator[Path]:
    """Make a folder with all that tests need, except geomail's sources."""
    with tempfile.TemporaryDirectory(prefix="geomail-compiled-") as folder:
        for path in (*(ROOT / name for name in NEEDED), *ROOT.glob("*.md")):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, Path(folder, path.name))
        yield Path(folder)


def of_compiled_modules() -> list[str]:
    """List the tests of the modules in pyproject.toml, and the end-to-end tests."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    modules = [Path(module) for module in build["targets"]["wheel"]["hooks"]["custom"]["modules"]]
    tests = {f"tests/{part}" for module in modules for part in (module.parts[1], f"test_{module.name}")}
    return sorted(test for test in {*tests, *FURTHER} if (ROOT / test).exists())


def command(name: str, *commands: Sequence[str]) -> Outcome:
    """Run commands one after the other, until one fails."""
    began, outcome = time.monotonic(), Outcome(name)
    for words in commands:
        done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        outcome.output += done.stdout
        if done.returncode:
            outcome.failed = True
            break
    outcome.seconds = time.monotonic() - began
    print(f"{name}: {'failed' if outcome.failed else 'done'} in {outcome.seconds:.0f} s", flush=True)
    return outcome


def report(outcomes: Sequence[Outcome], seconds: float) -> None:
    """Print the slowest tests, then the failures, then a summary in pytest's words."""
    phases = sorted((phase for outcome in outcomes for phase in outcome.phases), reverse=True)
    if phases:
        print(f"\nthe {SLOWEST} slowest:")
    for took, what in phases[:SLOWEST]:
        print(f"{took:6.2f} s {what}")
    for outcome in sorted(outcomes, key=lambda outcome: outcome.failed):
        if outcome.output:
            print(f"\n{outcome.name}:\n{outcome.output.rstrip()}")
    print("\n" + ", ".join(f"{outcome.name} {minutes(outcome.seconds)}" for outcome in outcomes))
    print(closing_line(outcomes, seconds))


def closing_line(outcomes: Iterable[Outcome], seconds: float) -> str:
    """Return the last line, as pytest writes it."""
    counts: Counter[str] = sum((outcome.counts for outcome in outcomes), Counter())
    broken = [outcome.name for outcome in outcomes if outcome.failed]
    failed = f"failed: {', '.join(broken)}; " if broken else ""
    return f" {failed}{summary(counts)} in {seconds:.2f}s ({minutes(seconds)}) ".center(80, "=")


def minutes(seconds: float) -> str:
    """Write a duration in minutes and seconds."""
    return f"{int(seconds) // 60} min {int(seconds) % 60} s" if seconds >= 60 else f"{seconds:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
