"""The bytes that a relay copies, its memory meanwhile, and its timeout."""

from __future__ import annotations

import hashlib
import os
import socket
import time
import tracemalloc
from collections.abc import Callable

import gevent
import pytest

from geomail.errors import PeerTimeout
from geomail.net.pipes import CAPACITY, MOST_PIPES, Pipes
from geomail.net.relay import DEFAULT_BUFFER, LARGEST_BUFFER
from geomail.net.tls import RECORD
from geomail.net.wire import DIALOGUE_READ
from tests.net.legs import Legs
from tests.net.support import Peer, read_all, read_exactly, within

# -- copying --------------------------------------------------------------------------------------


def test_bytes_go_both_ways_and_are_counted(legs: Legs) -> None:
    legs.relay()
    for number in range(20):
        question, answer = b"question %d\r\n" % number, b"answer %d\r\n" % number
        legs.client.sendall(question)
        assert legs.backend.recv(100) == question
        legs.backend.sendall(answer)
        assert legs.client.recv(100) == answer

    up, down = len("question 0\r\n") * 20 + 10, len("answer 0\r\n") * 20 + 10
    assert (legs.client_wire.received, legs.backend_wire.sent) == (up, up)
    assert (legs.backend_wire.received, legs.client_wire.sent) == (down, down)
    legs.leave()


@pytest.mark.parametrize("size", [5, DIALOGUE_READ - 10, 20_000, 500_000])
def test_what_the_dialogues_read_ahead_goes_first_and_waits_for_nothing(size: int, legs: Legs) -> None:
    ahead = os.urandom(size)
    talking = [gevent.spawn(peer.sendall, b"a line\r\n" + ahead) for peer in (legs.client, legs.backend)]
    gevent.sleep(0.02)
    assert legs.client_wire.read_line(100) == b"a line"
    assert legs.backend_wire.read_line(100) == b"a line"

    legs.relay()

    assert within(lambda: read_exactly(legs.backend, size)) == ahead
    assert within(lambda: read_exactly(legs.client, size)) == ahead
    gevent.joinall(talking)
    for one, other in ((legs.client, legs.backend), (legs.backend, legs.client)):
        one.sendall(b"more")
        assert other.recv(100) == b"more"
    legs.leave()


@pytest.mark.parametrize("buffer", [None, 1000])
def test_a_lot_both_ways_at_once(buffer: int | None, legs: Legs) -> None:
    _exchange(legs, 2_000_000, buffer)


@pytest.mark.long
def test_fifty_megabytes_both_ways_at_once(legs: Legs) -> None:
    _exchange(legs, 50_000_000, None)


def _exchange(legs: Legs, size: int, buffer: int | None) -> None:
    legs.relay(buffer)
    jobs = [
        gevent.spawn(work, peer, size)
        for work, peer in (
            (_send, legs.client),
            (_checksum, legs.backend),
            (_send, legs.backend),
            (_checksum, legs.client),
        )
    ]
    sent_up, got_up, sent_down, got_down = (job.get(timeout=50) for job in jobs)

    assert got_up == sent_up
    assert got_down == sent_down
    assert legs.client_wire.received == legs.backend_wire.sent == size
    assert legs.backend_wire.received == legs.client_wire.sent == size
    legs.leave()


def _send(peer: Peer, size: int) -> bytes:
    digest, block = hashlib.blake2b(), os.urandom(100_003)
    while size:
        piece = block[:size]
        peer.sendall(piece)
        digest.update(piece)
        size -= len(piece)
        block = block[1:] + block[:1]
    return digest.digest()


def _checksum(peer: Peer, size: int) -> bytes:
    digest = hashlib.blake2b()
    while size:
        piece = peer.recv(min(size, 65536))
        assert piece
        digest.update(piece)
        size -= len(piece)
    return digest.digest()


