import random
import subprocess
import sys
from pathlib import Path

import pytest

from geomail.net.session_cache import LARGEST, SessionCache, get_shared_cache

SIZE = 32768
ROOT = Path(__file__).parents[2]


def test_a_session_is_found_by_its_id_alone() -> None:
    cache = SessionCache(SIZE)
    cache.put(b"a" * 32, b"session")

    assert cache.get(b"a" * 32) == b"session"
    assert cache.get(b"a" * 31 + b"b") is None  # the same place, another session
    assert cache.get(b"b" * 32) is None


def test_a_session_is_replaced_and_removed() -> None:
    cache = SessionCache(SIZE)
    cache.put(b"id", b"first")
    cache.put(b"id", b"second")
    assert cache.get(b"id") == b"second"

    cache.remove(b"other")
    cache.remove(b"id")

    assert cache.get(b"id") is None


@pytest.mark.parametrize(("size", "kept"), [(0, False), (1, True), (LARGEST, True), (LARGEST + 1, False)])
def test_sizes(size: int, kept: bool) -> None:
    cache = SessionCache(SIZE)

    cache.put(b"\xff" * 8, b"x" * size)

    assert (cache.get(b"\xff" * 8) is not None) is kept


def test_an_overwritten_session_is_missed_and_never_mistaken() -> None:
    cache, number = SessionCache(SIZE), random.Random(4)
    put = {number.randbytes(32): number.randbytes(number.randrange(1, 2000)) for _ in range(500)}
    for session_id, session in put.items():
        cache.put(session_id, session)

    found = {session_id: cache.get(session_id) for session_id in put}

    assert all(found[session_id] in (None, put[session_id]) for session_id in put)
    assert 0 < sum(session is not None for session in found.values()) < len(put)
    assert found[session_id] == session  # the last one


_FORK = """
import os
from geomail.net.session_cache import SessionCache
cache = SessionCache(32768)
child = os.fork()
if child == 0:
    cache.put(b"from the child", b"session")
    os._exit(0)
os.waitpid(child, 0)
print(cache.get(b"from the child"))
"""


def test_processes_share_it() -> None:
    ran = subprocess.run([sys.executable, "-c", _FORK], cwd=ROOT, check=True, capture_output=True, text=True)

    assert ran.stdout == "b'session'\n"


def test_one_cache_by_name_and_size() -> None:
    assert get_shared_cache("a", SIZE) is get_shared_cache("a", SIZE)
    assert get_shared_cache("a", SIZE) is not get_shared_cache("b", SIZE)
    assert get_shared_cache("a", SIZE) is not get_shared_cache("a", 2 * SIZE)
