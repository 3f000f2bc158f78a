"""Servers with a control socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.support import Asker, Record, Running, eventually, running


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A geomail with two workers, whatever others do there."""
    with running(tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def shared(running_server: Running) -> Iterator[Running]:
    """A geomail with two workers that is only asked and used, never hurt."""
    yield running_server
    running_server.leave()


@pytest.fixture
def asker(shared: Running) -> Iterator[Asker]:
    """A connection to its control socket."""
    with shared.asker() as asker:
        yield asker


@pytest.fixture
def empty(shared: Running) -> Running:
    """The shared geomail, once nobody is connected to it or watches it any more."""
    with shared.asker() as asker:
        eventually(lambda: _is_empty(asker.done("status")))
    return shared


def _is_empty(status: Record) -> bool:
    return bool(status["sessions"] == status["viewers"] == 0)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Running]:
    """A geomail with two workers that a test has for itself."""
    with running(tmp_path) as server:
        yield server
