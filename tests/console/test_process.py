"""The console as a process: what outlives it, which processes may talk to it, and where it listens."""

import grp
import os
import re
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.console.support import Asker, Running, configuration, eventually, is_alive
from tests.servers.geomail import COMMAND, serving
from tests.servers.support import LOOPBACK, free_port, open_files


def kill(pid: int) -> None:
    """Kill a process, which cannot say anything any more."""
    os.kill(pid, signal.SIGKILL)


def test_mail_goes_on_without_the_console_and_the_next_one_knows_all(own: Running) -> None:
    session = own.imap("lasting@example.test")
    first = own.console
    with own.asker() as asker:
        asker.tail()
        kill(first)
        assert asker.ended() == b""
    assert session.noop()[0] == "OK"
    own.client("smtp", "later@example.test")
    with own.asker() as asker:  # it waits in the queue of the socket until there is a console again
        eventually(lambda: len(asker.sessions()) == 2)
        assert {one["user"] for one in asker.sessions()} == {"lasting@example.test", "later@example.test"}
        asker.tail()
        assert session.noop()[0] == "OK"
        session.logout()
        assert asker.event("session.closed")["user"] == "lasting@example.test"
    assert own.console != first
    own.server.log.wait_for(rf"console {first} died \(killed by SIGKILL\)")


def test_a_console_that_dies_again_and_again_is_started_after_growing_delays(own: Running) -> None:
    delays = []
    for _ in range(2):
        console = own.console
        kill(console)
        began = time.monotonic()
        with own.asker():
            delays.append(time.monotonic() - began)
    assert delays[0] > 0.3
    assert delays[1] > 0.8


def test_a_dead_worker_takes_its_sessions_with_it_and_no_counts(own: Running) -> None:
    users = [f"user{number}@example.test" for number in range(8)]
    for user in users:
        own.imap(user)
    with own.asker() as asker, own.asker() as watching:
        watching.tail()
        sessions = asker.sessions()
        victim = sessions[0]["worker"]
        survivors = {one["session"] for one in sessions if one["worker"] != victim}
        before = asker.done("status")["totals"]
        kill(victim)
        assert watching.event("server.worker_died")["worker"] == victim
        eventually(lambda: victim not in own.workers and len(own.workers) == 2)
        assert {one["session"] for one in asker.sessions()} == survivors
        status = asker.done("status")
        assert status["totals"]["logins"] == before["logins"] == len(users)
        assert status["totals"]["opened"] == before["opened"]
        assert status["sessions"] == len(survivors)
        assert sum(row["active"] for row in status["servers"].values()) == len(survivors)


def test_the_console_ends_with_its_master(tmp_path: Path) -> None:
    ports = {"imap": free_port()}
    with serving(configuration(tmp_path, {"imap": 1}, ports, workers=1), tmp_path) as server:
        own = Running(server, tmp_path / "control.sock", tmp_path / "geomail.toml", ports)
        eventually(lambda: len(own.workers) == 1)
        children = own.children
        assert len(children) == 2
    assert not own.path.exists()
    assert not any(map(is_alive, children))


def test_nothing_outlives_a_master_that_was_killed(tmp_path: Path) -> None:
    ports = {"imap": free_port()}
    with (
        pytest.raises(AssertionError),
        serving(configuration(tmp_path, {"imap": 1}, ports, workers=1), tmp_path) as server,
    ):
        own = Running(server, tmp_path / "control.sock", tmp_path / "geomail.toml", ports)
        eventually(lambda: len(own.workers) == 1)
        [worker], console = own.workers, own.console
        kill(own.master)
        eventually(lambda: not is_alive(console))
        eventually(lambda: not is_alive(worker))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_signals_that_a_terminal_sends_to_all_do_not_end_it(number: signal.Signals, shared: Running) -> None:
    console = shared.console
    os.kill(console, number)
    with shared.asker() as asker:
        assert asker.done("status")
    assert shared.console == console


def test_while_old_sessions_last_after_quit_there_is_a_console(own: Running) -> None:
    client = own.imap("last@example.test")
    with own.asker() as asker:
        asker.tail()
        own.server.process.send_signal(signal.SIGQUIT)
        asker.event("server.ending")
    with own.asker() as asker:
        assert asker.done("status")["ending"] is True
        assert [one["user"] for one in asker.sessions()] == ["last@example.test"]
    client.logout()
    assert own.server.process.wait(30) == 0


