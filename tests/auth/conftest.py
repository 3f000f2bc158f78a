"""Verifications that end when a test says so."""

import os
from collections.abc import Callable, Iterator

import pytest

from geomail.auth import verifier
from geomail.hashes import Hash


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Lets no verification of a login end before it is called; all passwords are right."""
    ends = os.pipe()

    def waits(known: Hash, password: bytes) -> bool:
        os.read(ends[0], 1)
        return True

    monkeypatch.setattr(verifier, "_verify", waits)
    yield lambda: os.write(ends[1], b"." * 1000)
    for end in ends:
        os.close(end)
