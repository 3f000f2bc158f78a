"""geomail between stock clients and real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.proxy import CLIENT, CLIENT_NAME, Proxy, Servers, proxying
from tests.net.name_server import NameServer
from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot
from tests.servers.postfix import Postfix

ZONE = {
    "2.0.0.127.in-addr.arpa. PTR": (f"2.0.0.127.in-addr.arpa. 60 IN PTR {CLIENT_NAME}.",),
    f"{CLIENT_NAME}. A": (f"{CLIENT_NAME}. 60 IN A {CLIENT}",),
}


@pytest.fixture(scope="session")
def servers(postfix: Postfix, dovecot_server: Dovecot, certificates: Certificates) -> Iterator[Servers]:
    """Postfix, Dovecot, and a name server that knows the SMTP clients' address."""
    with NameServer(ZONE) as names:
        yield Servers(postfix, dovecot_server, certificates, names)


@pytest.fixture(scope="session")
def running_proxy(servers: Servers, servers_folder: Path) -> Iterator[Proxy]:
    """geomail for every protocol, auth source and kind of TLS, whatever is in the mailboxes."""
    folder = servers_folder / "geomail"
    folder.mkdir()
    with proxying(servers, folder) as proxy:
        yield proxy


@pytest.fixture
def proxy(running_proxy: Proxy, dovecot: Dovecot) -> Proxy:
    """geomail for every protocol, auth source and kind of TLS, in front of empty mailboxes."""
    del dovecot
    return running_proxy
