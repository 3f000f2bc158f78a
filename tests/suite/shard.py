"""A pytest plugin: this process runs the test files that no other process of the pass has taken.

Each process collects all tests, and then takes one file after the other. So no process is idle while there
are files to run. Each process has its own fixtures of the scope "session". ``GEOMAIL_TESTS_SHARD`` must name
a file for the results of this process, in a folder that all processes of the pass share.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

VARIABLE = "GEOMAIL_TESTS_SHARD"
#: Folders whose files take longest: taken first, so that the processes end at about the same time.
LONG_FOLDERS = ("cli", "e2e", "process", "benchmarks", "console", "twin", "net", "preview")


def pytest_configure(config: pytest.Config) -> None:
    """Read where the results go; remove the variable, so that processes of tests do not see it."""
    folder, _, name = os.environ.pop(VARIABLE).rpartition("/")
    config.pluginmanager.register(Shard(config, Path(folder), Path(folder, name)), "geomail-shard")


class Shard:
    """The hooks that choose the tests, and write down their results."""

    def __init__(self, config: pytest.Config, folder: Path, results: Path) -> None:
        self._config = config
        self._taken = folder / "taken"
        self._taken.mkdir(exist_ok=True)
        self._results = results.open("a", buffering=1)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests that no other process has taken, as pytest's own loop does."""
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            raise session.Interrupted(f"{session.testsfailed} errors during collection")
        self._say(collected=len(session.items))
        items = self._items(session)
        item = next(items, None)
        while item is not None:
            following = next(items, None)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            item = following
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down the result of a phase of a test in pytest's word, which may be empty."""
        word, *_ = self._config.hook.pytest_report_teststatus(report=report, config=self._config)
        self._say(node=report.nodeid, when=report.when, seconds=report.duration, outcome=word)

    def _items(self, session: pytest.Session) -> Iterator[pytest.Item]:
        files: dict[Path, list[pytest.Item]] = {}
        for item in session.items:
            files.setdefault(item.path, []).append(item)
        for path in sorted(files, key=_rank):
            if self._take(path.relative_to(self._config.rootpath)):
                yield from files[path]

    def _take(self, path: Path) -> bool:
        try:
            os.close(os.open(self._taken / str(path).replace("/", "+"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _say(self, **facts: object) -> None:
        self._results.write(json.dumps(facts) + "\n")


def _rank(path: Path) -> int:
    folder = path.parent.name
    return LONG_FOLDERS.index(folder) if folder in LONG_FOLDERS else len(LONG_FOLDERS)
