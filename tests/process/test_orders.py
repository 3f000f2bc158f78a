"""Orders of the console to the master: each is carried out by its name, and gets one answer."""

from __future__ import annotations

from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair
from _socket import socket as RawSocket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geomail.config.schema import Config
from geomail.control.jsonlines import decode, encode
from geomail.process.generation import open_generation
from geomail.process.master import Master
from geomail.sinks.log import Log


class Ends:
    """A master without children, and the console's end of its line."""

    def __init__(self, master: Master, line: RawSocket) -> None:
        self.master = master
        self._line = line

    def send(self, message: bytes) -> None:
        self._line.send(message)

    def order(self, *orders: dict[str, Any]) -> list[dict[str, Any]]:
        """Send orders, let the master take them, and return its reports."""
        for order in orders:
            self.send(encode(order))
        self.master._take_orders()
        reports = []
        while True:
            try:
                reports.append(decode(self._line.recv(10_000)))
            except BlockingIOError:
                return reports


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    log = Log()

    def load(_file: Path) -> Config:
        raise AssertionError("this test does not reload")

    master = Master(tmp_path / "geomail.toml", load, log)
    config = Config.model_validate({"user": "root", "control": {"socket": "off"}, "servers": ()})
    master._workforce.current = open_generation(1, config, None, log, 1024)
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    master._keeper._line = ours
    yield Ends(master, theirs)
    theirs.close()
    master._keeper.forget()


def test_a_handler_in_the_table_is_all_that_an_order_needs(ends: Ends) -> None:
    ends.master._orders["drain"] = lambda order: {"drained": order["sessions"]}

    [report] = ends.order({"order": "drain", "id": 7, "sessions": 3})

    assert report == {
        "report": "answer",
        "id": 7,
        "error": None,
        "drained": 3,
        "state": ends.master._describe(),
    }


def test_an_unknown_order_gets_an_error(ends: Ends) -> None:
    reports = ends.order({"order": "dance", "id": 1}, {"id": 2}, {"order": ["reload"], "id": 3})

    assert [(report["id"], report["error"]) for report in reports] == [
        (1, "unknown order: dance"),
        (2, "unknown order: None"),
        (3, "unknown order: ['reload']"),
    ]


def test_a_master_that_ends_refuses_to_reload(ends: Ends) -> None:
    ends.master._stop_after_sessions()

    state, answer = ends.order({"order": "reload", "id": 1})

    assert state["report"] == "state"
    assert state["state"]["ending"] is True
    assert (answer["report"], answer["id"], answer["error"]) == ("answer", 1, "geomail is stopping")


def test_a_message_that_is_not_an_object_is_ignored(ends: Ends) -> None:
    ends.send(b"7")

    [report] = ends.order({"order": "dance", "id": 2})

    assert report["id"] == 2
