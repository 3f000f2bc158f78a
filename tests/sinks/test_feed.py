"""A worker's line to the console: the lines that it carries, and their bounds."""

import socket
from collections import Counter
from collections.abc import Iterator

import gevent
import pytest

from geomail.control.jsonlines import decode, encode
from geomail.events import EventStream, SessionOpened, TraceLine
from geomail.sinks.feed import MOST_WAITING, TOKEN, TRACE_BYTES, TRACES_BYTES, ConsoleAddress, Feed
from tests.sinks.support import opened


@pytest.fixture
def console() -> Iterator[socket.socket]:
    """Yield the socket on which a console listens."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen()
        listener.settimeout(10)
        yield listener


SHOWN = bytes(range(TOKEN))


def address_of(console: socket.socket) -> ConsoleAddress:
    """How a worker reaches it."""
    return ConsoleAddress(console.getsockname(), SHOWN)


def test_a_new_worker_sends_its_first_events(console: socket.socket) -> None:
    events = EventStream()
    feed = Feed(address_of(console), events, {"pid": 1}, lambda _all: {"sessions": 0}, {}, lambda: None)
    events.emit(opened())
    connection, _ = console.accept()
    with connection, connection.makefile("rb") as lines:
        assert lines.read(TOKEN) == SHOWN
        assert [next(iter(decode(lines.readline()))) for _ in range(2)] == ["hello", "status"]
        assert decode(lines.readline())["event"] == "session.opened"
        assert events.wants(SessionOpened)
        connection.sendall(encode({"order": "watch", "id": 1, "kinds": []}))
        assert decode(lines.readline()) == {"answer": 1, "kinds": []}
        assert not events.wants(SessionOpened), "without a viewer, events cost nothing"
    gevent.sleep(0)
    feed.close(0)


def test_events_that_a_slow_console_does_not_take_are_counted(console: socket.socket) -> None:
    more = 100
    events = EventStream()
    feed = Feed(address_of(console), events, {"pid": 1}, lambda _all: {"sessions": 0}, {}, lambda: None)
    for _ in range(MOST_WAITING + more):
        events.emit(opened())
    connection, _ = console.accept()
    with connection, connection.makefile("rb") as lines:
        assert lines.read(TOKEN) == SHOWN
        counts = Counter[str]()
        while counts["event"] + counts["lost"] < MOST_WAITING + more:
            line = decode(lines.readline())
            counts["event"] += "event" in line
            counts["lost"] += line.get("lost", 0)
        assert counts["lost"] == more
    gevent.sleep(0)
    feed.close(0)


def trace_line(trace: int, line: str) -> TraceLine:
    return TraceLine(0.0, "s-1", trace, "imap", "imap", "192.0.2.7", "jane", "client", "<", line, "")


def test_the_lines_of_traces_that_wait_are_bounded_in_bytes(console: socket.socket) -> None:
    feed = Feed(
        address_of(console), EventStream(), {"pid": 1}, lambda _all: {"sessions": 0}, {}, lambda: None
    )
    size, sent = 8192, 3000
    for trace in range(1, 7):
        for _ in range(sent // 6):
            feed.take(trace_line(trace, "x" * size))
    waiting = len(feed._waiting)
    of_first = sum(isinstance(line, TraceLine) and line.trace == 1 for line in feed._waiting)
    assert TRACE_BYTES * 0.9 < of_first * size <= TRACE_BYTES
    assert TRACES_BYTES * 0.9 < waiting * size <= TRACES_BYTES
    connection, _ = console.accept()
    with connection, connection.makefile("rb") as lines:
        assert lines.read(TOKEN) == SHOWN
        counts = Counter[str]()
        while counts["event"] + counts["lost"] < sent:
            line = decode(lines.readline())
            counts["event"] += "event" in line
            counts["lost"] += line.get("lost", 0)
    assert counts["event"] == waiting
    assert feed._traced.total() == 0
    gevent.sleep(0)
    feed.close(0)