# -- which processes may connect as workers ----------------------------------------------------------


def feed_address(master: int) -> bytes:
    """Return the address of the feed: the only socket of the master with an abstract address."""
    inodes = {match[1] for name in open_files(master) if (match := re.fullmatch(r"socket:\[(\d+)\]", name))}
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[6] in inodes and len(fields) > 7 and fields[7].startswith("@"):
            return b"\0" + fields[7][1:].encode()
    raise AssertionError("no such socket")


def test_no_other_process_can_pretend_to_be_a_worker(shared: Running) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(feed_address(shared.master))
        try:
            sock.sendall(b'{"hello":{"pid":1,"generation":1,"started":0}}\n{"status":{"sessions":1}}\n')
            assert sock.recv(100) == b""
        except ConnectionError:
            pass  # the connection was closed before
    assert len(shared.workers) == 2


# -- the socket -------------------------------------------------------------------------------------


def refused(tmp_path: Path, control: str) -> str:
    """Start geomail with a ``[control]`` that it refuses, and return what it says."""
    text = configuration(tmp_path, {"imap": 1}, {"imap": free_port()}, workers=1)
    (tmp_path / "geomail.toml").write_text(re.sub(r"\[control\]\n.*\n", f"[control]\n{control}\n", text))
    done = subprocess.run(
        [COMMAND, "serve", "-c", tmp_path / "geomail.toml"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr


def test_the_socket_is_closed_to_others(shared: Running) -> None:
    status = shared.path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert status.st_gid == os.getegid()


def test_a_socket_that_the_file_names_and_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    assert "control socket /nowhere/control.sock: No such file" in refused(
        tmp_path, 'socket = "/nowhere/control.sock"'
    )


def test_a_group_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    said = refused(tmp_path, f'socket = "{tmp_path}/control.sock"\ngroup = "no-such-group"')
    assert 'there is no group "no-such-group"' in said
    assert not (tmp_path / "control.sock").exists()


def test_a_socket_that_another_server_has_is_an_error(shared: Running, tmp_path: Path) -> None:
    assert "Address already in use" in refused(tmp_path, f'socket = "{shared.path}"')
    with shared.asker() as asker:
        assert asker.done("status")


def test_a_socket_that_another_server_has_made_there_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    ports = {"imap": free_port()}
    with socket.socket(socket.AF_UNIX) as other:
        with serving(configuration(tmp_path, {"imap": 1}, ports, workers=1), tmp_path):
            path.rename(tmp_path / "moved")
            other.bind(str(path))
        assert path.exists()


def test_mode_and_group(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to any group")
    group = next(entry for entry in grp.getgrall() if entry.gr_gid != os.getegid())
    ports = {"imap": free_port()}
    text = configuration(tmp_path, {"imap": 1}, ports, workers=1)
    text = text.replace("[control]\n", f'[control]\nmode = "0600"\ngroup = "{group.gr_name}"\n')
    with serving(text, tmp_path):
        status = (tmp_path / "control.sock").stat()
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o600, group.gr_gid)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "control.sock"))
    ports = {"imap": free_port()}
    text = configuration(tmp_path, {"imap": 1}, ports, workers=1)
    with serving(text, tmp_path), Asker(tmp_path / "control.sock") as asker:
        assert asker.done("status")


@pytest.mark.parametrize(("control", "warned"), [('[control]\nsocket = "off"\n', False), ("", True)])
def test_without_a_socket_there_is_no_console_and_mail_is_served(
    control: str, warned: bool, tmp_path: Path
) -> None:
    if warned and Path("/run/geomail").exists():
        pytest.skip("this machine has a folder for the default socket")
    ports = {"imap": free_port()}
    text = configuration(tmp_path, {"imap": 1}, ports, workers=1)
    with serving(re.sub(r"\[control\]\n.*\n", control, text), tmp_path) as server:
        own = Running(server, tmp_path / "control.sock", tmp_path / "geomail.toml", ports)
        with socket.create_connection((LOOPBACK, ports["imap"])) as sock:
            assert sock.recv(100).startswith(b"* OK")
        assert len(own.children) == 1
        assert ("no control socket" in server.log.text) is warned
