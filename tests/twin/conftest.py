"""nginx and geomail, side by side, with a recording auth service and mail server behind both."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.certificates import Certificates
from tests.twin.proxies import Name, Proxy, Way, running
from tests.twin.recorders import AuthRecorder, BackendRecorder, recording
from tests.twin.ways import ALL_WAYS

Proxies = Callable[[Name], Proxy]


@pytest.fixture(scope="session")
def recorders() -> Iterator[tuple[AuthRecorder, BackendRecorder]]:
    """The auth service and the mail server behind both."""
    with recording() as both:
        yield both


@pytest.fixture(scope="session")
def proxies(
    recorders: tuple[AuthRecorder, BackendRecorder], certificates: Certificates, servers_folder: Path
) -> Iterator[Proxies]:
    """Each of the two, started by the first test that asks for it."""
    started: dict[Name, Proxy] = {}
    with ExitStack() as ending:

        def get(name: Name) -> Proxy:
            if name not in started:
                folder = servers_folder / f"twin-{name}"
                folder.mkdir()
                ways: set[Way] = ALL_WAYS
                started[name] = ending.enter_context(
                    running(name, sorted(ways, key=str), recorders[0].port, certificates, folder)
                )
            return started[name]

        yield get
