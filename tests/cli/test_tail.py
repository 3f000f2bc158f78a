"""``geomail tail``: lines for operators and for programs, across reloads and restarts."""

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.cli.commands import Following, environment, following, geomail, invoked
from tests.console.support import PROTOCOLS, Running, configuration, eventually, served_again
from tests.servers.geomail import COMMAND, serving
from tests.servers.small import small_servers
from tests.servers.support import free_port

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}  (?P<id>\S+) +(?P<protocol>\S+) +(?P<word>\S+) +(?P<user>\S+) +"
    r"(?P<client>\S+) +(?P<backend>-|\S+ \(\S+\)) *(?P<rest>.*)"
)


def fields(line: str) -> dict[str, str]:
    """Return the columns of a line."""
    match = LINE.fullmatch(line)
    assert match, line
    return match.groupdict()


def viewers(server: Running) -> int:
    """Return the number of viewers."""
    with server.asker() as asker:
        return int(asker.done("status")["viewers"])


@contextmanager
def tailing(folder: Path, server: Running, *options: str) -> Iterator[Following]:
    """A ``geomail tail`` that watches."""
    with following(folder, "tail", "-c", server.file, *options) as tail:
        eventually(lambda: viewers(server) == 1)
        yield tail


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_line_for_each_thing_that_happens(protocol: str, empty: Running, tmp_path: Path) -> None:
    with tailing(tmp_path, empty) as tail:
        empty.client(protocol, "line@example.test")
        login = fields(tail.wait_for("line@example.test"))
        assert (login["word"], login["protocol"], login["client"]) == ("login", protocol, "127.0.0.1")
        assert login["rest"] == "plain"
        opened = fields(tail.wait_for(login["id"]))
        assert (opened["word"], opened["user"], opened["backend"]) == ("opened", "-", "-")
        empty.leave()
        done = fields(tail.wait_for("  done  "))
        assert (done["id"], done["user"]) == (login["id"], "line@example.test")
        assert re.fullmatch(r"in \d+  out \d+  [0-9.]+s", done["rest"])
        assert tail.interrupt() == 0
        assert tail.said == ""


def test_why_a_login_was_refused(empty: Running, tmp_path: Path) -> None:
    with tailing(tmp_path, empty, "--user", "bad*") as tail:
        with pytest.raises(Exception, match="AUTHENTICATIONFAILED"):
            empty.imap("bad@example.test")
        refused = fields(tail.wait_for("bad@example.test"))
        assert refused["word"] == "refused"
        assert "AUTHENTICATIONFAILED" in refused["rest"]


def test_filters(empty: Running, tmp_path: Path) -> None:
    options = ("--user", "wanted*", "--protocol", "imap", "--outcome", "done", "--outcome", "quit")
    with tailing(tmp_path, empty, *options) as tail:
        with empty.asker() as watching:
            watching.tail(events=["session.closed"])
            empty.imap("other@example.test").logout()
            empty.client("smtp", "wanted-2@example.test").quit()
            assert {watching.next()["user"] for _ in range(2)} == {
                "other@example.test",
                "wanted-2@example.test",
            }
        empty.imap("wanted@example.test").logout()
        tail.wait_for("wanted@example.test")
        [line] = tail.printed.splitlines()
        assert fields(line)["word"] == "done"


def test_json_is_one_object_to_a_line(empty: Running, tmp_path: Path) -> None:
    with tailing(tmp_path, empty, "--json", "--protocol", "imap") as tail:
        empty.imap("json\x7f@example.test").logout()
        tail.wait_for("session.closed")
        records = [json.loads(line) for line in tail.printed.splitlines()]
        assert [record["event"] for record in records] == [
            "session.opened",
            "relay.started",
            "session.closed",
        ]
        assert len({record["session"] for record in records}) == 1
        assert records[-1]["outcome"] == "done"
        assert "id" not in records[0]
        assert tail.printed.replace("\n", "").isprintable()


def test_what_a_user_name_holds_steers_no_terminal(empty: Running, tmp_path: Path) -> None:
    with tailing(tmp_path, empty) as tail:
        with empty.connect("imap") as sock:
            sock.sendall(b'a LOGIN "evil\x1b[2J\x07\x9b\xe2\x80\xae" secret\r\n')
            sock.recv(1000)
        tail.wait_for("done")
        assert "evil\\x1b[2J\\x07" in tail.printed
        assert tail.printed.replace("\n", "").isprintable()


