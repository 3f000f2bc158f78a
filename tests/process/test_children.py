"""The time when a child that died has a successor."""

import time

import pytest

from geomail.process.children import GrowingDelay


class Clock:
    """A clock that stops until a test moves it on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def goes_on(self, seconds: float) -> float:
        self.now += seconds
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_children_that_die_young_are_replaced_later_each_time(clock: Clock) -> None:
    delay, waited = GrowingDelay(), []
    for _ in range(9):
        born = max(clock.now, delay.due)
        clock.now = born + 0.1
        waited.append(delay.note_death(born))
        assert delay.due == clock.now + waited[-1]

    assert waited == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_children_that_die_together_count_once(clock: Clock) -> None:
    delay, born = GrowingDelay(), clock.now
    clock.goes_on(1)
    assert [delay.note_death(born) for _ in range(8)] == [0.5] * 8
    born = clock.goes_on(0.5)
    clock.goes_on(1)
    assert [delay.note_death(born) for _ in range(8)] == [1] * 8


def test_a_child_that_lived_long_has_a_successor_at_once(clock: Clock) -> None:
    delay = GrowingDelay()
    delay.note_death(clock.now)
    delay.note_death(clock.goes_on(1))
    born = clock.goes_on(1)
    clock.goes_on(10)

    assert delay.note_death(born) == 0
    assert delay.due == clock.now
    assert delay.note_death(clock.goes_on(1)) == 0.5
