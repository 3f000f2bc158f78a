"""Tests in several processes: each runs once, and every failure is reported."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.support import SLICE, free_port
from tests.suite.__main__ import closing_line, of_compiled_modules, report
from tests.suite.passes import Outcome, Pass

ROOT = Path(__file__).parents[2]
NOTES = """
import pytest

@pytest.fixture(scope="module", autouse=True)
def whole():
    yield
    note("end")

def note(what):
    with open({file!r}, "a") as notes:
        notes.write(f"{{__name__}} {{what}}\\n")

@pytest.mark.parametrize("number", range(3))
def test(number):
    note(number)
"""
BAD = """
import pytest

def test_that_fails():
    assert "this" == "that"

def test_that_is_skipped():
    pytest.skip("for a reason")

@pytest.fixture
def broken():
    raise RuntimeError("no fixture")

def test_whose_fixture_fails(broken):
    pass
"""
Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run files of tests, given by name, in two processes."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -ra --import-mode=importlib\n")

    def run_files(**files: str) -> Outcome:
        for name, text in files.items():
            (tmp_path / f"test_{name}.py").write_text(text)
        names = [f"test_{name}.py" for name in files]
        return Pass("few", Path(sys.executable), tmp_path, names).run(2)

    return run_files


def test_each_test_is_run_once_and_each_file_by_one_process(run: Run, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    names = [f"n{number}" for number in range(8)]

    outcome = run(**dict.fromkeys(names, NOTES.format(file=str(notes))))

    assert not outcome.failed, outcome.output
    assert outcome.counts == {"passed": 24}
    assert sorted(notes.read_text().splitlines()) == sorted(
        f"test_{name} {what}" for name in names for what in (0, 1, 2, "end")
    )


def test_failures_and_skipped_tests_are_shown(run: Run) -> None:
    outcome = run(bad=BAD, good="def test(): pass\n")

    assert outcome.failed
    assert outcome.counts == {"passed": 1, "failed": 1, "skipped": 1, "error": 1}
    for words in ("assert 'this' == 'that'", "RuntimeError: no fixture", "SKIPPED [1]", "for a reason"):
        assert words in outcome.output


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("import os\ndef test(): os._exit(7)\n", "ended with 7", id="a process that ends"),
        pytest.param("import nothing_of_this_name\n", "nothing_of_this_name", id="a file without a meaning"),
        pytest.param("def test_misspelt(here): pass\n", "fixture 'here' not found", id="no such fixture"),
    ],
)
def test_failures_outside_of_tests(text: str, complaint: str, run: Run) -> None:
    outcome = run(bad=text, good="def test(): pass\n")

    assert outcome.failed
    assert complaint in outcome.output


def test_the_report_ends_with_what_failed_and_a_line_as_pytest_writes_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, bad = Outcome("pure", 61.0, output="fine\n"), Outcome("lint", 1.0, failed=True, output="not so\n")
    good.counts.update(passed=5, skipped=1)
    good.phases = [(float(number), f"call     test_{number}") for number in range(20)]

    report([bad, good], 75.5)

    *_, failure, _, parts, last = capsys.readouterr().out.splitlines()
    assert failure == "not so"
    assert parts == "lint 1 s, pure 1 min 1 s"
    assert last.strip("= ") == "failed: lint; 5 passed, 1 skipped in 75.50s (1 min 15 s)"
    assert re.fullmatch(r"=+ 5 passed, 1 skipped in 61\.00s \(1 min 1 s\) =+", closing_line([good], 61))


def test_the_ten_slowest_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome("pure", phases=[(float(number), f"call     test_{number}") for number in range(20)])

    report([outcome], 1)

    printed = re.findall(r"^ *(\d+)\.00 s call +test_(\d+)$", capsys.readouterr().out, re.MULTILINE)
    assert printed == [(str(number), str(number)) for number in range(19, 9, -1)]


def test_the_compiled_build_is_tested_where_its_modules_are() -> None:
    tests = of_compiled_modules()

    assert {"tests/auth", "tests/e2e", "tests/net", "tests/protocols", "tests/test_compiled.py"} <= set(tests)
    assert "tests/config" not in tests


def test_no_other_process_takes_ports_of_this_one() -> None:
    script = "from tests.servers.support import free_port; print(free_port())"
    command = [sys.executable, "-c", script]
    other = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)

    assert int(other.stdout) // SLICE != free_port() // SLICE
