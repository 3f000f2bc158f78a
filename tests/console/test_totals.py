"""Counters of workers that start and end."""

from typing import Any

import pytest

from geomail.console.totals import MOST_ROWS, Totals, add_rows, make_counters
from geomail.sinks.tally import SERVER_COUNTERS

ZERO = dict.fromkeys(SERVER_COUNTERS, 0)


def counted(**counters: int) -> Any:
    """Return the counters of a worker with one server."""
    return {**make_counters(), "servers": {"imap": {**ZERO, **counters}}}


def logins(known: Totals, *living: Any) -> int:
    return add_rows(known.add_up(living)["servers"])["logins"]


def test_what_a_worker_counted_outlives_it() -> None:
    known = Totals()
    known.welcome("a", counted())
    assert logins(known, counted(logins=3), counted(logins=4)) == 7
    known.retire("a", counted(logins=3))
    assert logins(known, counted(logins=4)) == 7


def test_a_worker_that_comes_back_is_not_counted_twice() -> None:
    known = Totals()
    known.retire("a", counted(logins=3))
    known.welcome("a", counted(logins=5))
    assert logins(known, counted(logins=5)) == 5


def test_any_number_of_workers_may_end() -> None:
    known = Totals()
    for number in range(1000):
        known.retire(number, counted(logins=1))
    assert logins(known) == 1000


def test_backends_that_change_all_the_time_fill_no_memory_and_nothing_is_forgotten() -> None:
    known, number = Totals(), MOST_ROWS + 500
    for worker in range(number):
        row = {f"imap\t192.0.2.1:{worker}": {"in": 1}}
        known.retire(worker, {**make_counters(), "relayed": row})
    rows = known.add_up([])["relayed"]
    assert len(rows) <= MOST_ROWS + 1 + 64
    assert sum(row["in"] for row in rows.values()) == number
    assert rows["imap\tothers"]["in"] == 500 - 64


def test_rates_are_of_the_last_seconds_and_of_what_happened_then(monkeypatch: pytest.MonkeyPatch) -> None:
    known, now = Totals(), 100.0
    monkeypatch.setattr("geomail.console.totals.time.monotonic", lambda: now)
    known.sample([])
    known.welcome("a", counted(logins=5000))  # counted before this console started
    assert known.compute_rates()["logins"] == 0
    for second in range(30):
        now += 1
        known.sample([counted(logins=5000 + 2 * second)])
    assert known.compute_rates()["logins"] == pytest.approx(2)
    known.retire("a", counted(logins=5058))
    for _ in range(30):
        now += 1
        known.sample([])
    assert known.compute_rates()["logins"] == 0
