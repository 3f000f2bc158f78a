"""The servers as fixtures: the first test that uses one starts it; it stops after the last test."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.accounts import ACCOUNTS
from tests.servers.auth_http import AuthService, listening
from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot
from tests.servers.geomail import Geomail, serving
from tests.servers.postfix import Postfix
from tests.servers.support import hold_ports


def pytest_sessionstart() -> None:
    """Reserve this process's ports before a test counts the files that it opens."""
    hold_ports()


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Make a temporary folder that servers with their own users can enter (they cannot enter pytest's)."""
    folder = Path(tempfile.mkdtemp(prefix="geomail-tests-"))
    folder.chmod(0o755)
    mask = os.umask(0o022)
    yield folder
    os.umask(mask)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def certificates(servers_folder: Path) -> Certificates:
    """Make a certificate authority, with good and bad certificates."""
    folder = servers_folder / "certificates"
    folder.mkdir()
    return Certificates(folder)


@pytest.fixture(scope="session")
def dovecot_server(servers_folder: Path, certificates: Certificates) -> Iterator[Dovecot]:
    """Run a Dovecot; its mailboxes may hold mail."""
    folder = servers_folder / "dovecot"
    folder.mkdir()
    server = Dovecot(folder, certificates)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postfix(servers_folder: Path, certificates: Certificates, dovecot_server: Dovecot) -> Iterator[Postfix]:
    """Run a Postfix that verifies logins at Dovecot, and delivers to its mailboxes."""
    folder = servers_folder / "postfix"
    folder.mkdir()
    server = Postfix(folder, certificates, dovecot_server)
    yield server
    server.stop()


@pytest.fixture
def dovecot(dovecot_server: Dovecot) -> Dovecot:
    """Empty the mailboxes of the running Dovecot."""
    for account in ACCOUNTS:
        dovecot_server.empty(account)
    return dovecot_server


@pytest.fixture
def auth_http() -> Iterator[AuthService]:
    """Run an auth service on a loopback port."""
    service = AuthService()
    with listening(service):
        yield service


@pytest.fixture
def geomail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Geomail]]:
    """Return a function that runs ``geomail serve`` with a configuration until the test ends."""
    with ExitStack() as running:
        yield lambda configuration: running.enter_context(
            serving(configuration, tmp_path_factory.mktemp("geomail"))
        )
