"""Turns to verify passwords: their number, their order, and logins that stop waiting."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import gevent
import pytest
from gevent.event import AsyncResult

from geomail import hashes
from geomail.auth.verifier import Busy, Turn, Verifier, find_network
from geomail.errors import GeomailError
from geomail.hashes import libcrypt, recognise
from tests.auth.support import wait_until

KNOWN = recognise("{SSHA}ye4E2MtP42QBr7OMwxPuEde3AKfa2N5f")
RIGHT = b"pass word"
NEAR, NEAR_TOO, FAR, FAR_AWAY = "192.0.2.7", "192.0.2.200", "198.51.100.1", "2001:db8::1"


def verify(verifier: Verifier, address: str = NEAR) -> bool:
    with verifier.make_turn(address) as turn:
        return turn.verify(KNOWN, RIGHT)


def start(verifier: Verifier, *addresses: str) -> list[gevent.Greenlet[..., bool]]:
    """Start logins one after the other; each waits or has its turn."""
    logins = []
    for address in addresses:
        logins.append(gevent.spawn(verify, verifier, address))
        gevent.sleep(0)
    return logins


def waiting(verifier: Verifier) -> int:
    return sum(map(len, verifier._waiting.values()))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unix:"),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert find_network(address) == network


def test_a_limited_number_of_logins_wait(held: Callable[[], int]) -> None:
    verifier = Verifier(threads=2, most_waiting=3)
    logins = start(verifier, *[NEAR] * 5)

    with pytest.raises(Busy):
        verify(verifier)
    held()
    assert [login.get(timeout=5) for login in logins] == [True] * 5
    assert verify(verifier)
    assert verifier._free == 2


def test_networks_take_turns(held: Callable[[], int]) -> None:
    verifier = Verifier(threads=1)
    ended: list[str] = []
    for address in (NEAR, NEAR, NEAR_TOO, NEAR, FAR, FAR_AWAY, FAR):
        (login,) = start(verifier, address)
        login.rawlink(partial(lambda name, _: ended.append(name), address))
    held()
    wait_until(lambda: len(ended) == 7)

    assert ended == [NEAR, NEAR, FAR, FAR_AWAY, NEAR_TOO, FAR, NEAR]


def test_a_network_that_takes_all_room_gives_way(held: Callable[[], int]) -> None:
    verifier = Verifier(threads=1, most_waiting=3)
    crowd = start(verifier, *[NEAR] * 4)
    (other,) = start(verifier, FAR)

    with pytest.raises(Busy):
        crowd[-1].get(timeout=5)
    held()
    assert other.get(timeout=5)
    assert [login.get(timeout=5) for login in crowd[:-1]] == [True] * 3
    assert verifier._free == 1


@pytest.mark.parametrize("error", [gevent.GreenletExit(), gevent.Timeout(), ConnectionError()])
def test_no_hash_is_verified_for_a_login_that_left_the_queue(
    held: Callable[[], int], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    verifier = Verifier(threads=1)
    started = []
    run = verifier.run

    def watched(known: hashes.Hash, password: bytes) -> AsyncResult[bool | GeomailError]:
        started.append(password)
        return run(known, password)

    monkeypatch.setattr(verifier, "run", watched)
    first, *leaving, last = start(verifier, *[NEAR] * 6)
    gone: list[gevent.Greenlet[..., bool]] = []
    for login in leaving:
        login.rawlink(gone.append)
        gevent.get_hub().loop.run_callback(login.throw, error)
    wait_until(lambda: len(gone) == 4)

    assert waiting(verifier) == 1
    held()
    assert first.get(timeout=5)
    assert last.get(timeout=5)
    assert len(started) == 2
    assert verifier._free == 1


def test_a_login_that_leaves_during_its_verification_keeps_its_turn_until_the_end(
    held: Callable[[], int],
) -> None:
    verifier = Verifier(threads=1)
    impatient, patient = start(verifier, NEAR, NEAR)
    impatient.kill()

    gevent.sleep(0.02)
    assert waiting(verifier) == 1
    held()
    assert patient.get(timeout=5)
    assert verifier._free == 1


def test_a_login_that_leaves_before_its_refusal_keeps_its_turn_as_long() -> None:
    verifier = Verifier(threads=1)

    def leave() -> None:
        with verifier.make_turn(NEAR) as turn:
            turn.seconds = lambda: 0.5
            raise ConnectionError

    began = time.monotonic()
    with pytest.raises(ConnectionError):
        leave()
    assert time.monotonic() - began < 0.5
    assert verify(verifier)
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(("elapsed", "lasts"), [(0.0, 0.4), (0.2, 0.4), (0.5, 0.8)])
def test_a_turn_lasts_as_long_as_all_others_or_a_multiple(elapsed: float, lasts: float) -> None:
    with Verifier(threads=1).make_turn(NEAR) as turn:
        turn.seconds = lambda: 0.4
        gevent.sleep(elapsed)
        turn.wait_out()

        assert lasts <= turn.elapsed < lasts + 0.39


# -- the interpreter's lock -----------------------------------------------------------------------


#: A lock that is held for a whole hash stops other greenlets for a third of the time of :func:`hold_turns`.
SHARE = 1 / 6


def longest_stop(work: Callable[[], object]) -> float:
    """Return the share of this work's time in which no other greenlet ran, in the best of several attempts.

    A lock that is held is held each time; a machine is busy with something else now and then.
    """
    stops = [math.inf]
    while min(stops) > SHARE and len(stops) < 20:
        working = gevent.spawn(work)
        longest, began = 0.0, time.monotonic()
        last = began
        while not working.ready():
            gevent.sleep(0.0005)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        working.get()
        stops.append(longest / (last - began))
    return min(stops)


def hold_turns(known: hashes.Hash, password: bytes) -> None:
    verifier = Verifier(threads=2)

    def login() -> None:
        with verifier.make_turn(NEAR) as turn:
            turn.verify(known, password)

    gevent.joinall([gevent.spawn(login) for _ in range(3)], raise_error=True)


MADE = {
    "argon2id": hashes.make_argon2id(RIGHT),
    "bcrypt": "$2y$09$C6UzMDM.H6dfI/f/IKcEe.4pVTqDCcIQsfFAZ2zaXUtEHqfIKMgYW",
    "SHA-512": (
        "$6$LM9gn76nE92JSidw$"
        "AXHebUzXlWf6jC4RxYpgsTJGreKR2PfK1ePF.cEYPcHevgJ1.w5DWQ/vFl99xNT6cBert15lZCY9qs7okOBJi/"
    ),
}


@pytest.mark.parametrize("scheme", MADE)
def test_other_greenlets_run_while_a_hash_is_verified(scheme: str) -> None:
    assert longest_stop(lambda: hold_turns(recognise(MADE[scheme]), b"x" * 500)) < SHARE


def test_other_greenlets_run_without_the_c_library_too(monkeypatch: pytest.MonkeyPatch) -> None:
    known = recognise(f"$6$rounds=30000$LM9gn76nE92JSidw${'.' * 86}")
    monkeypatch.setattr(libcrypt, "_crypt_r", None)

    assert hashes.holds_interpreter(known, b"x")
    assert longest_stop(lambda: hold_turns(known, b"x")) < SHARE


def test_a_password_that_the_c_library_does_not_take_is_verified_one_at_a_time() -> None:
    known = recognise(MADE["SHA-512"])

    assert not hashes.holds_interpreter(known, b"x" * 511)
    assert hashes.holds_interpreter(known, b"x" * 512)
    assert not hashes.holds_interpreter(KNOWN, b"x" * 512)
    assert isinstance(Verifier().make_turn(NEAR), Turn)
