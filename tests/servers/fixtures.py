"""The servers, as fixtures: started by the first test that asks, stopped after the last."""

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
    """Hold this process's ports before any test counts what it opens."""
    hold_ports()


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A temporary folder that servers can enter under users of their own (pytest's are closed to them)."""
    folder = Path(tempfile.mkdtemp(prefix="geomail-tests-"))
    folder.chmod(0o755)
    mask = os.umask(0o022)
    yield folder
    os.umask(mask)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def certificates(servers_folder: Path) -> Certificates:
    """A certificate authority of our own, and certificates good and bad."""
    folder = servers_folder / "certificates"
    folder.mkdir()
    return Certificates(folder)


@pytest.fixture(scope="session")
def dovecot_server(servers_folder: Path, certificates: Certificates) -> Iterator[Dovecot]:
    """The running Dovecot, whatever is in its mailboxes."""
    folder = servers_folder / "dovecot"
    folder.mkdir()
    server = Dovecot(folder, certificates)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postfix(servers_folder: Path, certificates: Certificates, dovecot_server: Dovecot) -> Iterator[Postfix]:
    """A Postfix that verifies logins at Dovecot, and delivers to its mailboxes."""
    folder = servers_folder / "postfix"
    folder.mkdir()
    server = Postfix(folder, certificates, dovecot_server)
    yield server
    server.stop()


@pytest.fixture
def dovecot(dovecot_server: Dovecot) -> Dovecot:
    """A Dovecot whose mailboxes are empty."""
    for account in ACCOUNTS:
        dovecot_server.empty(account)
    return dovecot_server


@pytest.fixture
def auth_http() -> Iterator[AuthService]:
    """An auth_http service on a loopback port."""
    service = AuthService()
    with listening(service):
        yield service


@pytest.fixture
def geomail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Geomail]]:
    """Runs ``geomail serve`` with the configuration it is called with, until the test ends."""
    with ExitStack() as running:
        yield lambda configuration: running.enter_context(
            serving(configuration, tmp_path_factory.mktemp("geomail"))
        )