def test_it_goes_on_through_a_reload(own: Running, tmp_path: Path) -> None:
    with tailing(tmp_path, own) as tail:
        assert geomail("reload", "-c", own.file).returncode == 0
        assert "generation 2" in tail.wait_for("reloaded")
        own.imap("after@example.test")
        tail.wait_for("after@example.test")
        assert tail.said == ""


def test_it_waits_for_a_server_that_is_started_again(tmp_path: Path) -> None:
    with ExitStack() as stack:
        backends = stack.enter_context(small_servers())
        ports = {"imap": free_port()}
        text = configuration(tmp_path, backends, ports)
        with serving(text, tmp_path) as first:
            server = Running(first, tmp_path / "control.sock", tmp_path / "geomail.toml", ports)
            tail = stack.enter_context(tailing(tmp_path, server))
            server.imap("first@example.test")
            tail.wait_for("first@example.test")
        tail.wait_for("the server has gone; waiting")
        with serving(text, tmp_path):
            tail.wait_for("connected again, to geomail")
            eventually(lambda: viewers(server) == 1)
            server.imap("second@example.test")
            tail.wait_for("second@example.test")
            server.leave()
            assert tail.interrupt() == 0


def test_a_server_that_serves_nobody_more_says_so_and_is_not_called_again(empty: Running) -> None:
    with ExitStack() as others:
        for _ in range(64):
            others.enter_context(empty.asker())
        for _ in range(3):
            done = invoked("tail", "-c", empty.file)
            assert done.returncode == 1
            assert done.stderr == "geomail: 64 clients are connected: end one, or try again later\n"
    served_again(empty)


def test_it_does_not_hurry_a_server_that_ends_every_connection(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(10)
        with following(tmp_path, "tail", "--socket", path) as tail:
            accepted = []
            for _ in range(3):
                connection, _ = listener.accept()
                accepted.append(time.monotonic())
                connection.sendall(b'{"geomail":1,"version":"0"}\n')
                connection.close()
            assert accepted[-1] - accepted[0] > 0.9
            tail.wait_for("the server has gone")


def test_why_a_server_that_has_come_back_cannot_be_asked_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(10)
        with following(tmp_path, "tail", "--socket", path) as tail:
            for version in (1, 99, 99, 99):
                connection, _ = listener.accept()
                connection.sendall(b'{"geomail":%d,"version":"0\\u001b[2J"}\n' % version)
                connection.close()
            tail.wait_for("speaks another control protocol")
            assert tail.said.replace("\n", "").isprintable()
            assert tail.said.count("speaks another control protocol") == 1


def test_the_end_of_the_pipe_is_its_end(empty: Running) -> None:
    tail = subprocess.Popen(
        [COMMAND, "tail", "-c", empty.file], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert tail.stdout is not None
    eventually(lambda: viewers(empty) == 1)
    tail.stdout.close()
    empty.imap("seen-by-nobody@example.test").logout()
    assert tail.wait(30) == 0
    assert tail.stderr is not None
    assert tail.stderr.read() == b""
    tail.stderr.close()


def test_what_a_slow_pipe_had_no_room_for_is_counted_and_said(own: Running) -> None:
    number = 4000
    tail = subprocess.Popen(
        [COMMAND, "tail", "-c", own.file, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert tail.stdout is not None
    assert tail.stderr is not None
    eventually(lambda: viewers(own) == 1)
    for _ in range(number):
        own.connect("imap").close()
        own.leave()
    lost = events = 0
    while events + lost < 2 * number:
        record = json.loads(tail.stdout.readline())
        lost += record.get("lost", 0)
        events += "event" in record
    assert lost > 0
    assert events + lost == 2 * number
    tail.send_signal(signal.SIGINT)
    assert tail.wait(30) == 0
    assert f"{lost} events lost in total".encode() in tail.stderr.read()
    tail.stdout.close()
    tail.stderr.close()


def test_top_needs_a_terminal(empty: Running) -> None:
    done = invoked("tail", "--top", "-c", empty.file)
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert done.stdout == ""