# -- buffers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("buffer", [1, 100, 4096, 50_000])
def test_an_explicit_buffer_is_kept_to(buffer: int, plain_legs: Legs) -> None:
    legs, size = plain_legs, min(400 * buffer, 2_000_000)
    legs.relay(buffer)
    for one, other in ((legs.client, legs.backend), (legs.backend, legs.client)):
        sending = gevent.spawn(one.sendall, b"x" * size)
        read_exactly(other, size)
        sending.get()

    assert set(legs.client_asked) == set(legs.backend_asked) == {buffer}
    legs.leave()


@pytest.mark.parametrize("buffer", [100, 50_000])
def test_an_explicit_buffer_is_kept_to_under_tls_but_for_the_size_of_a_record(
    buffer: int, legs: Legs
) -> None:
    legs.relay(buffer)
    for one, other in ((legs.client, legs.backend), (legs.backend, legs.client)):
        sending = gevent.spawn(one.sendall, b"x" * 300_000)
        read_exactly(other, 300_000)
        sending.get()

    assert max(legs.client_asked + legs.backend_asked) <= max(buffer, RECORD)
    legs.leave()


def test_the_default_grows_while_it_is_busy_and_is_given_back(plain_to_tls: Legs) -> None:
    legs = plain_to_tls
    legs.relay()
    sending = gevent.spawn(legs.client.sendall, b"x" * 20_000_000)
    read_exactly(legs.backend, 20_000_000)
    sending.get()

    assert legs.client_asked[0] == DEFAULT_BUFFER
    assert max(legs.client_asked) == LARGEST_BUFFER

    for _ in range(10):
        legs.client.sendall(b"a1 NOOP\r\n")
        read_exactly(legs.backend, 9)
    assert legs.client_asked[-1] == DEFAULT_BUFFER
    legs.leave()


def test_bulk_without_tls_is_spliced_until_it_ends(plain_legs: Legs, monkeypatch: pytest.MonkeyPatch) -> None:
    legs, spliced = plain_legs, []
    splice = os.splice

    def noted(*args: int, **more: int) -> int:
        moved = splice(*args, **more)
        spliced.append(moved)
        return moved

    monkeypatch.setattr(os, "splice", noted)
    legs.relay()
    sending = gevent.spawn(_send, legs.backend, 20_000_000)
    assert _checksum(legs.client, 20_000_000) == sending.get()
    assert sum(spliced) > 2 * 15_000_000  # into the pipe and out of it
    assert max(legs.backend_asked) < LARGEST_BUFFER
    assert legs.backend_wire.received == legs.client_wire.sent == 20_000_000

    spliced.clear()
    for _ in range(10):
        legs.backend.sendall(b"* 23 EXISTS\r\n")
        read_exactly(legs.client, 13)
    assert len(spliced) <= 2 * 4
    legs.leave()


def test_nothing_is_spliced_at_an_explicit_buffer(plain_legs: Legs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "splice")
    plain_legs.relay(LARGEST_BUFFER)
    sending = gevent.spawn(_send, plain_legs.backend, 3_000_000)
    assert _checksum(plain_legs.client, 3_000_000) == sending.get()
    plain_legs.leave()


def test_pipes_in_use_are_bounded_and_one_that_holds_bytes_is_never_used_again() -> None:
    pipes = Pipes()
    taken = [pipe for _ in range(MOST_PIPES + 1) if (pipe := pipes.take())]
    assert len(taken) == MOST_PIPES
    os.write(taken[0].writing, b"left behind")
    pipes.give_back(taken[0], empty=False)
    pipes.give_back(taken[1], empty=True)
    assert pipes.take() == taken[1]
    fresh = pipes.take()
    assert fresh is not None
    with pytest.raises(BlockingIOError):
        os.read(fresh.reading, 1)
    for pipe in (*taken[1:], fresh):
        pipes.give_back(pipe, empty=True)
    pipes.close()


def test_without_a_pipe_bytes_are_copied(plain_legs: Legs) -> None:
    taken = [plain_legs.pipes.take() for _ in range(MOST_PIPES)]
    plain_legs.relay()
    sending = gevent.spawn(_send, plain_legs.backend, 5_000_000)
    assert _checksum(plain_legs.client, 5_000_000) == sending.get()
    for pipe in taken:
        assert pipe is not None
        plain_legs.pipes.give_back(pipe, empty=True)
    plain_legs.leave()


