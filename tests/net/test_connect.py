"""Connecting: one address after the other; a failure leaves nothing behind."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from geomail.errors import PeerTimeout
from geomail.net import connect as module
from geomail.net.connect import Address, connect_first
from geomail.net.timing import TimeLimit
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire
from tests.net.raw_service import closed_port
from tests.net.support import PATIENCE, TlsPeer
from tests.servers.certificates import Certificates


def address_of(listener: socket.socket) -> Address:
    return listener.family, listener.getsockname()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener that answers."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(PATIENCE)
        yield sock


@pytest.fixture
def closed() -> Address:
    """An address without a listener."""
    return socket.AF_INET, ("127.0.0.1", closed_port())


@pytest.fixture
def swamped() -> Iterator[socket.socket]:
    """A listener that answers no connection: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(sock.getsockname())
        sock.settimeout(PATIENCE)
        yield sock
        for one in waiting:
            one.close()


@pytest.fixture
def hanging(swamped: socket.socket) -> Address:
    """An address that never answers."""
    return address_of(swamped)


def option(wire: Wire, level: int, name: int) -> int:
    with socket.socket(fileno=os.dup(wire.fileno())) as sock:
        return sock.getsockopt(level, name)


def speaks(wire: Wire, listener: socket.socket) -> bool:
    """Tell whether the wire leads to this listener."""
    other, _ = listener.accept()
    with other:
        wire.send(b"hello")
        return other.recv(100) == b"hello"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        wire = connect_first([address_of(listener)], peer="backend")

        assert wire.peer == "backend"
        assert option(wire, socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert option(wire, socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert speaks(wire, listener)
        wire.close()


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "lmtp")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        wire = connect_first([(socket.AF_UNIX, path)], peer="backend")
        assert speaks(wire, listener)
        wire.close()

    with pytest.raises(ConnectionRefusedError):
        connect_first([(socket.AF_UNIX, path)], peer="backend")
    with pytest.raises(FileNotFoundError):
        connect_first([(socket.AF_UNIX, path + "x")], peer="backend")


def test_tls_can_be_started(
    listener: socket.socket, client_side: TlsSide, certificates: Certificates
) -> None:
    wire = connect_first([address_of(listener)], peer="backend", tls=client_side)
    other, _ = listener.accept()
    peer = TlsPeer(other, certificates.server.server_context(), server=True)
    shaking = gevent.spawn(peer.handshake)
    assert not wire.secured

    wire.start_tls()

    shaking.get()
    wire.close()
    peer.close()


def test_refused(closed: Address) -> None:
    with pytest.raises(ConnectionRefusedError, match="Connection refused"):
        connect_first([closed], peer="backend")


def test_unreachable() -> None:
    multicast = (socket.AF_INET, ("224.0.0.1", 25))  # TCP cannot go there

    with pytest.raises(OSError, match="unreachable") as raised:
        connect_first([multicast], peer="backend")
    assert raised.value.errno == errno.ENETUNREACH


def test_a_late_answer(swamped: socket.socket) -> None:
    connecting = gevent.spawn(connect_first, [address_of(swamped)], peer="backend")
    gevent.sleep(0.05)
    assert not connecting.ready()

    accepting = gevent.spawn(_accept_all, swamped)  # there is room now, and the kernel asks again

    wire = connecting.get(timeout=PATIENCE)
    accepting.kill()
    assert wire.local_address == "127.0.0.1"
    wire.close()


def _accept_all(listener: socket.socket) -> None:
    while True:
        listener.accept()[0].close()


def test_a_late_refusal(swamped: socket.socket) -> None:
    connecting = gevent.spawn(connect_first, [address_of(swamped)], peer="backend")
    gevent.sleep(0.05)
    assert not connecting.ready()

    swamped.close()

    with pytest.raises(ConnectionRefusedError):
        connecting.get(timeout=PATIENCE)


def test_no_address_at_all() -> None:
    with pytest.raises(OSError, match="no address"):
        connect_first([], peer="backend")


def test_after_a_refusal_the_next_address_is_tried(closed: Address, listener: socket.socket) -> None:
    wire = connect_first([closed, closed, address_of(listener)], peer="backend")

    assert speaks(wire, listener)
    wire.close()


def test_the_first_address_that_answers_is_taken(closed: Address, listener: socket.socket) -> None:
    wire = connect_first([address_of(listener), closed], peer="backend")

    assert speaks(wire, listener)
    wire.close()


def test_the_last_failure_is_reported(closed: Address, tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect_first([(socket.AF_UNIX, str(tmp_path / "none")), closed], peer="backend")


def test_an_address_that_hangs_does_not_use_up_the_time_of_the_next(
    hanging: Address, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPT", 0.1)
    began = time.monotonic()

    with TimeLimit(PATIENCE, blame="backend", private="too late"):
        wire = connect_first([hanging, address_of(listener)], peer="backend")

    assert 0.09 < time.monotonic() - began < PATIENCE / 2
    assert speaks(wire, listener)
    wire.close()


def test_a_hanging_address_and_then_a_refusal(
    hanging: Address, closed: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPT", 0.05)

    with pytest.raises(ConnectionRefusedError):
        connect_first([hanging, closed], peer="backend")


@pytest.mark.parametrize("number", [1, 2])
def test_the_callers_limit_is_for_all_of_it(
    number: int, hanging: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPT", 0.05)
    with (
        pytest.raises(PeerTimeout, match="too late"),
        TimeLimit(0.2, blame="backend", private="too late"),
    ):
        connect_first([hanging] * number, peer="backend")


def test_a_killed_connect_leaves_nothing_open(hanging: Address) -> None:
    job = gevent.spawn(connect_first, [hanging], peer="backend")
    gevent.sleep(0.01)

    job.kill()

    assert isinstance(job.value, gevent.GreenletExit)


def test_a_peer_on_this_machine_is_not_exposed(listener: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        port = listener.getsockname()[1]
        for address in (
            address_of(listener),
            (socket.AF_INET, ("0.0.0.0", port)),
            (socket.AF_INET6, ("::ffff:127.0.0.1", port, 0, 0)),
            (socket.AF_UNIX, str(path)),
        ):
            wire = connect_first([address], peer="backend")
            seen = [wire.exposed]
            wire.is_local = False
            seen.append(wire.exposed)
            assert seen == [False, True]
            wire.close()
