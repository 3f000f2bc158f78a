"""``tail``: events as they happen, for viewers that read them, and for viewers that do not."""

import os
import signal
import socket
import time
from collections import Counter
from contextlib import closing

import gevent
import pytest

from tests.console.support import PROTOCOLS, Asker, Running, eventually


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_login_of_each_protocol_is_seen_within_half_a_second(
    protocol: str, shared: Running, asker: Asker
) -> None:
    asker.tail()
    took, login = [], {}
    for number in range(20):  # this machine may be busy with something else
        user = f"seen-{protocol}-{number}@example.test"
        shared.client(protocol, user)
        done = time.monotonic()
        login = asker.event("relay.started", user=user)
        took.append(time.monotonic() - done)
        if took[-1] < 0.5:
            break
    assert min(took) < 0.5
    assert (login["protocol"], login["server"], login["client"]) == (protocol, f"{protocol}-in", "127.0.0.1")
    assert login["backend"].endswith("(small)")
    assert abs(login["time"] - time.time()) < 5


def test_a_session_is_told_from_its_beginning_to_its_end_under_one_id(shared: Running, asker: Asker) -> None:
    asker.tail()
    client = shared.imap("whole@example.test")
    client.noop()
    login = asker.event("relay.started", user="whole@example.test")
    client.logout()
    closed = asker.event("session.closed", session=login["session"])
    assert (closed["outcome"], closed["relayed"]) == ("done", True)
    assert closed["listener"] == f"127.0.0.1:{shared.ports['imap']}"
    assert closed["bytes_in"] > 20
    assert closed["bytes_out"] > 20
    assert closed["duration"] > 0


def test_a_refused_login_is_seen(shared: Running, asker: Asker) -> None:
    asker.tail(events=["login.refused"])
    with pytest.raises(Exception, match="AUTHENTICATIONFAILED"):
        shared.imap("bad@example.test")
    refused = asker.next()
    assert (refused["event"], refused["user"], refused["side"]) == (
        "login.refused",
        "bad@example.test",
        "backend",
    )


def test_what_was_not_asked_for_is_not_sent(shared: Running) -> None:
    with shared.asker() as by_kind, shared.asker() as by_user, shared.asker() as by_outcome:
        by_kind.tail(events=["session.closed"])
        by_user.tail(select={"user": "wanted-*"})
        by_outcome.tail(select={"outcome": "gone"})
        for user in ("other@example.test", "wanted-1@example.test"):
            shared.imap(user).logout()
        with closing(shared.connect("imap")):
            pass
        assert by_kind.next()["event"] == "session.closed"
        assert by_outcome.next()["outcome"] == "gone"
        assert [by_user.next()["event"] for _ in range(2)] == ["relay.started", "session.closed"]
        for asker in (by_kind, by_user, by_outcome):
            asker.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            by_user.next()
        with pytest.raises(TimeoutError):
            by_outcome.next()


def test_events_are_made_for_those_who_watch_alone(empty: Running) -> None:
    own = empty
    with own.asker() as asker:
        asker.tail(events=["session.closed"])
        own.imap("one@example.test").logout()
        assert asker.next()["event"] == "session.closed"
    own.imap("two@example.test").logout()  # no viewer gets it, and nothing breaks
    with own.asker() as asker:
        asker.tail()
        own.imap("three@example.test")
        assert asker.event("relay.started")["user"] == "three@example.test"


def test_a_viewer_that_stops_reading_slows_nobody_and_is_told_its_losses(own: Running) -> None:
    number = 3000
    with own.asker() as still, own.asker() as reading:
        still.tail(events=["session.opened", "session.closed"])
        reading.tail(events=["session.closed"])
        seen: list[dict[str, object]] = []
        counting = gevent.spawn(_collect, reading, seen, number)
        logins = _hurry(own, number)
        counting.join(20)
        assert len(seen) == number, "one that reads is not hurt by one that does not"
        assert max(logins) < 1.0
        told = Counter[str]()
        while told["events"] + told["lost"] < 2 * number:
            record = still.next()
            told["lost"] += record.get("lost", 0)
            told["events"] += "event" in record
        assert told["lost"] > 0
        assert told["events"] + told["lost"] == 2 * number


def _collect(asker: Asker, seen: list[dict[str, object]], number: int) -> None:
    while len(seen) < number:
        seen.append(asker.next())


def _hurry(own: Running, number: int) -> list[float]:
    """Run sessions in quick succession; return how long their logins took."""
    logins = []
    for count in range(number):
        if count % 100 == 0:
            began = time.monotonic()
            own.imap(f"{'long-name' * 20}{count}@example.test").logout()
            logins.append(time.monotonic() - began)
        else:
            with socket.create_connection(("127.0.0.1", own.ports["imap"])) as sock:
                sock.sendall(b"a LOGOUT\r\n")
                while sock.recv(1000):
                    pass
    return logins


def test_a_console_that_is_stuck_stops_no_mail_and_its_viewers_are_told_what_they_lost(own: Running) -> None:
    number = 5000
    with own.asker() as asker:
        asker.tail(events=["session.opened", "session.closed"])
        console = own.console
        os.kill(console, signal.SIGSTOP)
        try:
            assert max(_hurry(own, number)) < 1.0
        finally:
            os.kill(console, signal.SIGCONT)
        told = Counter[str]()
        while told["events"] + told["lost"] < 2 * number:
            record = asker.next()
            told["lost"] += record.get("lost", 0)
            told["events"] += "event" in record
        assert told["lost"] > 0
        eventually(lambda: len(own.workers) == 2)
