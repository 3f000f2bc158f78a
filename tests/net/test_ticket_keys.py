"""Keys that change with time: the same in all processes, and erased when their time is over."""

import gc
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from geomail.net import ticket_keys
from geomail.net.openssl import sessions
from geomail.net.session_cache import draw_fresh_ticket_keys
from geomail.net.ticket_keys import ALONE, ChangingKeys
from tests.net.pki import Pki
from tests.net.tls_support import V12, V13, client, listening, meet

LIFE = 300.0
PERIOD = LIFE + ALONE
ROOT = Path(__file__).parents[2]
Clock = Callable[[float], None]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that a test sets: it lets so many seconds pass."""
    now = 12 * PERIOD + 1

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    for module in (ticket_keys, sessions):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    return sleep


def copied(keys: ChangingKeys) -> ChangingKeys:
    twin = ChangingKeys(LIFE)
    twin._memory[:] = keys._memory[:]
    return twin


def test_the_key_of_today_is_the_one_before_tomorrow(passes: Clock) -> None:
    keys = ChangingKeys(LIFE)
    (first,), end = keys.get_current()
    assert end == 13 * PERIOD
    passes(PERIOD - 2)
    assert keys.get_current() == ([first], end)

    passes(1)
    (second, before), end = keys.get_current()
    assert (before, end) == (first, 13 * PERIOD + LIFE)
    assert len({first.name, second.name, first.aes, second.aes, first.hmac, second.hmac}) == 6

    passes(PERIOD)
    assert keys.get_current()[0][1:] == [second]


def test_the_key_before_goes_when_its_last_session_is_over(passes: Clock) -> None:
    keys = ChangingKeys(LIFE)
    passes(PERIOD - 1)
    (newest, before), end = keys.get_current()
    passes(LIFE - 1)
    assert keys.get_current() == ([newest, before], end)
    passes(1)
    assert keys.get_current() == ([newest], 14 * PERIOD)


def test_a_late_process_finds_the_same_keys(passes: Clock) -> None:
    keys = ChangingKeys(LIFE)
    twin = copied(keys)
    for _ in range(5):
        passes(PERIOD)
        keys.get_current()

    assert twin.get_current() == keys.get_current()
    twin._memory[:] = keys._memory[:]
    passes(1000 * PERIOD)
    assert twin.get_current() == keys.get_current()


def test_a_process_that_was_stopped_while_writing_does_no_harm(passes: Clock) -> None:
    keys = ChangingKeys(LIFE)
    passes(PERIOD)
    late = copied(keys)
    late.get_current()
    passes(2 * PERIOD)
    newest = keys.get_current()[0][0]

    half = len(keys._memory) // 2
    for start in (0, half):  # the bytes of a write that began long ago arrive now
        keys._memory[start : start + half] = late._memory[start : start + half]
        (key, *_), until = keys.get_current()
        assert (key, until) == (newest, 16 * PERIOD)


@pytest.mark.parametrize(
    ("since", "place", "end"),
    [
        pytest.param(0.0, 0, 14 * PERIOD, id="that of the key before, which is lost"),
        pytest.param(0.0, 1, 13 * PERIOD + LIFE, id="that of the newest"),
        pytest.param(LIFE, 0, 14 * PERIOD, id="one of the only key's"),
        pytest.param(LIFE, 1, 14 * PERIOD, id="the other of the only key's"),
    ],
)
def test_a_torn_place_is_written_again(since: float, place: int, end: float, passes: Clock) -> None:
    keys = ChangingKeys(LIFE)
    passes(PERIOD + since)
    newest = keys.get_current()[0][0]
    keys._memory[place * len(keys._memory) // 2 + 20] ^= 1

    (key, *_), until = keys.get_current()
    assert (key, until) == (newest, end)


def test_both_places_are_torn(passes: Clock) -> None:
    keys = ChangingKeys(LIFE)
    keys._memory[:] = bytes(len(keys._memory))

    assert keys.get_current() == keys.get_current()


def test_nothing_is_left_of_a_secret_whose_time_is_over(passes: Clock) -> None:
    keys = ChangingKeys(LIFE)
    ((_, secret),) = set(keys._read())
    for seconds in (PERIOD - 1, LIFE - 1):
        passes(seconds)
        keys.get_current()
        assert secret in keys._memory[:]

    passes(1)
    keys.get_current()
    assert secret not in keys._memory[:]


_FORK = """
import os, sys, types
from geomail.net import ticket_keys
keys = ticket_keys.ChangingKeys(300)
period = 300 + ticket_keys.ALONE
now = ticket_keys.time.monotonic()
ticket_keys.time = types.SimpleNamespace(monotonic=lambda: now + period)
if (child := os.fork()) == 0:
    print(keys.get_current()[0][0].name.hex(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
assert max(dict(keys._read())) == int(now / period) + 1  # the child has written it
print(keys.get_current()[0][0].name.hex())
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
    listener = listening(pki.ec, session_cache=f"shared:{version}:64k", session_timeout=LIFE)
    visitor = client(pki, version)
    session = meet(listener, visitor).session
    passes(PERIOD)
    renewed = meet(listener, visitor, session)
    assert renewed.resumed
    passes(LIFE)
    assert not meet(listener, visitor, session).resumed
    assert meet(listener, visitor, renewed.session).resumed
    passes(ALONE)
    assert meet(listener, visitor, renewed.session).resumed


def test_a_reload_keeps_the_keys_of_a_shared_cache(pki: Pki) -> None:
    visitor = client(pki)
    before, after, other = (
        listening(pki.ec, session_cache=f"shared:{name}:64k", session_timeout=LIFE)
        for name in ("kept", "kept", "other")
    )
    session = meet(before, visitor).session

    assert meet(after, visitor, session).resumed
    assert not meet(other, visitor, session).resumed


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("cache", ["none", "off", "builtin"])
def test_keys_change_without_a_shared_cache(
    cache: str, version: ssl.TLSVersion, passes: Clock, pki: Pki
) -> None:
    listener = listening(pki.ec, session_cache=cache, session_timeout=LIFE)
    visitor = client(pki, version)
    session = meet(listener, visitor).session
    passes(PERIOD)
    renewed = meet(listener, visitor, session)
    assert renewed.resumed
    passes(LIFE)
    assert not meet(listener, visitor, session).resumed
    assert meet(listener, visitor, renewed.session).resumed


# -- reloads --------------------------------------------------------------------------------------


def reloaded(name: str, pki: Pki) -> ssl.SSLContext:
    """Make the context of a listener, as the next reload does."""
    draw_fresh_ticket_keys()
    return listening(pki.ec, session_cache=f"shared:{name}:64k", session_timeout=LIFE)


def secrets_of(keys: ChangingKeys) -> set[bytes]:
    return {secret for _, secret in keys._read()}


def test_a_reload_draws_a_random_key(passes: Clock) -> None:
    before = ChangingKeys(LIFE)
    leaked = copied(before)
    after = ChangingKeys(LIFE, before)
    known: set[bytes] = set()
    for _ in range(3):
        known |= {key.aes for key in leaked.get_current()[0]}
        passes(PERIOD)
    for _ in range(3):
        assert not known & {key.aes for key in after.get_current()[0]}
        passes(PERIOD)


def test_after_a_reload_older_keys_open_tickets_for_their_time(passes: Clock) -> None:
    before = ChangingKeys(LIFE)
    passes(PERIOD - 1)
    (second, first), _ = before.get_current()
    after = ChangingKeys(LIFE, before)

    (newest, *older), end = after.get_current()
    assert newest not in (first, second)
    assert set(older) == {first, second}
    assert end == 13 * PERIOD + LIFE + 60
    passes(LIFE)  # no ticket of the first key is valid now
    assert after.get_current()[0][1:] == [second]
    passes(60)
    assert after.get_current() == ([newest], 14 * PERIOD)


def test_nothing_is_left_of_the_keys_from_before_a_reload(passes: Clock) -> None:
    before = ChangingKeys(LIFE)
    after = ChangingKeys(LIFE, before)
    secret = secrets_of(before)
    passes(LIFE + 59)
    after.get_current()
    assert secrets_of(before) == secret
    passes(1)
    after.get_current()
    assert not any(before._memory[:])


def test_a_reload_does_not_disturb_old_workers(passes: Clock) -> None:
    """The keys stay, also after a reload that failed and another one."""
    before = ChangingKeys(LIFE)
    ChangingKeys(LIFE, before)
    passes(PERIOD)
    twin = copied(before)
    assert before.get_current() == twin.get_current()

    given_up = ChangingKeys(LIFE, before)
    passes(2 * LIFE)
    (living, *_), _ = before.get_current()
    after = ChangingKeys(LIFE, given_up)
    assert living in after.get_current()[0][1:]


def test_reloads_without_end_keep_a_bounded_number_of_keys(passes: Clock) -> None:
    keys = ChangingKeys(LIFE)
    for _ in range(100):
        passes(1)
        keys = ChangingKeys(LIFE, keys)

    assert 5 < len(keys.get_current()[0]) < 12
    assert sum(isinstance(thing, ChangingKeys) for thing in gc.get_objects()) < 30


@pytest.mark.parametrize("version", [V12, V13])
def test_sessions_are_resumed_over_a_reload_and_those_of_other_keys_are_not(
    version: ssl.TLSVersion, passes: Clock, pki: Pki
) -> None:
    visitor = client(pki, version)
    first = reloaded(f"reloads-{version}", pki)
    session = meet(first, visitor).session
    second = reloaded(f"reloads-{version}", pki)
    renewed = meet(second, visitor, session)

    assert renewed.resumed
    assert not meet(first, visitor, renewed.session).resumed, "the key has not changed"
    passes(LIFE + 60)
    assert not meet(second, visitor, session).resumed
    assert meet(second, visitor, renewed.session).resumed
