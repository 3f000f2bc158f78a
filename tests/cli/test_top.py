"""``geomail tail`` on a terminal: colours, and ``--top`` on the whole screen."""

import imaplib
import os
import re
import resource
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal, terminal
from tests.console.support import Running, eventually, running
from tests.servers.geomail import COMMAND
from tests.servers.support import program, unavailable

HEAD = ["ID", "PROTO", "USER", "CLIENT", "BACKEND", "STATE", "AGE", "IDLE", "IN", "OUT", "RATE"]


@contextmanager
def top(
    folder: Path, server: Running, *options: str, columns: int = 120, lines: int = 20
) -> Iterator[Terminal]:
    """Run ``geomail tail --top`` between two lines of its shell."""
    command = shlex.join([str(COMMAND), "tail", "--top", "-c", str(server.file), *options])
    script = f"echo before; {command}; echo ended with $?; exec sleep 60"
    with terminal(folder, script, columns, lines) as window:
        yield window


def users(lines: list[str]) -> list[str]:
    """Return the users in the table, from the top."""
    head = next(number for number, line in enumerate(lines) if line.startswith("ID"))
    return [line.split()[2] for line in lines[head + 1 : -1] if line]


@pytest.fixture
def busy(empty: Running) -> Running:
    """A server with seven sessions, whose users did not log in by alphabet."""
    return with_seven(empty)


def with_seven(server: Running) -> Running:
    """Return the server with seven sessions."""
    for name in "dagecfb":
        server.imap(f"{name}@example.test")
    return server


def test_the_screen(busy: Running, tmp_path: Path) -> None:
    with top(tmp_path, busy) as window:
        lines = window.wait_for("a@example.test")
        assert re.match(r"geomail \S+  up \S+  2 workers  generation 1  \d\d:\d\d:\d\d", lines[0])
        assert re.match(r"7 sessions  opened \d+ .*logins \d+ .*traffic ", lines[1])
        assert lines[2].startswith("showing 7 of 7, by rate")
        assert lines[3].split() == HEAD
        assert sorted(users(lines)) == [f"{name}@example.test" for name in "abcdefg"]
        assert len(lines) == 20
        assert lines[-1].startswith("[q]uit [r] flip [u]ser ")
        assert all(line == "" for line in lines[11:-1])


def test_keys_sort_and_turn_the_order_and_who_has_not_logged_in_comes_last(
    busy: Running, tmp_path: Path
) -> None:
    busy.connect("imap")
    with top(tmp_path, busy) as window:
        window.wait_for("8 sessions")
        window.type("u")
        assert [name[0] for name in users(window.wait_for("by user$"))] == list("abcdefg-")
        window.type("r")
        assert [name[0] for name in users(window.wait_for("by user, reversed"))] == list("gfedcba-")
        window.type("a")
        assert users(window.wait_for("by age$"))[0] == "d@example.test", "the oldest"
        window.type("x", "Up", "Escape")  # which mean nothing
        window.type("u")
        window.wait_for("by user$")


def test_q_ends_it_and_leaves_the_terminal_as_it_was(busy: Running, tmp_path: Path) -> None:
    with top(tmp_path, busy) as window:
        window.wait_for("a@example.test")
        assert window.is_full_screen()
        window.type("q")
        assert [line for line in window.wait_for("ended with") if line] == ["before", "ended with 0"]
        assert not window.is_full_screen()
        window.type("typed")
        window.wait_for("typed")  # it is shown again what is typed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_leave_the_terminal_as_it_was(number: signal.Signals, busy: Running, tmp_path: Path) -> None:
    with top(tmp_path, busy) as window:
        window.wait_for("a@example.test")
        if number == signal.SIGINT:
            window.type("C-c")
        else:
            os.kill(_process_of(busy), number)
        lines = [line for line in window.wait_for("ended with") if line]
        assert lines[0] == "before"
        assert "ended with 0" in lines
        assert not window.is_full_screen()


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(busy: Running, tmp_path: Path) -> None:
    shell = f"env PS1='here$ ' {program('bash')} --norc --noprofile -i"
    with terminal(tmp_path, shell) as window:
        window.type(shlex.join([str(COMMAND), "tail", "--top", "-c", str(busy.file)]), "Enter")
        window.wait_for("7 sessions")
        window.type("C-z")
        window.wait_for(r"^\[1\]\+ +Stopped")
        assert not window.is_full_screen()
        window.type("echo typed-$((1+1))", "Enter")
        window.wait_for("^typed-2$")
        assert any("echo typed-" in line for line in window.lines), "it is shown what is typed"
        window.type("fg", "Enter")
        window.wait_for("7 sessions")
        assert window.is_full_screen()
        window.type("u")
        window.wait_for("by user$")
        window.type("q")
        window.wait_for("^here. .*fg$")
        assert not window.is_full_screen()


