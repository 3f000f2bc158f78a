"""Events, and the sinks that get them."""

import json
from dataclasses import fields

import pytest

from geomail.events import KINDS, Event, EventStream, Remark, SessionOpened, record

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


def test_a_record_names_everything_the_kind_first() -> None:
    assert list(record(OPENED).items()) == [
        ("event", "session.opened"),
        ("time", 1.5),
        ("session", "abc-1"),
        ("server", "[::]:143"),
        ("protocol", "imap"),
        ("client", "192.0.2.7"),
    ]


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_kind_has_a_name_and_a_record(kind: type[Event]) -> None:
    values = {field.name: 1 for field in fields(kind)}
    assert KINDS[kind.kind] is kind
    assert json.loads(json.dumps(record(kind(**values)))) == {"event": kind.kind, **values}  # type: ignore[arg-type]
