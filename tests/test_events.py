"""Events, and the sinks that get them."""

import json

import pytest

from geomail.events import (
    FIELD_NAMES,
    KINDS,
    Event,
    EventStream,
    Remark,
    SessionClosed,
    SessionOpened,
    to_dict,
)
from tests.sinks.support import every_kind

OPENED = SessionOpened(1.5, "abc-1", "[::]:143", "imap", "192.0.2.7")


def test_a_sink_gets_its_kinds_until_it_unsubscribes() -> None:
    stream, one, other = EventStream(), list[Event](), list[Event]()
    stream.subscribe(one.append, SessionOpened, Remark)
    stream.subscribe(other.append, SessionOpened)
    stream.emit(OPENED)
    assert (one, other) == ([OPENED], [OPENED])
    stream.unsubscribe(one.append, SessionOpened)
    stream.emit(OPENED)
    assert (len(one), len(other)) == (1, 2)
    assert stream.wants(Remark)


def test_a_kind_without_a_sink_is_not_wanted() -> None:
    stream, seen = EventStream(), list[Event]()
    assert not stream.wants(SessionOpened)
    stream.subscribe(seen.append, SessionOpened)
    assert stream.wants(SessionOpened)
    stream.unsubscribe(seen.append, SessionOpened)
    stream.unsubscribe(seen.append, SessionOpened)
    assert not stream.wants(SessionOpened)
    stream.emit(OPENED)
    assert seen == []


def test_a_dict_of_an_event_names_all_fields_after_the_kind() -> None:
    assert list(to_dict(OPENED).items()) == [
        ("event", "session.opened"),
        ("time", 1.5),
        ("session", "abc-1"),
        ("server", "[::]:143"),
        ("protocol", "imap"),
        ("client", "192.0.2.7"),
    ]


@pytest.mark.parametrize("event", every_kind("jane", "no such user").values(), ids=lambda event: event.kind)
def test_every_kind_has_a_name_and_becomes_a_dict(event: Event) -> None:
    assert isinstance(event, KINDS[event.kind])
    values = {name: getattr(event, name) for name in FIELD_NAMES[event.kind]}
    assert "kind" not in values
    assert json.loads(json.dumps(to_dict(event))) == {"event": event.kind, **values}


def test_a_finished_session_has_every_field_from_the_start() -> None:
    event = to_dict(SessionClosed(1.5, "abc-1"))
    assert event.keys() == {"event", *FIELD_NAMES[SessionClosed.kind]}
    assert (event["time"], event["session"], event["outcome"]) == (1.5, "abc-1", "shutdown")
