"""What metrics are made of: every login and session counted once, under bounded names."""

from typing import Any

import pytest

from geomail.events import EventStream
from geomail.sinks import meters
from geomail.sinks.meters import BOUNDS, Meters
from tests.sinks.support import BACKEND, closed, refused, started

FAILED: dict[str, Any] = {
    "relayed": False,
    "outcome": "auth_error",
    "side": "auth",
    "connect_time": None,
    "login_time": None,
}
QUIET: dict[str, Any] = {
    "relayed": False,
    "method": "",
    "auth_time": None,
    "connect_time": None,
    "login_time": None,
}


def counted(*events: Any) -> dict[str, dict[str, dict[str, int]]]:
    stream = EventStream()
    found = Meters(stream, dict)
    for event in events:
        stream.emit(event)
    return found.changes()


@pytest.mark.parametrize(
    ("events", "logins"),
    [
        ([started("u"), closed("u")], {"imap\taccepted\t": 1}),
        ([refused("u")], {"imap\trefused\tauth": 1}),
        ([refused("u", by="backend")], {"imap\trefused\tbackend": 1}),
        (
            [refused("u"), closed("u", relayed=False, outcome="refused", side="auth")],
            {"imap\trefused\tauth": 1},
        ),
        ([closed("u", **FAILED)], {"imap\tfailed\tauth_error": 1}),
        ([closed("u", **{**FAILED, "outcome": "gone", "side": "client"})], {}),
        ([closed(**{**QUIET, "outcome": "timeout"})], {}),
    ],
)
def test_every_login_is_counted_once(events: list[Any], logins: dict[str, int]) -> None:
    assert counted(*events).get("logins", {}) == {key: {"count": count} for key, count in logins.items()}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (30.0, 13), (30.1, 14), (1e6, 14)]
)
def test_a_time_is_under_the_first_bound_that_it_does_not_exceed(seconds: float, bucket: int) -> None:
    event = started("u", auth_time=seconds)
    assert counted(event)["auth"] == {"imap": {str(bucket): 1, "us": int(seconds * 1e6)}}
    assert len(BOUNDS["auth"]) == 14


def test_a_relayed_login_is_timed_once_and_its_bytes_are_its_backends() -> None:
    found = counted(started("u"), closed("u"))
    assert {table: list(found[table]) for table in ("connect", "login")} == {
        "connect": [BACKEND],
        "login": [BACKEND],
    }
    assert sum(count for name, count in found["login"][BACKEND].items() if name != "us") == 1
    assert found["relayed"] == {f"imap\t{BACKEND}": {"in": 100, "out": 2000}}
    assert found["ended"] == {"imap\tdone\tclient": {"count": 1}}


def test_a_login_that_failed_is_timed_by_what_there_was() -> None:
    found = counted(closed("u", **FAILED))
    assert "connect" not in found
    assert list(found["auth"]) == ["imap"]


def test_only_what_changed_is_told_and_all_of_it_to_who_asks_for_everything() -> None:
    stream, lost = EventStream(), {"log": 0}
    found = Meters(stream, lambda: lost)
    stream.emit(refused("u"))
    assert set(found.changes()) == {"logins"}
    assert found.changes() == {}
    lost["log"] = 7
    assert found.changes() == {"losses": {"log": {"count": 7}}}
    assert found.changes() == {}
    assert set(found.changes(everything=True)) == {"logins", "losses"}


def test_incidents_are_told_by_kind() -> None:
    noted = {"auth_unasked": 2}
    found = Meters(EventStream(), dict, lambda: noted)
    assert found.changes() == {"incidents": {"auth_unasked": {"count": 2}}}
    assert found.changes() == {}


def test_what_one_table_has_told_is_not_taken_for_another_ones() -> None:
    stream = EventStream()
    found = Meters(stream, dict)
    stream.emit(started("u"))
    stream.emit(closed("u"))
    assert list(found.changes()["auth"]) == list(found.changes(everything=True)["session"]) == ["imap"]
    assert found.changes() == {}


def test_backends_beyond_a_number_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "MOST_BACKENDS", 3)
    events = [started("u", backend=f"192.0.2.{number}:143") for number in range(6)]
    assert len(counted(*events)["connect"]) == 4
    assert counted(*events)["connect"]["others"]["us"] == 3 * 2200


def test_no_name_is_a_users() -> None:
    assert "jane" not in str(
        counted(started("jane"), closed("jane"), refused("jane"), closed("jane", **FAILED))
    )