def _process_of(server: Running) -> int:
    """Return the process of the ``--top`` that watches this server."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"--top" in words and str(server.file).encode() in words and words[0] != b"sh":
                return int(entry.name)
    raise AssertionError("there is none")


def test_it_looks_at_the_server_once_a_second(busy: Running, tmp_path: Path) -> None:
    with top(tmp_path, busy) as window:
        window.wait_for("7 sessions")
        window.record()
        began = time.monotonic()
        loud = busy.imap("loud@example.test")
        assert "loud@example.test" in users(window.wait_for("8 sessions"))
        eventually(lambda: _is_seen_to_talk(window, loud))
        loud.shutdown()
        busy.leave()
        assert users(window.wait_for("0 sessions")) == []
        frames = window.raw.count(b"\x1b[?2026h")
        assert 2 <= frames <= time.monotonic() - began + 2


def _is_seen_to_talk(window: Terminal, loud: imaplib.IMAP4) -> bool:
    """Tell whether the client comes first by rate, and has one, after it has talked."""
    for _ in range(20):
        loud.noop()
    lines = window.lines
    return users(lines)[:1] == ["loud@example.test"] and "0/s" not in lines[4].split()[-1]


def test_only_what_is_selected(busy: Running, tmp_path: Path) -> None:
    with top(tmp_path, busy, "--user", "[a]@*", "--user", "b@*") as window:
        lines = window.wait_for("b@example.test")
        assert users(lines) == ["b@example.test"]
        assert "showing 1 of 1, by rate; only user=[a]@* user=b@*" in lines[2]


def test_a_small_window_and_one_that_grows(busy: Running, tmp_path: Path) -> None:
    with top(tmp_path, busy, columns=60, lines=8) as window:
        lines = window.wait_for("showing 3 of 7")
        assert all(len(line) <= 60 for line in lines)
        assert len(users([*lines])) == 3
        window.resize(80, 30)
        assert window.wait_for("showing 7 of 7")[-1].endswith(" ra[t]e"), "all keys fit"
        window.resize(120, 30)
        assert len(users(window.wait_for("showing 7 of 7"))) == 7
        window.resize(30, 3)
        window.wait_for(r"^\[q\]uit")
        window.resize(120, 20)
        assert window.wait_for("showing 7 of 7")[3].split() == HEAD


def test_names_steer_no_terminal(empty: Running, tmp_path: Path) -> None:
    with empty.connect("imap") as sock:
        sock.sendall(b'a LOGIN "evil\x1b[31m\x07\xe2\x80\xae\xe4\xbd\xa0" secret\r\n')
        sock.recv(1000)
        with top(tmp_path, empty) as window:
            lines = window.wait_for("evil")
            assert "evil\\x1b[31m\\x07\\u202e你" in lines[4]


def test_a_server_that_is_gone_is_said_and_found_again(own: Running, tmp_path: Path) -> None:
    busy = with_seven(own)
    with top(tmp_path, busy) as window:
        window.wait_for("a@example.test")
        busy.server.process.send_signal(signal.SIGSTOP)
        os.kill(busy.console, signal.SIGKILL)
        window.wait_for("closed the connection|does not answer|no geomail server")
        assert window.is_full_screen()
        busy.server.process.send_signal(signal.SIGCONT)
        window.wait_for("showing 7 of 7")


@pytest.fixture
def many_files() -> Iterator[None]:
    """A limit of some ten thousand open files, here and in child processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12_000:
        unavailable("12,000 open files are not allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (12_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.long
@pytest.mark.usefixtures("many_files")
def test_five_thousand_sessions_do_not_flicker(tmp_path: Path) -> None:
    number = 5000
    with running(tmp_path) as server:
        socks = [socket.create_connection(("127.0.0.1", server.ports["imap"])) for _ in range(number)]
        with server.asker() as asker:
            eventually(lambda: asker.done("status")["sessions"] == number)
        with top(tmp_path, server, lines=24) as window:
            window.wait_for(f"showing 19 of {number}")
            window.record()
            eventually(lambda: window.raw.count(b"\x1b[?2026h") > 3, seconds=30)
            frames = window.raw.split(b"\x1b[?2026h")[1:-1]
            assert len(frames) >= 2
            for frame in frames:
                assert frame.startswith(b"\x1b[H"), "it is drawn over, from the top"
                assert b"\x1b[2J" not in frame, "nothing is cleared first"
                assert len(frame) < 24 * 400, "no more is drawn than fits"
            window.type("q")
            window.wait_for("ended with 0")
        for sock in socks:
            sock.close()


def test_lines_are_coloured_on_a_terminal(empty: Running, tmp_path: Path) -> None:
    command = shlex.join([str(COMMAND), "tail", "-c", str(empty.file)])
    with terminal(tmp_path, f"{command}; echo ended with $?; exec sleep 60", 150) as window:
        with empty.asker() as asker:
            eventually(lambda: asker.done("status")["viewers"] == 1)
        empty.imap("colour@example.test").logout()
        window.wait_for("done .*colour@example.test")
        assert re.search(r"\x1b\[32mlogin", window.coloured)
        [login] = [line for line in window.lines if " login " in line]
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3}  \S+-[0-9a-f]+ ", login), "no date, as that is known here"
        window.type("C-c")
        window.wait_for("ended with 0")


def test_a_line_takes_no_more_room_than_it_must_on_a_narrow_terminal(empty: Running, tmp_path: Path) -> None:
    command = shlex.join([str(COMMAND), "tail", "-c", str(empty.file)])
    with terminal(tmp_path, f"{command}; exec sleep 60", 110) as window:
        with empty.asker() as asker:
            eventually(lambda: asker.done("status")["viewers"] == 1)
        empty.imap("jane@example.test")
        lines = window.wait_for("jane@example.test")
        assert [line for line in lines if re.search(r"jane@example.test .* plain$", line)]
