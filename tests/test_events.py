"""Events, and the sinks that get them."""

import json
from dataclasses import fields
from typing import Any

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


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_kind_has_a_name_and_becomes_a_dict(kind: type[Event]) -> None:
    values = {field.name: number for number, field in enumerate(fields(kind))}
    event = kind.__new__(kind)
    for name, value in values.items():
        setattr(event, name, value)
    assert KINDS[kind.kind] is kind
    assert json.loads(json.dumps(to_dict(event))) == {"event": kind.kind, **values}


def test_a_finished_session_has_every_field_from_the_start() -> None:
    event = to_dict(SessionClosed(1.5, "abc-1"))
    assert event.keys() == {"event", *FIELD_NAMES[SessionClosed.kind]}
    assert (event["time"], event["session"], event["outcome"]) == (1.5, "abc-1", "shutdown")


class Lookalike:
    """An object with the kind and the fields of a finished session, in another order."""

    kind = SessionClosed.kind

    def __init__(self) -> None:
        for number, name in enumerate(sorted(FIELD_NAMES[self.kind])):
            setattr(self, name, number)


def test_any_object_with_the_fields_of_an_event_can_take_its_place() -> None:
    stream, seen = EventStream(), list[Any]()
    stream.subscribe(seen.append, SessionClosed)
    happened: Any = Lookalike()
    stream.emit(happened)
    assert seen == [happened]
    assert to_dict(happened) == {"event": "session.closed", **vars(happened)}
