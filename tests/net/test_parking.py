"""A silent relay holds no greenlet; only its memory shows that."""

import random
import time
from typing import Any

import gevent
import pytest

from geomail.errors import Kicked, PeerTimeout
from geomail.net import parking
from tests.net.legs import Legs
from tests.net.support import PATIENCE, Peer, read_exactly


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Park after a moment, so that the tests are fast."""
    monkeypatch.setattr(parking, "PARK_AFTER", 0.02)
    monkeypatch.setattr(parking, "_SWEEP", 0.01)


def parked(legs: Legs) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not len(legs.parking) and time.monotonic() < deadline:
        gevent.sleep(0.005)
    return len(legs.parking) == 1


def test_a_silent_relay_gives_up_its_greenlets_and_comes_back_for_either_side(legs: Legs) -> None:
    legs.relay()
    assert parked(legs)
    assert len(legs.crew.idle) == 1

    legs.client.sendall(b"a1 NOOP\r\n")
    assert read_exactly(legs.backend, 9) == b"a1 NOOP\r\n"
    assert parked(legs)
    legs.backend.sendall(b"* 23 EXISTS\r\n")
    assert read_exactly(legs.client, 13) == b"* 23 EXISTS\r\n"
    assert parked(legs)
    assert legs.times_parked == 3
    assert (legs.client_wire.received, legs.client_wire.sent) == (9, 13)
    legs.leave()


@pytest.mark.parametrize("side", ["client", "backend"])
def test_an_end_is_noticed_while_parked(side: str, legs: Legs) -> None:
    legs.relay()
    assert parked(legs)
    ending, other = (legs.client, legs.backend) if side == "client" else (legs.backend, legs.client)
    ending.close()
    assert other.recv(1) == b""
    other.close()
    assert legs.ended_by() == side


def test_a_timeout_while_parked(legs: Legs) -> None:
    began = time.monotonic()
    legs.relay(idle=0.3)
    assert parked(legs)
    with pytest.raises(PeerTimeout):
        legs.ended_by()
    assert 0.25 < time.monotonic() - began < PATIENCE
    legs.client.close()
    legs.backend.close()


def test_idle_time_is_counted_from_the_last_movement(plain_legs: Legs) -> None:
    plain_legs.relay(idle=1.0)
    for _ in range(3):
        assert parked(plain_legs)
        gevent.sleep(0.4)
        plain_legs.backend.sendall(b"x")
        read_exactly(plain_legs.client, 1)
    assert not plain_legs.session.dead
    plain_legs.leave()


def test_a_parked_relay_can_be_ended_from_outside(plain_legs: Legs) -> None:
    plain_legs.relay()
    assert parked(plain_legs)
    assert plain_legs.parking.release(plain_legs.relaying, Kicked("kicked"))
    with pytest.raises(Kicked):
        plain_legs.ended_by()
    assert not plain_legs.parking.release(plain_legs.relaying, Kicked("kicked"))
    plain_legs.client.close()
    plain_legs.backend.close()


def test_a_relay_whose_peer_does_not_read_is_not_silent(plain_legs: Legs) -> None:
    legs = plain_legs
    legs.relay()
    sending = gevent.spawn(legs.backend.sendall, b"x" * 30_000_000)
    gevent.sleep(0.3)
    assert len(legs.parking) == 0
    read_exactly(legs.client, 30_000_000)
    sending.get()
    assert parked(legs)
    legs.leave()


def _words(seed: int) -> list[tuple[bytes, float]]:
    """Return the bytes that one side sends, each with the seconds of silence after it."""
    chance = random.Random(seed)
    sizes, silences = (1, 10, 5000, 20_000), (0.0, 0.001, 0.018, 0.022, 0.03, 0.04)
    return [(chance.randbytes(chance.choice(sizes)), chance.choice(silences)) for _ in range(150)]


def _say(peer: Peer, words: list[tuple[bytes, float]]) -> None:
    for part, silence in words:
        peer.sendall(part)
        gevent.sleep(silence)


def test_nothing_is_lost_by_parking_and_waking(legs: Legs) -> None:
    legs.relay()
    pairs = [(legs.client, legs.backend, _words(1)), (legs.backend, legs.client, _words(2))]
    talking = [gevent.spawn(_say, sender, words) for sender, _, words in pairs]
    heard = [
        gevent.spawn(read_exactly, receiver, sum(len(part) for part, _ in words))
        for _, receiver, words in pairs
    ]
    jobs: list[gevent.Greenlet[..., object]] = [*talking, *heard]  # type: ignore[list-item]
    gevent.joinall(jobs, timeout=20, raise_error=True)
    assert [job.value for job in heard] == [b"".join(part for part, _ in words) for _, _, words in pairs]
    assert legs.times_parked > 20
    legs.leave()


def test_a_relay_that_was_splicing_is_parked_too(plain_legs: Legs) -> None:
    legs = plain_legs
    legs.relay()
    bulk = b"x" * 4_000_000 + b"\r\n"
    sending = gevent.spawn(legs.backend.sendall, bulk)
    assert read_exactly(legs.client, len(bulk)) == bulk
    sending.get()
    assert parked(legs)
    legs.client.sendall(b"a1 NOOP\r\n")
    assert read_exactly(legs.backend, 9) == b"a1 NOOP\r\n"
    legs.leave()


def test_no_checks_without_relays(plain_legs: Legs) -> None:
    looks: Any = plain_legs.parking._timer
    plain_legs.relay()
    assert parked(plain_legs)
    assert looks.active  # a parked relay is checked for its timeout
    plain_legs.leave()
    gevent.sleep(0.05)
    assert not looks.active
