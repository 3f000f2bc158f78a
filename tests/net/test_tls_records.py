"""TLS after the handshake: pieces of records, the end, and the bytes in the BIO at the end."""

from __future__ import annotations

import socket
import subprocess

import gevent
import pytest

from geomail.errors import TlsFailed
from geomail.net import tls
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire
from tests.net.support import PATIENCE, V12, V13, TlsPeer, raw, read_all, secured_pair, speaking, within
from tests.servers.certificates import Certificates
from tests.servers.support import program


@pytest.fixture(params=[V12, V13])
def secured(
    request: pytest.FixtureRequest, server_side: TlsSide, certificates: Certificates
) -> tuple[Wire, TlsPeer]:
    """A client's wire and the client, in both versions of TLS."""
    return secured_pair(server_side, speaking(certificates.client_context(), request.param))


def test_a_close_notify_ends_the_stream_though_the_socket_stays_open(
    secured: tuple[Wire, TlsPeer],
) -> None:
    wire, peer = secured
    peer.sock.sendall(peer.record(b"last words") + peer.notify())

    assert wire.receive(100) == b"last words"
    assert within(lambda: wire.receive(100)) == b""
    assert within(lambda: wire.receive(100)) == b""

    wire.close()
    peer.close()


def test_bytes_behind_a_close_notify_do_not_count(secured: tuple[Wire, TlsPeer]) -> None:
    wire, peer = secured
    peer.sock.sendall(peer.notify() + b"\x17\x03\x03\x00\x20" + b"x" * 32)

    assert [within(lambda: wire.receive(100)) for _ in range(3)] == [b"", b"", b""]

    wire.close()
    peer.close()


@pytest.mark.parametrize("size", [100, 100_000])
def test_bytes_before_a_broken_record_are_delivered_first(size: int, secured: tuple[Wire, TlsPeer]) -> None:
    wire, peer = secured
    peer.sock.sendall(peer.record(b"x" * size) + b"\x17\x03\x03\x00\x20" + b"x" * 32)

    assert wire.read_exactly(size) == b"x" * size
    for _ in range(2):
        with pytest.raises(TlsFailed, match="bad record mac") as raised:
            within(lambda: wire.receive(100))
        assert raised.value.blame == "client"

    wire.close()
    peer.close()


def test_the_end_of_a_broken_connection_breaks_no_other(
    server_side: TlsSide, certificates: Certificates
) -> None:
    """OpenSSL has one queue of errors: an error that one connection leaves there would hit the next one."""
    (wire, peer), (other, another) = (
        secured_pair(server_side, speaking(certificates.client_context(), V13)) for _ in range(2)
    )
    peer.sock.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    with pytest.raises(TlsFailed):
        within(lambda: wire.receive(100))
    first, last = (part := another.record(b"whole"))[:10], part[10:]
    another.sock.sendall(first)
    reading = gevent.spawn(other.receive, 100)
    gevent.sleep(0.01)

    wire.close()
    another.sock.sendall(last[:5])
    gevent.sleep(0.01)
    another.sock.sendall(last[5:])

    assert reading.get(timeout=PATIENCE) == b"whole"
    other.close()
    for each in (peer, another):
        each.close()


def test_the_end_is_sent_even_without_libssl(
    secured: tuple[Wire, TlsPeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, peer = secured
    monkeypatch.setattr(tls, "is_available", lambda: False)

    wire.end_sending()
    peer.sendall(b"and more")

    assert within(lambda: peer.recv(100)) == b""
    assert within(lambda: wire.receive(100)) == b"and more"
    wire.close()
    peer.close()


@pytest.mark.parametrize("taken", [0, 4000], ids=["none of it read", "half of it read"])
@pytest.mark.parametrize("size", [10_000, 200_000])
def test_end_sending_loses_nothing_that_came_before(
    size: int, taken: int, secured: tuple[Wire, TlsPeer]
) -> None:
    wire, peer = secured
    talking = gevent.spawn(peer.sendall, b"!" + b"x" * size)
    gevent.sleep(0.05)
    got = wire.receive(1 + taken)  # all that was sent is in the BIO now
    wire.end_sending()
    talking.join()
    peer.sendall(b"and more")
    peer.end_sending()

    while data := within(lambda: wire.receive(4096)):
        got += data

    assert got == b"!" + b"x" * size + b"and more"
    assert wire.received == len(got)
    assert read_all(peer) == b""
    wire.close()
    peer.close()


def test_end_sending_in_the_middle_of_a_record(secured: tuple[Wire, TlsPeer]) -> None:
    wire, peer = secured
    record = peer.record(b"x" * 1000)
    peer.sock.sendall(record[:500])
    reading = gevent.spawn(wire.receive, 4096)
    gevent.sleep(0.01)

    wire.end_sending()
    peer.sock.sendall(record[500:])

    assert reading.get(timeout=PATIENCE) == b"x" * 1000
    wire.close()
    peer.close()


def test_closing_says_goodbye(secured: tuple[Wire, TlsPeer]) -> None:
    wire, peer = secured
    wire.send(b"bye")
    wire.close()

    assert read_all(peer) == b"bye"  # without close_notify, this raises ConnectionError
    peer.close()


def test_key_updates_without_end_are_refused(monkeypatch: pytest.MonkeyPatch, server_side: TlsSide) -> None:
    """Each update needs an answer of the same size, which waits for our next write: they must not pile up."""
    monkeypatch.setattr(tls, "_MOST_UNSENT", 200)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = subprocess.Popen(
            [program("openssl"), "s_client", "-tls1_3", "-connect", f"127.0.0.1:{listener.getsockname()[1]}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        near, _ = listener.accept()
    wire = Wire(raw(near), "client", server_side)
    wire.start_tls()
    wire.send(b"x")
    talking = gevent.spawn(_ask_for_key_updates, client, 20)

    with pytest.raises(TlsFailed, match="key updates without end"):
        within(lambda: wire.receive(100))

    talking.kill()
    client.kill()
    client.communicate()
    wire.close()


def _ask_for_key_updates(client: subprocess.Popen[bytes], number: int) -> None:
    assert client.stdin is not None
    for _ in range(number):
        client.stdin.write(b"K\n")  # s_client's command for it
        client.stdin.flush()
        gevent.sleep(0.02)
