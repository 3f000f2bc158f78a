"""Counters for the metrics: every login and session is counted once, under bounded names."""

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


def count_events(*events: Any) -> dict[str, dict[str, dict[str, int]]]:
    stream = EventStream()
    found = Meters(stream, dict)
    for event in events:
        stream.emit(event)
    return found.report_changes()


@pytest.mark.parametrize(
    ("events", "logins"),
    [
        ([started("u"), closed("u")], {"imap\taccepted\t": 1}),
        ([refused("u")], {"imap\trefused\tauth": 1}),
        ([refused("u", side="backend")], {"imap\trefused\tbackend": 1}),
        (
            [refused("u"), closed("u", relayed=False, outcome="refused", side="auth")],
            {"imap\trefused\tauth": 1},
        ),
        ([closed("u", **FAILED)], {"imap\tfailed\tauth_error": 1}),
        ([closed("u", **{**FAILED, "outcome": "gone", "side": "client"})], {}),
        ([closed(**{**QUIET, "outcome": "timeout"})], {}),
    ],
)
def test_each_login_is_counted_once(events: list[Any], logins: dict[str, int]) -> None:
    assert count_events(*events).get("logins", {}) == {key: {"count": count} for key, count in logins.items()}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0.0, 0), (0.001, 0), (0.0011, 1), (30.0, 13), (30.1, 14), (1e6, 14)]
)
def test_a_time_is_counted_under_the_first_bound_that_it_does_not_exceed(seconds: float, bucket: int) -> None:
    event = started("u", auth_time=seconds)
    assert count_events(event)["auth"] == {"imap": {str(bucket): 1, "us": int(seconds * 1e6)}}
    assert len(BOUNDS["auth"]) == 14


def test_a_login_with_a_relay_is_timed_once_and_its_bytes_count_for_its_backend() -> None:
    found = count_events(started("u"), closed("u"))
    assert {table: list(found[table]) for table in ("connect", "login")} == {
        "connect": [BACKEND],
        "login": [BACKEND],
    }
    assert sum(count for name, count in found["login"][BACKEND].items() if name != "us") == 1
    assert found["relayed"] == {f"imap\t{BACKEND}": {"in": 100, "out": 2000}}
    assert found["ended"] == {"imap\tdone\tclient": {"count": 1}}


def test_a_failed_login_is_timed_up_to_its_failure() -> None:
    found = count_events(closed("u", **FAILED))
    assert "connect" not in found
    assert list(found["auth"]) == ["imap"]


def test_a_report_has_the_changes_alone_or_everything_on_request() -> None:
    stream, losses = EventStream(), {"log": 0}
    found = Meters(stream, lambda: losses)
    stream.emit(refused("u"))
    assert set(found.report_changes()) == {"logins"}
    assert found.report_changes() == {}
    losses["log"] = 7
    assert found.report_changes() == {"losses": {"log": {"count": 7}}}
    assert found.report_changes() == {}
    assert set(found.report_changes(everything=True)) == {"logins", "losses"}


def test_a_report_has_incidents_by_kind() -> None:
    incidents = {"auth_unasked": 2}
    found = Meters(EventStream(), dict, lambda: incidents)
    assert found.report_changes() == {"incidents": {"auth_unasked": {"count": 2}}}
    assert found.report_changes() == {}


def test_equal_keys_of_two_tables_are_not_mixed_up() -> None:
    stream = EventStream()
    found = Meters(stream, dict)
    stream.emit(started("u"))
    stream.emit(closed("u"))
    assert (
        list(found.report_changes()["auth"])
        == list(found.report_changes(everything=True)["session"])
        == ["imap"]
    )
    assert found.report_changes() == {}


def test_too_many_backends_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "MOST_BACKENDS", 3)
    events = [started("u", backend=f"192.0.2.{number}:143") for number in range(6)]
    assert len(count_events(*events)["connect"]) == 4
    assert count_events(*events)["connect"]["others"]["us"] == 3 * 2200


def test_no_key_holds_the_name_of_a_user() -> None:
    assert "jane" not in str(
        count_events(started("jane"), closed("jane"), refused("jane"), closed("jane", **FAILED))
    )
