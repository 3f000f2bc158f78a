"""``geomail kick``: the question, the ended sessions, and the output."""

import json
import os
import pty
import select
import subprocess
import time

import pytest

from tests.cli.commands import environment, geomail, invoked
from tests.console.support import Running, eventually
from tests.servers.geomail import COMMAND


def users(server: Running) -> set[str]:
    """Return the users who are logged in."""
    with server.asker() as asker:
        return {session["user"] for session in asker.sessions()}


def test_one_session_is_ended_without_a_question(empty: Running) -> None:
    empty.imap("one@example.test")
    empty.imap("other@example.test")
    done = geomail("kick", "-c", empty.file, "one@example.test")
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 session ended" in done.stderr
    eventually(lambda: users(empty) == {"other@example.test"})


def test_several_are_ended_only_if_that_is_meant(empty: Running) -> None:
    for number in range(3):
        empty.imap(f"many{number}@example.test")
    empty.imap("stay@example.test")
    done = invoked("kick", "-c", empty.file, "many*")
    assert done.returncode == 1
    assert "3 sessions match, and there is no terminal to ask at: give --yes" in done.stderr
    assert len(users(empty)) == 4
    done = invoked("kick", "-c", empty.file, "many*", "--yes")
    assert done.returncode == 0
    assert "3 sessions ended" in done.stderr
    eventually(lambda: users(empty) == {"stay@example.test"})


def test_the_ended_sessions_as_json(empty: Running) -> None:
    empty.imap("json@example.test")
    [session] = json.loads(invoked("kick", "-c", empty.file, "--json", "--protocol", "imap").stdout)
    assert session["user"] == "json@example.test"
    assert session["session"]
    done = invoked("kick", "-c", empty.file, "--json", "nobody")
    assert (done.returncode, json.loads(done.stdout)) == (1, [])


def test_more_sessions_than_one_request_can_name(empty: Running) -> None:
    for _ in range(620):
        empty.connect("imap")
    empty.imap("stay@example.test")
    done = invoked("kick", "-c", empty.file, "--user", "", "--client", "127.0.0.1", "--yes")
    assert "620 sessions ended" in done.stderr
    eventually(lambda: users(empty) == {"stay@example.test"})


def test_nobody_to_kick(empty: Running) -> None:
    done = invoked("kick", "-c", empty.file, "nobody@example.test")
    assert done.returncode == 1
    assert "no session matches" in done.stderr


def test_everybody_is_not_the_default(empty: Running) -> None:
    empty.imap("safe@example.test")
    done = invoked("kick", "-c", empty.file, "--yes")
    assert done.returncode == 2
    assert "no session is chosen: give USER, --client, --server" in done.stderr
    assert users(empty) == {"safe@example.test"}


@pytest.mark.parametrize(("answer", "status", "left"), [("y", 0, set()), ("n", 1, {"a@x.test", "b@x.test"})])
def test_the_question_on_a_terminal(answer: str, status: int, left: set[str], empty: Running) -> None:
    for user in ("a@x.test", "b@x.test"):
        empty.imap(user)
    near, far = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "kick", "-c", empty.file, "*@x.test"], stdin=far, stdout=far, stderr=far, env=environment()
    )
    os.close(far)
    shown = _read_until(near, "End these 2 sessions? [y/N]")
    assert "a@x.test" in shown
    os.write(near, answer.encode() + b"\n")
    assert process.wait(30) == status
    os.close(near)
    eventually(lambda: users(empty) == left)


def test_who_comes_while_it_is_asked_stays(empty: Running) -> None:
    for user in ("a@x.test", "b@x.test"):
        empty.imap(user)
    near, far = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "kick", "-c", empty.file, "*@x.test"], stdin=far, stdout=far, stderr=far, env=environment()
    )
    os.close(far)
    _read_until(near, "End these 2 sessions? [y/N]")
    empty.imap("c@x.test")
    os.write(near, b"y\n")
    assert process.wait(30) == 0
    os.close(near)
    eventually(lambda: users(empty) == {"c@x.test"})


def test_the_question_is_no_part_of_the_json(empty: Running) -> None:
    for user in ("a@x.test", "b@x.test"):
        empty.imap(user)
    near, far = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "kick", "-c", empty.file, "--json", "*@x.test"],
        stdin=far,
        stdout=subprocess.PIPE,
        stderr=far,
        env=environment(),
    )
    os.close(far)
    assert "a@x.test" in _read_until(near, "End these 2 sessions? [y/N]")
    os.write(near, b"y\n")
    printed, _ = process.communicate(timeout=30)
    os.close(near)
    assert {session["user"] for session in json.loads(printed)} == {"a@x.test", "b@x.test"}


def _read_until(terminal: int, text: str) -> str:
    shown, deadline = "", time.monotonic() + 15
    while text not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 4096).decode()
    assert text in shown
    return shown
