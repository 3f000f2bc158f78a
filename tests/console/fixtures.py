"""Servers with a control socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.support import Asker, Record, Running, eventually, running


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a geomail with two workers, which tests may share at the same time."""
    with running(tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def shared(running_server: Running) -> Iterator[Running]:
    """Return a geomail with two workers that tests share: they use it and never harm it."""
    yield running_server
    running_server.leave()


@pytest.fixture
def asker(shared: Running) -> Iterator[Asker]:
    """Connect to the control socket of the shared geomail."""
    with shared.asker() as asker:
        yield asker


@pytest.fixture
def empty(shared: Running) -> Running:
    """Return the shared geomail once it has no client and no viewer any more."""
    with shared.asker() as asker:
        eventually(lambda: _is_empty(asker.done("status")))
    return shared


def _is_empty(status: Record) -> bool:
    return bool(status["sessions"] == status["viewers"] == 0)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Running]:
    """Run a geomail with two workers for one test."""
    with running(tmp_path) as server:
        yield server
