"""Files and greenlets, counted around each test: a test must leave none behind."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import gevent
import pytest

from geomail.net import raw_wire
from geomail.net.tls import TlsSide
from geomail.net.tls_contexts import make_client_context
from tests.net.legs import Legs, leg
from tests.net.pki import Pki
from tests.net.support import asked, listener_context, noting_read
from tests.servers.certificates import Certificates

#: Turns of the loop until everything that a test has ended must be gone.
ENDINGS = 10


def _open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208  a Path for each would be slower than some tests


def _running() -> list[gevent.Greenlet[..., object]]:
    return [thing for thing in gc.get_objects() if isinstance(thing, gevent.Greenlet) and not thing.dead]


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    gevent.sleep(0)  # the loop opens its own files when it first runs
    gc.freeze()  # objects of before the test are not counted, and do not slow the count down
    files = _open_files()
    yield
    for _ in range(ENDINGS):
        if not _running() and _open_files() <= files:
            break
        gevent.sleep(0.001)
        gc.collect()  # a file in a cycle is closed, which is an error too: a ResourceWarning
    running, opened = _running(), _open_files() - files
    gc.unfreeze()
    assert running == []
    assert opened == set()


@pytest.fixture(autouse=True)
def reads_are_noted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(raw_wire, "read", noting_read)
    yield
    asked.clear()


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates for every result of a verification."""
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def server_side(certificates: Certificates) -> TlsSide:
    """Geomail's side of TLS towards clients."""
    return TlsSide(listener_context(certificates.server), server=True)


@pytest.fixture
def client_side(certificates: Certificates) -> TlsSide:
    """Geomail's side of TLS towards backends."""
    return TlsSide(make_client_context(ca=str(certificates.ca.certificate), verify=True), False, "localhost")


@pytest.fixture(params=["plain-plain", "tls-plain", "plain-tls", "tls-tls"])
def legs(
    request: pytest.FixtureRequest, server_side: TlsSide, client_side: TlsSide, certificates: Certificates
) -> Legs:
    """Both legs of a relay, with TLS and without, in every combination; the client's leg comes first."""
    client, backend = request.param.split("-")
    return Legs(
        leg("client", server_side if client == "tls" else None, certificates),
        leg("backend", client_side if backend == "tls" else None, certificates),
    )


@pytest.fixture
def plain_legs(certificates: Certificates) -> Legs:
    """Both legs of a relay, without TLS."""
    return Legs(leg("client", None, certificates), leg("backend", None, certificates))


@pytest.fixture
def plain_to_tls(client_side: TlsSide, certificates: Certificates) -> Legs:
    """A client without TLS, and a backend with it: nothing can be spliced."""
    return Legs(leg("client", None, certificates), leg("backend", client_side, certificates))
