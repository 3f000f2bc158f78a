"""The end of a relay: the side that ended it, the bytes that are still delivered, and what is left behind."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import gevent
import pytest

from geomail.net import relay as module
from geomail.net.wire import DIALOGUE_READ
from tests.net.legs import Legs
from tests.net.support import PATIENCE, Peer, TlsPeer, read_all, read_exactly, within


def end_of_stream(peer: Peer) -> None:
    """End sending from this peer, under TLS with a close_notify."""
    peer.end_sending()


def end_of_tcp(peer: Peer) -> None:
    """End sending from this peer with a FIN alone, also under TLS."""
    peer.sock.shutdown(socket.SHUT_WR)


every_end = pytest.mark.parametrize("end", [end_of_stream, end_of_tcp])
End = Callable[[Peer], None]


# -- the client ends ------------------------------------------------------------------------------


@every_end
def test_a_client_that_has_ended_sending_still_gets_its_reply(end: End, legs: Legs) -> None:
    legs.relay()
    legs.client.sendall(b"a FETCH 1 BODY[]\r\n")
    end(legs.client)

    assert within(lambda: read_all(legs.backend)) == b"a FETCH 1 BODY[]\r\n"
    assert not legs.session.dead
    answering = gevent.spawn(legs.backend.sendall, b"x" * 3_000_000)
    assert read_exactly(legs.client, 3_000_000) == b"x" * 3_000_000
    answering.get()
    legs.backend.close()
    assert legs.ended_by() == "client"
    assert read_all(legs.client) == b""
    legs.client.close()


@every_end
def test_a_command_that_was_read_ahead_and_the_end_behind_it(end: End, legs: Legs) -> None:
    legs.client.sendall(b"a LOGIN joe secret\r\nb LOGOUT\r\n")
    end(legs.client)
    assert legs.client_wire.read_line(100) == b"a LOGIN joe secret"

    legs.relay()

    assert within(lambda: read_all(legs.backend)) == b"b LOGOUT\r\n"
    legs.backend.sendall(b"* BYE\r\nb OK\r\n")
    legs.backend.close()
    assert read_all(legs.client) == b"* BYE\r\nb OK\r\n"
    assert legs.ended_by() == "client"
    legs.client.close()


def test_what_the_client_sent_is_flushed_before_its_end(legs: Legs) -> None:
    legs.relay()
    legs.client.sendall(b"x" * 300_000)
    legs.client.end_sending()
    gevent.sleep(0.05)

    assert len(within(lambda: read_all(legs.backend))) == 300_000
    legs.leave()


def test_a_backend_answers_while_the_client_ends(legs: Legs) -> None:
    """The close_notify to the backend must not lose bytes that it has sent and geomail has not read."""
    legs.relay(buffer=1000)
    answering = gevent.spawn(legs.backend.sendall, b"x" * 8_000_000)
    gevent.sleep(0.1)
    legs.client.end_sending()
    assert within(lambda: read_all(legs.backend)) == b""

    assert len(read_exactly(legs.client, 8_000_000)) == 8_000_000
    answering.get()
    legs.leave()


def test_a_client_that_vanishes_in_the_middle_of_a_download(legs: Legs) -> None:
    legs.relay()
    answering = gevent.spawn(_send_until_it_fails, legs.backend)
    read_exactly(legs.client, 1_000_000)
    legs.client.reset()

    assert legs.ended_by() == "client"
    assert answering.get(timeout=PATIENCE)
    legs.backend.close()


def _send_until_it_fails(peer: Peer) -> bool:
    try:
        while True:
            peer.sendall(b"x" * 100_000)
    except OSError:
        return True


def test_a_client_that_vanishes_in_the_middle_of_an_upload(legs: Legs) -> None:
    legs.relay()
    legs.client.sendall(b"x" * 100_000)
    read_exactly(legs.backend, 50_000)
    legs.client.reset()

    within(lambda: read_all(legs.backend))
    legs.backend.close()
    assert legs.ended_by() == "client"


def test_what_a_client_sent_before_it_vanished_is_still_delivered(legs: Legs) -> None:
    legs.relay()
    uploading = gevent.spawn(_send_until_it_fails, legs.client)
    gevent.sleep(0.1)  # now the relay holds bytes for which the backend has no room
    uploading.kill()
    legs.client.reset()
    while legs.relaying._ended_by is None:  # a write to the client fails, and the relay notices
        legs.backend.sendall(
            b"x"
        )  # one byte at a time: a socket that is closed with unread bytes sends a reset
        gevent.sleep(0.05)

    read = within(lambda: read_all(legs.backend))
    assert len(read) == legs.client_wire.received
    legs.backend.close()
    assert legs.ended_by() == "client"


def test_a_client_that_vanishes_while_nothing_moves(legs: Legs) -> None:
    legs.relay()
    gevent.sleep(0.01)
    legs.client.reset()

    assert within(lambda: read_all(legs.backend)) == b""
    legs.backend.close()
    assert legs.ended_by() == "client"


@pytest.mark.parametrize("legs", ["tls-plain", "tls-tls"], indirect=True)
def test_a_client_that_breaks_tls(legs: Legs) -> None:
    assert isinstance(legs.client, TlsPeer)
    legs.relay()
    record = legs.client.record(b"DATA\r\n")
    legs.client.sock.sendall(record + b"\x17\x03\x03\x00\x20" + b"x" * 32)

    assert within(lambda: read_all(legs.backend)) == b"DATA\r\n"
    legs.backend.close()
    assert legs.ended_by() == "client"
    legs.client.close()


# -- the backend ends -----------------------------------------------------------------------------


@every_end
@pytest.mark.parametrize("size", [20, 3_000_000])
def test_the_backends_last_words_are_delivered_before_the_client_is_closed(
    size: int, end: End, legs: Legs
) -> None:
    legs.relay()
    saying = gevent.spawn(_say_and_end, legs.backend, b"x" * size, end)
    gevent.sleep(0.05)

    assert len(within(lambda: read_all(legs.client))) == size
    assert legs.ended_by() == "backend"
    saying.get()
    legs.client.close()
    legs.backend.close()


def _say_and_end(peer: Peer, words: bytes, end: End) -> None:
    peer.sendall(words)
    end(peer)


def test_last_words_that_were_read_ahead(legs: Legs) -> None:
    legs.backend.sendall(b"+OK\r\n" + b"x" * 10_000)
    legs.backend.end_sending()
    assert legs.backend_wire.read_line(100) == b"+OK"

    legs.relay()

    assert len(within(lambda: read_all(legs.client))) == 10_000
    assert legs.ended_by() == "backend"
    legs.client.close()
    legs.backend.close()


def test_a_client_in_the_middle_of_an_upload_gets_the_backends_last_words(legs: Legs) -> None:
    legs.relay()
    uploading = gevent.spawn(_send_until_it_fails, legs.client)
    read_exactly(legs.backend, 1_000_000)
    legs.backend.sendall(b"552 too big\r\n")
    legs.backend.end_sending()

    assert within(lambda: legs.client.recv(100)) == b"552 too big\r\n"
    assert legs.ended_by() == "backend"
    assert uploading.get(timeout=PATIENCE)
    legs.backend.close()
    legs.client.close()


@pytest.mark.parametrize("uploading", [False, True])
def test_a_backend_that_is_reset(uploading: bool, legs: Legs) -> None:
    legs.relay()
    legs.client.sendall(b"NOOP\r\n")
    read_exactly(legs.backend, 6)
    job = gevent.spawn(_send_until_it_fails, legs.client) if uploading else None
    gevent.sleep(0.02)
    legs.backend.reset()

    assert legs.ended_by() == "backend"
    if job is None:
        assert within(lambda: read_all(legs.client)) == b""
    else:
        assert job.get(timeout=PATIENCE)
    legs.client.close()


# -- after a bounded time at most -----------------------------------------------------------------


@pytest.mark.parametrize("talks", [False, True])
def test_a_backend_that_does_not_end_after_the_client(
    talks: bool, legs: Legs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER", 0.3)
    legs.relay()
    talking = gevent.spawn(_keep_talking, legs.backend) if talks else None
    listening = gevent.spawn(read_all, legs.client)
    began = time.monotonic()
    legs.client.end_sending()

    assert legs.ended_by() == "client"
    assert 0.3 <= time.monotonic() - began < PATIENCE
    assert bool(listening.get()) == talks
    if talking is not None:
        talking.get()
    legs.client.close()
    legs.backend.close()


def _keep_talking(peer: Peer) -> None:
    try:
        while True:
            peer.sendall(b"x")
            gevent.sleep(0.01)
    except OSError:
        pass


def test_a_client_that_vanished_and_a_backend_that_does_not_read(
    legs: Legs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGER", 0.2)
    legs.relay()
    uploading = gevent.spawn(_send_until_it_fails, legs.client)
    gevent.sleep(0.1)
    uploading.kill()
    legs.client.close()
    legs.backend.sendall(b"x" * 1000)
    gevent.sleep(0.05)
    legs.backend.sendall(b"x" * 1000)

    assert legs.ended_by() == "client"
    legs.backend.close()


@pytest.mark.parametrize("who", ["client", "backend"])
def test_no_timer_outlives_the_relay(who: str, plain_legs: Legs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER", 0.05)
    legs = plain_legs
    legs.relay(idle=0.2)
    gevent.sleep(0.01)
    for peer in (legs.client, legs.backend) if who == "client" else (legs.backend, legs.client):
        peer.close()
    assert legs.ended_by() in ("client", "backend")

    gevent.sleep(0.3)  # an exception thrown now would end this test, or appear in its output


# -- what stays behind ----------------------------------------------------------------------------


def test_a_session_that_is_killed(legs: Legs) -> None:
    legs.relay()
    legs.client.sendall(b"x")
    assert legs.backend.recv(1) == b"x"

    legs.session.kill()

    assert read_all(legs.client) == b""
    assert read_all(legs.backend) == b""
    assert len(legs.crew.idle) == 1
    legs.client.close()
    legs.backend.close()


def test_a_session_that_is_killed_before_anything_ran(plain_legs: Legs) -> None:
    legs = plain_legs
    legs.relay()
    legs.session.kill()
    legs.client_wire.close()
    legs.backend_wire.close()
    legs.client.close()
    legs.backend.close()


def test_a_session_that_is_killed_with_both_directions_stuck(legs: Legs) -> None:
    legs.relay()
    jobs = [gevent.spawn(_send_until_it_fails, peer) for peer in (legs.client, legs.backend)]
    gevent.sleep(0.2)

    within(legs.session.kill)

    assert all(job.get(timeout=PATIENCE) for job in jobs)
    legs.client.close()
    legs.backend.close()


def test_the_greenlet_of_a_relay_is_used_again(plain_legs: Legs) -> None:
    legs = plain_legs
    legs.relay()
    legs.leave()

    assert len(legs.crew.idle) == 1


@pytest.mark.parametrize("ahead", [DIALOGUE_READ * 2])
def test_a_backend_that_ended_before_the_relay_began(ahead: int, legs: Legs) -> None:
    legs.client.sendall(b"LOGIN\r\n" + b"x" * ahead)
    legs.client_wire.read_line(100)
    legs.backend.close()
    gevent.sleep(0.01)

    legs.relay()

    assert legs.ended_by() == "backend"
    assert read_all(legs.client) == b""
    legs.client.close()