def test_a_direction_that_went_quiet_holds_nothing(plain_legs: Legs) -> None:
    legs = plain_legs
    legs.relay()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        sending = gevent.spawn(_send, legs.backend, 8_000_000)
        _checksum(legs.client, 8_000_000)
        sending.get()
        del sending
        gevent.sleep(0.01)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()
    legs.leave()


def test_a_peer_that_does_not_read_stops_the_other_one(legs: Legs) -> None:
    legs.relay()
    for one, source, sink in (
        (legs.backend, legs.backend_wire, legs.client_wire),
        (legs.client, legs.client_wire, legs.backend_wire),
    ):
        sending = gevent.spawn(one.sendall, b"x" * 50_000_000)
        received = -1
        while source.received > received:
            received = source.received
            gevent.sleep(0.1)
        assert not sending.dead
        assert source.received - sink.sent <= max(LARGEST_BUFFER, CAPACITY)
        sending.kill()
    assert max(legs.client_asked + legs.backend_asked) <= LARGEST_BUFFER
    legs.client.reset()
    legs.backend.reset()
    legs.ended_by()


# -- proxy_timeout --------------------------------------------------------------------------------


def _times_out(legs: Legs) -> float:
    """When it did."""
    with pytest.raises(PeerTimeout, match="nothing moved"):
        legs.ended_by()
    ended = time.monotonic()
    assert read_all(legs.client) == b""
    assert read_all(legs.backend) == b""
    legs.client.close()
    legs.backend.close()
    return ended


def test_nothing_moves(legs: Legs) -> None:
    began = time.monotonic()
    legs.relay(idle=0.3)
    gevent.sleep(0)

    due = legs.relaying.expiry
    assert began + 0.3 <= due <= time.monotonic() + 0.3
    assert _times_out(legs) >= due


@pytest.mark.parametrize(
    ("speaker", "listener"),
    [
        pytest.param(lambda legs: legs.client, lambda legs: legs.backend, id="the client"),
        pytest.param(lambda legs: legs.backend, lambda legs: legs.client, id="the backend"),
    ],
)
def test_traffic_in_either_direction_starts_the_time_again(
    speaker: Callable[[Legs], Peer], listener: Callable[[Legs], Peer], legs: Legs
) -> None:
    legs.relay(idle=0.6)
    moved = 0.0
    for _ in range(4):
        gevent.sleep(0.2)
        moved = time.monotonic()
        speaker(legs).sendall(b"x")
        assert listener(legs).recv(1) == b"x"

    due = legs.relaying.expiry
    assert moved + 0.6 <= due <= time.monotonic() + 0.6
    assert _times_out(legs) >= due


@pytest.mark.parametrize("to", ["client", "backend"])
def test_a_send_that_goes_on_slowly_moves(to: str, plain_legs: Legs) -> None:
    legs = plain_legs
    speaker, listener, wire = legs.backend, legs.client, legs.client_wire
    if to == "backend":
        speaker, listener, wire = legs.client, legs.backend, legs.backend_wire
    _shrink(listener.sock.fileno(), socket.SO_RCVBUF)
    _shrink(wire.fileno(), socket.SO_SNDBUF)
    legs.relay(idle=0.8)
    sending = gevent.spawn(speaker.sendall, b"x" * 50_000_000)
    began = time.monotonic()
    while time.monotonic() - began < 2.0:
        read_exactly(listener, 10_000)
        gevent.sleep(0.02)

    assert not legs.session.dead  # one pipe full takes longer than may pass without a move
    sending.kill()
    listener.reset()
    speaker.reset()
    legs.ended_by()


def _shrink(fd: int, buffer: int) -> None:
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, buffer, 16384)


def test_a_client_that_stops_reading_runs_out_of_time(plain_legs: Legs) -> None:
    legs = plain_legs
    legs.relay(idle=0.3)
    sending = gevent.spawn(legs.backend.sendall, b"x" * 50_000_000)

    with pytest.raises(PeerTimeout):
        legs.ended_by()

    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        sending.get()
    legs.client.close()
    legs.backend.close()
