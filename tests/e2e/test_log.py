"""The log of a running geomail: rotated, in syslog, and in a pipe without a reader."""

import json
import os
import re
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.console.support import Running, eventually, running
from tests.servers.geomail import COMMAND
from tests.servers.small import small_servers
from tests.servers.support import LOOPBACK, Daemon, free_port

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder that any user may enter."""
    with tempfile.TemporaryDirectory(prefix="geomail-log-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def log_in(server: Running, number: int) -> None:
    server.client("pop3", f"user{number}@example.test")
    server.leave()


def has_session(path: Path, number: int) -> bool:
    """Tell whether the log has the record of this user's session."""
    return path.exists() and f"user{number}@example.test" in path.read_text()


def rotate(server: Running, path: Path, name: str) -> None:
    """Rotate the log as logrotate does."""
    before = time.monotonic()
    path.rename(path.with_name(name))
    os.kill(server.master, signal.SIGUSR1)
    eventually(path.exists)
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("user", [None, pytest.param("nobody", marks=as_root)])
def test_every_process_writes_to_the_new_file_after_a_rotation(folder: Path, user: str | None) -> None:
    logs = folder / "logs"  # the workers' user may not create files in it
    logs.mkdir(mode=0o755)
    path = logs / "log"
    options = {"log.target": str(path), **({"user": user} if user else {})}
    with running(folder, **options) as server:
        for number in range(8):  # enough for both workers to write
            log_in(server, number)
        eventually(lambda: all(has_session(path, number) for number in range(8)))
        rotate(server, path, "log.1")
        time.sleep(0.3)
        for number in range(10, 18):
            log_in(server, number)
        eventually(lambda: all(has_session(path, number) for number in range(10, 18)))
        assert not any(has_session(logs / "log.1", number) for number in range(10, 18))
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        os.kill(server.workers[0], signal.SIGKILL)
        eventually(lambda: re.search(r"error worker \d+ died", path.read_text()))
    assert "stopped" in path.read_text()


@pytest.mark.parametrize("form", ["text", "json", "dovecot"])
def test_syslog_gets_the_lines(folder: Path, form: str) -> None:
    path = folder / "syslog"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.settimeout(10)
        options = {"log.target": f"syslog:{path}", "log.format": form, "log.facility": "local3"}
        with running(folder, **options) as server:
            log_in(server, 1)
            while b"user1@example.test" not in (message := daemon.recv(65536)):
                pass
    priority, text = re.fullmatch(r"<(\d+)>\w{3} [ 0-9]\d \d\d:\d\d:\d\d (.*)", message.decode()).groups()  # type: ignore[union-attr]
    assert int(priority) == 19 * 8 + 6
    match form:
        case "text":
            assert re.match(r"geomail\[\d+\]: info pop3 session ", text)
        case "json":
            assert json.loads(text.partition(": ")[2])["user"] == "user1@example.test"
        case "dovecot":
            assert text.startswith("dovecot: pop3-login: Login: user=<user1@example.test>, ")


def test_a_full_pipe_stops_neither_mail_nor_the_master_and_the_loss_is_reported(folder: Path) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    keep = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        while True:
            os.write(keep, b"x" * 4095 + b"\n")
    except BlockingIOError:
        pass
    with running(folder, workers=1, **{"log.target": str(pipe)}) as server:
        slowest = 0.0
        for number in range(30):
            before = time.monotonic()
            log_in(server, number)
            slowest = max(slowest, time.monotonic() - before)
        assert slowest < 2
        os.kill(server.master, signal.SIGHUP)  # the master has something to log, too
        with server.asker() as asker:
            eventually(lambda: asker.done("status")["configuration"]["generation"] == 2)
        text = _read(keep, lambda text: "user29@example.test" in text)
        os.kill(server.master, signal.SIGHUP)
        text += _read(keep, lambda text: "were lost" in text or "was lost" in text)
    os.close(keep)
    assert all(f"user{number}@example.test" in text for number in range(30))
    assert re.search(r"error log: \d+ lines? w\w+ lost: the target did not take them", text)


def _read(pipe: int, is_enough: Callable[[str], bool]) -> str:
    """Return the text from the pipe as soon as it is enough."""
    text, deadline = "", time.monotonic() + 10
    while not is_enough(text):
        assert time.monotonic() < deadline, text[-2000:]
        try:
            text += os.read(pipe, 65536).decode()
        except BlockingIOError:
            time.sleep(0.02)
    return text


def test_systemd_gets_the_state_of_the_server(folder: Path) -> None:
    path = folder / "notify"
    port = free_port()
    file = folder / "geomail.toml"
    with small_servers() as backends, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(10)
        file.write_text(
            f'user = "root"\n[control]\nsocket = "off"\n[auth.passthrough]\ndefault = "x"\n'
            f'[backends.x]\naddress = "{LOOPBACK}:{backends["pop3"]}"\n'
            f'[[mail.server]]\nprotocol = "pop3"\nauth = "passthrough"\nlisten = "{LOOPBACK}:{port}"\n'
        )
        env = os.environ | {"NOTIFY_SOCKET": str(path)}
        server = Daemon([str(COMMAND), "serve", "-c", str(file)], folder / "log", env)
        assert systemd.recv(100) == b"READY=1"
        before = time.monotonic_ns() // 1000
        server.process.send_signal(signal.SIGHUP)
        match = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)", systemd.recv(100))
        assert match
        assert before <= int(match[1]) <= time.monotonic_ns() // 1000
        assert systemd.recv(100) == b"READY=1"
        assert server.stop() == 0
        assert systemd.recv(100) == b"STOPPING=1"
