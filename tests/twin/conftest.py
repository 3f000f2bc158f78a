"""nginx and geomail at the same time, each with its own recording auth service and mail server."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.certificates import Certificates
from tests.twin.proxies import NAMES, Name, Proxy, Way, running
from tests.twin.recorders import AuthRecorder, BackendRecorder, recording
from tests.twin.ways import ALL_WAYS

Proxies = Callable[[Name], Proxy]
Recorders = Mapping[Name, tuple[AuthRecorder, BackendRecorder]]


@pytest.fixture(scope="session")
def recorders() -> Iterator[Recorders]:
    """Run an auth service and a mail server for each proxy, so that tests can use both proxies at once."""
    with ExitStack() as opened:
        yield {name: opened.enter_context(recording()) for name in NAMES}


@pytest.fixture(scope="session")
def proxies(recorders: Recorders, certificates: Certificates, servers_folder: Path) -> Iterator[Proxies]:
    """Run both proxies, on one nginx.conf except for their ports."""
    started: dict[Name, Proxy] = {}
    with ExitStack() as ending:
        for name in NAMES:
            folder = servers_folder / f"twin-{name}"
            folder.mkdir()
            ways: set[Way] = ALL_WAYS
            auth, _ = recorders[name]
            started[name] = ending.enter_context(
                running(name, sorted(ways, key=str), auth.port, certificates, folder)
            )
        yield started.__getitem__
