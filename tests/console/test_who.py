"""``who`` and ``status``: what they report of sessions, workers and counters."""

import imaplib
import os
import signal
import time
from typing import Any

import gevent
import pytest

from tests.console.support import PROTOCOLS, Asker, Client, Running, eventually


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_session_is_told_of_as_it_is(protocol: str, shared: Running, asker: Asker) -> None:
    user = f"tell-{protocol}@example.test"
    before = time.time()
    client = shared.client(protocol, user)
    [session] = asker.sessions(user=user)
    assert session.pop("worker") in shared.workers
    assert before - 1 <= session.pop("started") <= time.time()
    assert 0 <= session.pop("idle") < 5
    assert session.pop("session")
    assert session.pop("client_port") > 0
    assert session.pop("bytes_in") > 10
    assert session.pop("bytes_out") > 10
    assert session.pop("backend").endswith("(small)")
    assert session == {
        "server": f"{protocol}-in",
        "protocol": protocol,
        "state": "relay",
        "client": "127.0.0.1",
        "local": "127.0.0.1",
        "local_port": shared.ports[protocol],
        "tls": "",
        "user": user,
        "method": "plain",
    }
    _log_out(client)
    eventually(lambda: not asker.sessions(user=user))


def test_a_client_before_its_login_has_no_user_and_no_idle_time(shared: Running, asker: Asker) -> None:
    port = shared.connect("imap").getsockname()[1]
    [session] = [one for one in asker.sessions() if one["client_port"] == port]
    assert (session["state"], session["user"], session["backend"], session["idle"]) == ("login", "", "", None)


@pytest.mark.parametrize(
    ("select", "found"),
    [
        ({"user": "pick-imap@*"}, {"imap"}),
        ({"user": ["PICK-POP?@*", "pick-imap@example.test"]}, {"imap", "pop3"}),
        ({"user": "pick-*", "protocol": "*p*"}, {"imap", "pop3", "smtp"}),
        ({"user": "pick-*", "protocol": "?op3"}, {"pop3"}),
        ({"user": "pick-*", "server": "smtp-in"}, {"smtp"}),
        ({"user": "pick-*", "client": "127.0.0.0/8"}, {"imap", "pop3", "smtp"}),
        ({"user": "pick-*", "client": ["10.0.0.0/8", "::1"]}, set()),
        ({"user": "pick-*", "backend": "small"}, {"imap", "pop3", "smtp"}),
        ({"user": "pick-*", "backend": "127.0.0.1:*"}, {"imap", "pop3", "smtp"}),
        ({"user": "pick-*", "backend": "large"}, set()),
        ({"user": "pick-*", "session": "nobody-1"}, set()),
        ({"user": "pick"}, set()),
    ],
)
def test_sessions_are_chosen(select: dict[str, Any], found: set[str], shared: Running, asker: Asker) -> None:
    for protocol in PROTOCOLS:
        shared.client(protocol, f"pick-{protocol}@example.test")
    assert {session["protocol"] for session in asker.sessions(**select)} == found


def test_ids_are_unique_and_choose_just_their_session(shared: Running, asker: Asker) -> None:
    for number in range(6):
        shared.imap(f"id{number}@example.test")
    sessions = asker.sessions(user="id?@example.test")
    assert len({session["session"] for session in sessions}) == 6
    assert len({session["worker"] for session in sessions}) <= 2
    [chosen] = asker.sessions(session=sessions[2]["session"])
    assert chosen["user"] == sessions[2]["user"]


def test_many_sessions_come_in_pages_and_each_once(shared: Running, asker: Asker) -> None:
    ports = {shared.connect("imap").getsockname()[1] for _ in range(700)}
    *pages, last = asker.ask("who")
    listed = [session["client_port"] for page in pages for session in page["sessions"]]
    assert max(len(page["sessions"]) for page in pages) <= 250
    assert len(listed) == len(set(listed)) == last["done"]["sessions"]
    assert ports <= set(listed)
    shared.leave()
    eventually(lambda: asker.done("status")["sessions"] == 0)


def test_status_counts_what_clients_did(own: Running) -> None:
    with own.asker() as asker:
        eventually(lambda: asker.done("status")["sessions"] == 0)
        before = asker.done("status")["totals"]["opened"]
        clients = [own.client(protocol, "count@example.test") for protocol in PROTOCOLS for _ in range(3)]
        with pytest.raises(Exception, match="AUTHENTICATIONFAILED"):
            own.imap("bad@example.test")
        own.connect("smtp")
        status = asker.done("status")
        assert status["sessions"] == sum(worker["sessions"] for worker in status["workers"])
        assert status["totals"]["opened"] == status["sessions"] + status["totals"]["closed"] == before + 11
        assert (status["totals"]["logins"], status["totals"]["refused"]) == (9, 1)
        assert {name: row["active"] for name, row in status["servers"].items() if name != "imap-in"} == {
            "pop3-in": 3,
            "smtp-in": 4,
        }
        assert sum(row["logins"] for row in status["backends"].values()) == 9
        assert sum(row["active"] for row in status["backends"].values()) == 9
        assert sum(row["refused"] for row in status["backends"].values()) == 1
        for client in clients:
            _log_out(client)
        own.leave()
        eventually(lambda: asker.done("status")["sessions"] == 0)
        status = asker.done("status")
        assert status["totals"]["closed"] == status["totals"]["opened"]
        assert sum(row["active"] for row in status["backends"].values()) == 0
        assert sum(row["bytes_out"] for row in status["servers"].values()) > 500


def test_status_tells_of_the_server(own: Running) -> None:
    with own.asker() as asker:
        status = asker.done("status")
    assert (status["pid"], status["ending"]) == (own.master, False)
    assert 0 <= status["now"] - status["started"] < 60
    assert {worker["pid"] for worker in status["workers"]} < own.children
    assert all(worker["answers"] and not worker["draining"] for worker in status["workers"])
    assert status["configuration"]["file"] == str(own.file)
    assert status["configuration"]["generation"] == 1
    assert status["configuration"]["changed"] is False
    own.file.touch()
    with own.asker() as asker:
        assert asker.done("status")["configuration"]["changed"] is True


def test_rates_are_those_of_late(own: Running) -> None:
    with own.asker() as asker:
        for number in range(20):
            _log_out(own.imap(f"rate{number}@example.test"))
        eventually(lambda: asker.done("status")["rates"]["logins"] > 1)
        assert asker.done("status")["rates"]["logins"] <= 20


def test_a_worker_that_is_stuck_is_named_and_holds_up_nobody_long(own: Running) -> None:
    with own.asker() as asker, own.asker() as other:
        stuck, well = own.workers
        os.kill(stuck, signal.SIGSTOP)
        try:
            began = time.monotonic()
            listed = gevent.spawn(other.done, "who")
            status = asker.done("status")
            assert {worker["pid"]: worker["answers"] for worker in status["workers"]} == {
                stuck: False,
                well: True,
            }
            assert listed.get()["silent"] == [stuck]
            assert time.monotonic() - began < 14
        finally:
            os.kill(stuck, signal.SIGCONT)
        eventually(lambda: asker.done("who")["silent"] == [])


def _log_out(client: Client) -> None:
    if isinstance(client, imaplib.IMAP4):
        client.logout()
    else:
        client.quit()
