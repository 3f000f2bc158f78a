"""The console's end of its line to the master."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from gevent import socket as cooperative

from geomail.console import master_line
from geomail.console.master_line import MasterLine, MasterSilent, OrderRefused
from geomail.control.jsonlines import decode, encode

Reports = list[tuple[dict[str, Any], int]]


@contextmanager
def line() -> Iterator[tuple[MasterLine, socket.socket, Reports]]:
    """Read a line; yield it, the master's end, and its reports with the number of their sockets."""
    ours, theirs = cooperative.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reports: Reports = []

    def take(report: dict[str, Any], descriptors: list[int]) -> None:
        reports.append((report, len(descriptors)))
        for descriptor in descriptors:
            socket.close(descriptor)

    master = MasterLine(ours, {"state": take, "listener": take})
    reading = gevent.spawn(master.read)
    theirs.settimeout(10)
    with theirs:
        yield master, theirs, reports
    reading.get(timeout=10)
    master.close()


def test_answers_go_to_their_orders_whatever_their_sequence() -> None:
    with line() as (master, theirs, reports):
        ordering = [gevent.spawn(master.order, name) for name in ("reload", "drain")]
        orders = [decode(theirs.recv(1000)) for _ in ordering]
        assert [order["order"] for order in orders] == ["reload", "drain"]
        assert orders[0]["id"] != orders[1]["id"]
        for order in reversed(orders):
            answer = {"report": "answer", "id": order["id"], "error": None, "state": {}, "of": order["order"]}
            theirs.send(encode(answer))
        assert [one.get(timeout=10)["of"] for one in ordering] == ["reload", "drain"]
        assert len(reports) == 2, "each answer brings the state"


def test_an_error_is_raised_where_the_order_was_given() -> None:
    with line() as (master, theirs, _):
        ordering = gevent.spawn(pytest.raises, OrderRefused, master.order, "dance")
        number = decode(theirs.recv(1000))["id"]
        theirs.send(encode({"report": "answer", "id": number, "error": "unknown order: dance", "state": {}}))
        assert "unknown order: dance" in str(ordering.get(timeout=10).value)


def test_a_master_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(master_line, "_PATIENCE", 0.05)
    with line() as (master, theirs, _):
        with pytest.raises(MasterSilent, match=r"within 0\.05 s"):
            master.order("reload")
        number = decode(theirs.recv(1000))["id"]
        theirs.send(encode({"report": "answer", "id": number, "error": None, "state": {}}))  # too late


def test_reports_go_to_their_receivers_with_their_sockets() -> None:
    with line() as (_, theirs, reports), socket.socket() as listener:
        theirs.send(encode({"report": "state", "state": {}}))
        socket.send_fds(theirs, [encode({"report": "listener", "name": "metrics"})], [listener.fileno()])
        theirs.send(encode({"report": "listener", "name": "metrics"}))
        with gevent.Timeout(10):
            while len(reports) < 3:
                gevent.sleep(0.01)
    assert [(report["report"], sockets) for report, sockets in reports] == [
        ("state", 0),
        ("listener", 1),
        ("listener", 0),
    ]
