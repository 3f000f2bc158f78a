"""Keys that change with time: the same in all processes, and gone when their time is over."""

import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from geomail.net import ticket_keys
from geomail.net.openssl import sessions
from geomail.net.ticket_keys import SHORTEST, ChangingKeys
from tests.net.pki import Pki
from tests.net.tls_support import V12, V13, client, listening, meet

PERIOD = 300.0
ROOT = Path(__file__).parents[2]
Clock = Callable[[float], None]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Lets so many seconds pass."""
    now = 12 * PERIOD + 1

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    for module in (ticket_keys, sessions):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    return sleep


def copied(keys: ChangingKeys) -> ChangingKeys:
    twin = ChangingKeys(PERIOD)
    twin._memory[:] = keys._memory[:]
    return twin


def test_the_key_of_today_is_the_one_before_tomorrow(passes: Clock) -> None:
    keys = ChangingKeys(PERIOD)
    (first,), end = keys.current()
    assert end == 13 * PERIOD
    passes(PERIOD - 2)
    assert keys.current() == ([first], end)

    passes(1)
    (second, before), end = keys.current()
    assert (before, end) == (first, 14 * PERIOD)
    assert len({first.name, second.name, first.aes, second.aes, first.hmac, second.hmac}) == 6

    passes(PERIOD)
    assert keys.current()[0][1:] == [second]


def test_a_key_is_used_for_a_minute_at_least(passes: Clock) -> None:
    keys = ChangingKeys(1.0)
    before = keys.current()[0][0]
    passes(SHORTEST / 2)
    assert keys.current()[0][0] == before


def test_who_comes_late_finds_the_same_keys(passes: Clock) -> None:
    keys = ChangingKeys(PERIOD)
    twin = copied(keys)
    for _ in range(5):
        passes(PERIOD)
        keys.current()

    assert twin.current() == keys.current()
    twin._memory[:] = keys._memory[:]
    passes(1000 * PERIOD)
    assert twin.current() == keys.current()


def test_who_was_stopped_while_it_wrote_does_no_harm(passes: Clock) -> None:
    keys = ChangingKeys(PERIOD)
    passes(PERIOD)
    late = copied(keys)
    late.current()
    passes(2 * PERIOD)
    (newest, _), end = keys.current()

    half = len(keys._memory) // 2
    for start in (0, half):  # what was to be written long ago comes now
        keys._memory[start : start + half] = late._memory[start : start + half]
        (key, *_), until = keys.current()
        assert (key, until) == (newest, end)


@pytest.mark.parametrize("place", [0, 1])
def test_a_torn_place_is_made_good(place: int, passes: Clock) -> None:
    keys = ChangingKeys(PERIOD)
    passes(PERIOD)
    (newest, _), end = keys.current()
    keys._memory[place * len(keys._memory) // 2 + 20] ^= 1

    (key, *_), until = keys.current()
    assert (key, until) == (newest, end)


def test_nothing_at_all_is_left(passes: Clock) -> None:
    keys = ChangingKeys(PERIOD)
    keys._memory[:] = bytes(len(keys._memory))

    assert keys.current() == keys.current()


def test_nothing_is_left_of_a_secret_that_has_had_its_time(passes: Clock) -> None:
    keys = ChangingKeys(PERIOD)
    ((_, secret),) = keys._read()
    for _ in range(2):
        assert secret in keys._memory[:]
        passes(PERIOD)
        keys.current()

    assert secret not in keys._memory[:]


_FORK = """
import os, sys, types
from geomail.net import ticket_keys
keys = ticket_keys.ChangingKeys(300)
now = ticket_keys.time.monotonic()
ticket_keys.time = types.SimpleNamespace(monotonic=lambda: now + 300)
if (child := os.fork()) == 0:
    print(keys.current()[0][0].name.hex(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
assert max(dict(keys._read())) == int((now + 300) / 300)  # the child has written it
print(keys.current()[0][0].name.hex())
"""


def test_processes_share_them() -> None:
    ran = subprocess.run([sys.executable, "-c", _FORK], cwd=ROOT, check=True, capture_output=True, text=True)

    assert len(ran.stdout.split()) == 2
    assert len(set(ran.stdout.split())) == 1


# -- in TLS ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V12, V13])
def test_tickets_of_a_shared_cache_are_good_for_one_change_of_keys(
    version: ssl.TLSVersion, passes: Clock, pki: Pki
) -> None:
    listener = listening(pki.ec, session_cache=f"shared:{version}:64k", session_timeout=PERIOD)
    visitor = client(pki, version)
    session = meet(listener, visitor).session
    passes(PERIOD)
    renewed = meet(listener, visitor, session)
    assert renewed.resumed
    passes(PERIOD)
    assert not meet(listener, visitor, session).resumed
    assert meet(listener, visitor, renewed.session).resumed


def test_a_reload_keeps_the_keys_of_a_shared_cache(pki: Pki) -> None:
    visitor = client(pki)
    before, after, other = (
        listening(pki.ec, session_cache=f"shared:{name}:64k", session_timeout=PERIOD)
        for name in ("kept", "kept", "other")
    )
    session = meet(before, visitor).session

    assert meet(after, visitor, session).resumed
    assert not meet(other, visitor, session).resumed


@pytest.mark.parametrize("cache", ["none", "builtin"])
def test_keys_do_not_change_where_no_cache_is_shared(cache: str, passes: Clock, pki: Pki) -> None:
    listener = listening(pki.ec, session_cache=cache, session_timeout=PERIOD)
    visitor = client(pki, V13)
    session = meet(listener, visitor).session
    passes(3 * PERIOD)

    assert meet(listener, visitor, session).resumed
