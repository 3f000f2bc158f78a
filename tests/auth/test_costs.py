"""The time of refusals: by the most expensive hash, the password's length, and the load of the machine."""

import time
from types import SimpleNamespace

import pytest

from geomail import hashes
from geomail.auth.costs import LEAST, Costs
from geomail.hashes import Hash, recognise

SSHA = recognise("{SSHA}ye4E2MtP42QBr7OMwxPuEde3AKfa2N5f")
SHA512 = recognise(
    "$6$LM9gn76nE92JSidw$"
    "AXHebUzXlWf6jC4RxYpgsTJGreKR2PfK1ePF.cEYPcHevgJ1.w5DWQ/vFl99xNT6cBert15lZCY9qs7okOBJi/"
)
EXPENSIVE = recognise(
    "$argon2id$v=19$m=4294967295,t=3,p=1$wdRlLW6JLQqIQ80vjSv4ig$gtlwuX6n1TXyk+ruViG2Y7rq+k+b/UwVYYqTKjjhfyU"
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the time that the costs read."""
    now = [1000.0]
    monkeypatch.setattr("geomail.auth.costs.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> list[Hash]:
    """Pretend to measure: SHA-512 takes 100 ms for a short password and 612 ms for one of 512 bytes."""
    seen = []

    def verify(known: Hash, password: bytes) -> bool:
        seen.append(known)
        clock[0] += (0.084 + len(password) / 1000) if known is SHA512 else 0.0
        return False

    monkeypatch.setattr(hashes, "verify", verify)
    return seen


def test_the_most_expensive_hash_counts_with_a_margin(measured: list[Hash]) -> None:
    found = Costs(longest=512)
    found.measure([SSHA, SHA512])

    assert (
        0.12
        < found.get_refusal_seconds(0)
        < found.get_refusal_seconds(100)
        < found.get_refusal_seconds(512)
        < 0.8
    )
    assert found.get_refusal_seconds(512) > 0.612 * 1.1
    assert found.get_refusal_seconds(513) == found.get_refusal_seconds(10_000) < 0.15, (
        "that is never verified"
    )


@pytest.mark.parametrize("length", range(0, 512, 37))
def test_the_cost_of_a_length_between_is_never_underestimated(measured: list[Hash], length: int) -> None:
    found = Costs(longest=512)
    found.measure([SHA512])

    assert found.get_refusal_seconds(length) > 0.084 + length / 1000


def test_what_has_been_measured_is_not_measured_again(measured: list[Hash]) -> None:
    found = Costs(longest=512)
    found.measure([SSHA])
    measured.clear()
    found.measure([SSHA, SHA512])
    assert set(measured) == {SHA512}
    found.measure([SSHA])
    assert found.get_refusal_seconds(0) == LEAST


def test_refusals_take_a_multiple_for_a_while_when_the_machine_is_busy(
    measured: list[Hash], clock: list[float]
) -> None:
    found = Costs(longest=512)
    found.measure([SHA512])
    usual = found.get_refusal_seconds(20)
    found.note(20, usual * 0.9)
    assert found.get_refusal_seconds(20) == usual
    found.note(20, usual * 2.5)
    assert found.get_refusal_seconds(20) == usual * 4
    found.note(20, usual * 1.5)
    assert found.get_refusal_seconds(20) == usual * 4
    clock[0] += 61
    assert found.get_refusal_seconds(20) == usual
    found.note(20, usual * 1000)
    assert found.get_refusal_seconds(20) == usual * 8, "a process that was stopped delays no login for long"


def test_without_users_and_with_hashes_that_cannot_be_verified_refusals_are_shortest() -> None:
    found = Costs(longest=512)
    assert found.get_refusal_seconds(10) == LEAST
    found.measure([EXPENSIVE])
    assert LEAST <= found.get_refusal_seconds(10) < 0.2


def test_this_machine_is_measured() -> None:
    found = Costs(longest=512)
    found.measure([SHA512])
    took = []
    for _ in range(5):
        began = time.monotonic()
        hashes.verify(SHA512, b"x" * 500)
        took.append(time.monotonic() - began)

    assert min(took) < 3 * found.get_refusal_seconds(500), "the machine may be busier than it was"
