"""The counters by server and by backend."""

from pathlib import Path
from typing import Any

import pytest

from geomail.config.load import inspect_text
from geomail.events import Event, EventStream
from geomail.sinks.tally import MOST_BACKENDS, OTHERS, Tally
from tests.sinks import support

CONFIGURATION = """
[mail]
auth = "passthrough"
[[mail.server]]
listen = "0.0.0.0:143"
[auth.passthrough]
default = "main"
[backends.main]
address = "192.0.2.1:143"
[backends.spare]
imap = "192.0.2.2:143"
smtp = "192.0.2.2:25"
"""


@pytest.fixture
def stream() -> EventStream:
    return EventStream()


@pytest.fixture
def tally(stream: EventStream) -> Tally:
    config = inspect_text(CONFIGURATION, Path("geomail.toml")).config
    assert config is not None
    return Tally(stream, config)


def nonzero(row: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in row.items() if value}


def test_every_configured_server_and_backend_has_a_row_from_the_start(tally: Tally) -> None:
    assert list(tally.servers) == ["0.0.0.0:143"]
    assert set(tally.backends) == {"192.0.2.1:143 (main)", "192.0.2.2:143 (spare)", "192.0.2.2:25 (spare)"}
    assert not any(map(nonzero, [*tally.servers.values(), *tally.backends.values()]))


def test_any_number_of_configured_backends_have_a_row_each(stream: EventStream) -> None:
    tables = (f'[backends.b{n}]\naddress = "192.0.3.1:{n + 1}"\n' for n in range(MOST_BACKENDS + 5))
    config = inspect_text(CONFIGURATION + "".join(tables), Path("geomail.toml")).config
    assert config is not None

    backends = Tally(stream, config).backends

    assert len(backends) == MOST_BACKENDS + 5 + 3
    assert OTHERS not in backends


def closed(**differing: Any) -> Event:
    return support.closed("jane", **differing)


NEVER_IN = {"relayed": False, "outcome": "timeout", "side": "backend"}


@pytest.mark.parametrize(
    ("events", "server", "backend"),
    [
        ([support.opened()], {"opened": 1}, {}),
        ([support.refused("jane")], {"refused": 1}, {}),
        ([support.refused("jane", side="backend")], {"refused": 1}, {"refused": 1}),
        ([support.started("jane")], {"logins": 1}, {"logins": 1}),
        (
            [closed()],
            {"closed": 1, "bytes_in": 100, "bytes_out": 2000},
            {"ended": 1, "bytes_in": 100, "bytes_out": 2000},
        ),
        ([closed(**NEVER_IN)], {"closed": 1, "bytes_in": 100, "bytes_out": 2000}, {"failed": 1}),
        (
            [closed(relayed=False, outcome="gone", side="client")],
            {"closed": 1, "bytes_in": 100, "bytes_out": 2000},
            {},
        ),
        ([support.remarked("jane")], {}, {}),
    ],
)
def test_an_event_increases_its_counters(
    events: list[Event], server: dict[str, int], backend: dict[str, int], stream: EventStream, tally: Tally
) -> None:
    for event in events:
        stream.emit(event)
    assert nonzero(tally.servers[support.SERVER]) == server
    assert nonzero(tally.backends[support.BACKEND]) == backend


def test_a_change_is_reported_once_and_as_a_whole_row(stream: EventStream, tally: Tally) -> None:
    assert set(tally.report_changes()) == {"servers", "backends"}
    assert tally.report_changes() == {}
    stream.emit(support.opened())
    stream.emit(support.opened())
    [(name, row)] = tally.report_changes()["servers"].items()
    assert (name, row["opened"], row["closed"]) == (support.SERVER, 2, 0)
    assert tally.report_changes() == {}
    assert len(tally.report_changes(everything=True)["backends"]) == 3


def test_backends_beyond_the_limit_are_counted_together(stream: EventStream, tally: Tally) -> None:
    for number in range(2 * MOST_BACKENDS):
        started = support.started("jane")
        started.backend = f"192.0.2.9:{number}"
        stream.emit(started)
    assert len(tally.backends) == MOST_BACKENDS + 1
    assert sum(row["logins"] for row in tally.backends.values()) == 2 * MOST_BACKENDS
    assert tally.backends[OTHERS]["logins"] == MOST_BACKENDS + 3
