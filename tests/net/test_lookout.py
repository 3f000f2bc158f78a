"""The lookout notices by an end or a reset that a waiting client has gone, unless bytes are unread."""

import time
from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event

from geomail.errors import PeerGone
from geomail.net import lookout
from geomail.net.lookout import PATIENCE, Lookout
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire
from tests.net.support import Peer, PlainPeer, TlsPeer, secured_pair, wire_pair
from tests.servers.certificates import Certificates


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookout]:
    monkeypatch.setattr(lookout, "LOOK", 60.0)  # the tests run the checks themselves
    made = Lookout()
    yield made
    made.close()


def looks(watch: Lookout, count: int) -> None:
    """Run so many checks."""
    for _ in range(count):
        gevent.sleep(0.002)
        watch._look()


def left(watch: Lookout, wire: Wire, peer: Peer, happened: Callable[[Peer], object], count: int) -> bool:
    """Tell whether the client counts as gone, so many checks after an event."""
    gone: list[PeerGone] = []
    watch.begin(wire, gone.append)
    happened(peer)
    looks(watch, count)
    assert len(gone) <= 1
    wire.close()
    peer.close()
    return bool(gone)


def _unexpected(error: PeerGone) -> None:
    pytest.fail(str(error))


def _says_more(peer: Peer) -> None:
    peer.sendall(b"b NOOP\r\n")


def _says_more_and_ends(peer: Peer) -> None:
    peer.sendall(b"b NOOP\r\n")
    peer.end_sending()


def _says_more_and_closes(peer: Peer) -> None:
    peer.sendall(b"b NOOP\r\n")
    peer.close()


def _says_more_and_resets(peer: Peer) -> None:
    peer.sendall(b"b NOOP\r\n")
    gevent.sleep(0.01)
    assert isinstance(peer, PlainPeer)
    peer.reset()


@pytest.mark.parametrize(
    ("happened", "count", "gone"),
    [
        pytest.param(lambda _peer: None, 10, False, id="it waits"),
        pytest.param(_says_more, 10, False, id="it says more"),
        pytest.param(PlainPeer.end_sending, PATIENCE + 1, True, id="it ends"),
        pytest.param(PlainPeer.end_sending, PATIENCE - 1, False, id="its end came with its login"),
        pytest.param(_says_more_and_ends, 10, False, id="it says more, and ends"),
        pytest.param(PlainPeer.reset, 1, True, id="a reset"),
        pytest.param(_says_more_and_resets, 1, True, id="a reset behind what it said"),
    ],
)
def test_clients_that_have_gone(
    happened: Callable[[Peer], object], count: int, gone: bool, watched: Lookout
) -> None:
    wire, peer = wire_pair()

    assert left(watched, wire, peer, happened, count) is gone


@pytest.mark.parametrize(
    ("happened", "gone"),
    [
        pytest.param(TlsPeer.close, True, id="a close_notify, and its end"),
        pytest.param(_says_more, False, id="it says more"),
        pytest.param(_says_more_and_closes, False, id="it says more, and ends"),
    ],
)
def test_clients_that_have_gone_under_tls(
    happened: Callable[[Peer], object],
    gone: bool,
    watched: Lookout,
    client_side: TlsSide,
    certificates: Certificates,
) -> None:
    wire, peer = secured_pair(client_side, certificates.server.server_context())

    assert left(watched, wire, peer, happened, PATIENCE + 1) is gone


def test_bytes_before_the_end_can_be_read_later(watched: Lookout) -> None:
    wire, peer = wire_pair()
    watched.begin(wire, lambda _error: None)
    _says_more_and_ends(peer)
    looks(watched, 3)
    watched.end(wire)

    assert wire.read_line(100) == b"b NOOP"
    with pytest.raises(PeerGone):
        wire.read_line(100)

    wire.close()
    peer.close()


def test_no_check_after_the_end_of_a_wait(watched: Lookout) -> None:
    wire, peer = wire_pair()
    watched.begin(wire, _unexpected)
    peer.end_sending()
    looks(watched, PATIENCE - 1)
    watched.end(wire)
    looks(watched, 3)
    watched.begin(wire, _unexpected)
    looks(watched, PATIENCE - 1)
    watched.end(wire)

    wire.close()
    peer.close()


def test_no_checks_while_no_client_waits(watched: Lookout) -> None:
    wire, peer = wire_pair()
    watched.begin(wire, _unexpected)
    watched.end(wire)
    looks(watched, 1)
    assert not watched._is_looking

    wire.close()
    peer.close()


def test_an_end_is_noticed_within_a_second() -> None:
    watch = Lookout()
    wire, peer = wire_pair()
    noticed = Event()
    watch.begin(wire, lambda _error: noticed.set())
    gevent.sleep(lookout.LOOK / 2)
    peer.end_sending()
    began = time.monotonic()

    assert noticed.wait(5.0)
    assert time.monotonic() - began > lookout.LOOK

    assert lookout.LOOK * PATIENCE < 1.0
    watch.close()
    wire.close()
    peer.close()
