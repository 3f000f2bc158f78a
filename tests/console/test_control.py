"""Answers on the control socket, to good and to bad requests."""

import json
import socket
import time
from contextlib import ExitStack

import pytest

from tests.console.support import Asker, Running, served_again


def test_the_first_line_tells_the_version(asker: Asker) -> None:
    assert asker.hello["geomail"] == 1
    assert asker.hello["version"]


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        (b'{"id": 1, "do": "dance"}', "unknown-request"),
        (b'{"id": 1}', "unknown-request"),
        (b'{"id": 1, "do": ["status"]}', "unknown-request"),
        (b'{"do": "status"}', "bad-request"),
        (b'{"id": null, "do": "status"}', "bad-request"),
        (b'{"id": {}, "do": "status"}', "bad-request"),
        (b'{"id": true, "do": "status"}', "bad-request"),
        (b'{"id": "%b", "do": "status"}' % (b"x" * 101), "bad-request"),
        (b'{"id": 1, "do": "kick"}', "bad-request"),
        (b'{"id": 1, "do": "who", "select": []}', "bad-selection"),
        (b'{"id": 1, "do": "who", "select": {"colour": "red"}}', "bad-selection"),
        (b'{"id": 1, "do": "who", "select": {"user": [1]}}', "bad-selection"),
        (b'{"id": 1, "do": "kick", "select": {"client": "nowhere"}}', "bad-selection"),
        (b'{"id": 1, "do": "tail", "events": ["rain"]}', "bad-request"),
        (b'{"id": 1, "do": "tail", "events": []}', "bad-request"),
        (b'{"id": 1, "do": "tail", "events": [[]]}', "bad-request"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_refused_and_the_next_one_is_not(
    request_line: bytes, error: str, asker: Asker
) -> None:
    asker.send_raw(request_line + b"\n")
    answer = asker.next()
    assert answer["error"] == error
    assert answer["text"]
    assert asker.done("status")["sessions"] >= 0


@pytest.mark.parametrize(
    "garbage", [b"hello?\n", b"[1]\n", b"\n", b'{"id": 1' * 20000, b"[" * 100000 + b"\n", b"\xff\n"]
)
def test_who_does_not_speak_the_protocol_is_told_and_left(garbage: bytes, shared: Running) -> None:
    with shared.asker() as asker:
        try:
            asker.send_raw(garbage)
        except OSError:
            pass  # the server did not wait for the end
        answer = asker.next()
        assert (answer["id"], answer["error"]) == (None, "bad-request")
        try:
            assert asker.ended() == b""
        except ConnectionResetError:
            assert len(garbage) > 65536  # the server closed the connection with some of that unread


def test_requests_in_one_piece_are_all_answered_after_the_client_ended_its_sending(asker: Asker) -> None:
    requests = [{"id": str(number), "do": do} for number, do in enumerate(["status", "who", "status", "no"])]
    asker.send_raw(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
    asker.sock.shutdown(socket.SHUT_WR)
    answers = [json.loads(line) for line in asker.ended().splitlines()]
    assert {answer["id"] for answer in answers if {"done", "error"} & answer.keys()} == {"0", "1", "2", "3"}


def test_an_id_is_used_once_at_a_time(asker: Asker) -> None:
    asker.send_raw(b'{"id": 1, "do": "tail"}\n{"id": 1, "do": "tail"}\n')
    answers = [asker.next(), asker.next()]
    assert sorted("watching" in answer for answer in answers) == [False, True]
    assert "busy" in {answer.get("error") for answer in answers}


def test_requests_under_way_are_limited(asker: Asker) -> None:
    for _ in range(17):
        asker.send("tail")
    answers = [asker.next() for _ in range(17)]
    assert [answer["error"] for answer in answers if "error" in answer] == ["busy"]


def test_clients_are_limited_and_those_who_leave_make_room(empty: Running) -> None:
    with ExitStack() as others:
        askers = [others.enter_context(empty.asker()) for _ in range(64)]
        with empty.asker() as one_more:
            assert one_more.next()["error"] == "busy"
            assert one_more.ended() == b""
        askers.pop().__exit__()
        served_again(empty)
    served_again(empty)


def test_a_client_that_asks_and_does_not_read_stops_nobody_else(shared: Running) -> None:
    with shared.asker() as greedy, shared.asker() as other:
        greedy.sock.settimeout(0.5)
        asked = 0
        try:
            while asked < 20_000:
                greedy.send("status")
                asked += 1
        except TimeoutError:
            pass  # the server reads no more from a client that does not read
        assert asked < 20_000
        took = []
        for _ in range(3):  # this machine may be busy with something else
            began = time.monotonic()
            assert other.done("status")
            took.append(time.monotonic() - began)
        assert min(took) < 1
