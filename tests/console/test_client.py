"""One client of the control socket: what it still gets, and when geomail gives it up."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from geomail.console import outbox
from geomail.console.control import Client
from geomail.console.outbox import MOST_WAITING, ClientGone, Outbox
from geomail.control.jsonlines import Lines, decode, encode

#: More than the buffers of a connection and an outbox hold.
PIECES = 100


def much(_client: Client, _request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number in range(PIECES):
        yield {"number": number, "text": "x" * 50_000}
    yield {"done": {}}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the two ends of a connection."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    ours.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def test_a_client_that_has_ended_its_sending_gets_all_answers(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    serving = gevent.spawn(Client(theirs, {"much": much}, frozenset()).serve)
    ours.sendall(encode({"id": 1, "do": "much"}))
    ours.shutdown(socket.SHUT_WR)
    gevent.sleep(0.2)  # meanwhile it reads nothing
    cutter, lines = Lines(1_000_000), []
    while data := ours.recv(65536):
        lines += cutter.feed(data)
    assert [decode(line).get("number") for line in lines[1:-1]] == list(range(PIECES))
    assert decode(lines[-1]) == {"id": 1, "done": {}}
    serving.get(timeout=5)


def test_a_client_that_reads_nothing_is_given_up(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "STUCK", 0.3)
    box = Outbox(ends[1])
    before = time.monotonic()
    with pytest.raises(ClientGone), gevent.Timeout(5):
        while True:
            box.put(b"x" * MOST_WAITING)
    assert time.monotonic() - before >= 0.3
    box.close()
