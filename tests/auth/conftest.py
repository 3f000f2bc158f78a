"""Verifications that end only when a test lets them."""

import os
from collections.abc import Callable, Iterator

import pytest

from geomail.auth import verifier
from geomail.hashes import Hash


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Return a function; no verification of a login ends before its call, and all passwords are right."""
    ends = os.pipe()

    def waits(known: Hash, password: bytes) -> bool:
        os.read(ends[0], 1)
        return True

    monkeypatch.setattr(verifier, "_verify", waits)
    yield lambda: os.write(ends[1], b"." * 1000)
    for end in ends:
        os.close(end)
