"""The master and its workers, as ``geomail serve`` runs them: deaths, reloads, and what a process may be."""

import base64
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import pytest
import toml

from tests.e2e.clients import Client, connected
from tests.servers.certificates import Certificates
from tests.servers.geomail import COMMAND, Geomail
from tests.servers.nginx import main_context
from tests.servers.small import small_servers
from tests.servers.support import LOOPBACK, free_port, unavailable

#: Seconds in which what was asked for has happened.
SOON = 10.0


def soon(what: Callable[[], Any], seconds: float = SOON) -> Any:
    """The first truth that a function gives."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        gevent.sleep(0.02)
    return found


@dataclass
class Running:
    """A geomail with two workers, and an IMAP server behind it."""

    folder: Path
    backend: int
    port: int = field(default_factory=free_port)
    settings: dict[str, Any] = field(default_factory=dict)
    mail: dict[str, Any] = field(default_factory=dict)
    geomail: Geomail | None = None

    def configuration(self, *listens: str, **more: Any) -> str:
        """A configuration with these addresses, by default its own; ``more`` is at the top of the file."""
        server = {"protocol": "imap", "listen": list(listens) or [f"{LOOPBACK}:{self.port}"]}
        return toml.dumps(
            {
                "workers": 2,
                **self.settings,
                "control": {"socket": "off"},
                **more,
                "mail": {"auth": "passthrough", **self.mail, "server": [server]},
                "auth": {"passthrough": {"default": "small"}},
                "backends": {"small": {"address": f"{LOOPBACK}:{self.backend}"}},
            }
        )

    def start(self, *listens: str, **more: Any) -> "Running":
        self.geomail = Geomail(self.configuration(*listens, **more), self.folder)
        self.geomail.log.wait_for("notice started")
        self.geomail.wait_until_accepting([(LOOPBACK, self.port)])
        return self

    @property
    def pid(self) -> int:
        assert self.geomail is not None
        return self.geomail.process.pid

    def workers(self) -> set[int]:
        return children(self.pid)

    def two_workers(self) -> set[int]:
        """Both workers, when there are two."""
        found: set[int] = soon(lambda: self.workers() if len(self.workers()) == 2 else None)
        return found

    def reload(self, *listens: str, **more: Any) -> None:
        """Change the file and have it read again; returns when the new workers are there."""
        assert self.geomail is not None
        (self.folder / "geomail.toml").write_text(self.configuration(*listens, **more))
        after = self.geomail.log.end
        os.kill(self.pid, signal.SIGHUP)
        self.geomail.log.wait_for("notice reloaded", after=after)

    @contextmanager
    def logged_in(self) -> Iterator[Client]:
        with connected("imap", self.port) as client:
            assert client.log_in("u", "p")
            yield client


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with small_servers() as backends:
        found = Running(tmp_path, backends["imap"])
        yield found
        if found.geomail is not None:
            assert found.geomail.stop() == 0, found.geomail.log.text
            assert "Traceback" not in found.geomail.log.text, found.geomail.log.text


def status_of(pid: int) -> list[str]:
    """What the kernel tells of a process; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def blocks_signals(pid: int) -> bool:
    return any(int(line.split()[1], 16) for line in status_of(pid) if line.startswith("SigBlk:"))


def listens(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


# -- processes --------------------------------------------------------------------------------------


def test_a_worker_that_dies_has_a_successor(running: Running) -> None:
    before = running.start().two_workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    after = soon(
        lambda: running.workers() if len(running.workers()) == 2 and victim not in running.workers() else 0
    )

    assert after & before == before - {victim}
    assert running.geomail is not None
    running.geomail.log.wait_for(rf"error worker {victim} died \(killed by SIGKILL\); its sessions are lost")
    with running.logged_in() as client:
        client.quit()


def test_workers_that_die_at_once_are_not_started_at_once(running: Running) -> None:
    running.start(workers=1)
    assert running.geomail is not None
    began = time.monotonic()
    for _ in range(3):
        (worker,) = soon(running.workers)
        os.kill(worker, signal.SIGKILL)
        soon(lambda: not running.workers())
    soon(running.workers)

    assert time.monotonic() - began > 0.5 + 1 + 2
    for delay in ("0.5", "1", "2"):
        running.geomail.log.wait_for(f"next start in {delay} s")


def test_workers_that_die_together_delay_the_next_ones_once(running: Running) -> None:
    running.start(workers=5)
    before = soon(lambda: found if len(found := running.workers()) == 5 else None)
    began = time.monotonic()
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    soon(lambda: len(running.workers() - before) == 5)

    assert 0.4 < time.monotonic() - began < 3


EARLY = """
from geomail_cli.main import app  # first of all: it patches
import os, signal
from geomail.console.process import Console
from geomail.worker import Worker

def hurried(made):
    def early(self, *arguments):
        os.kill(os.getpid(), signal.SIG{signal})
        made(self, *arguments)
    return early

{kind}.__init__ = hurried({kind}.__init__)
app(["serve", "-c", "{file}"])
"""


@pytest.mark.parametrize("kind", ["Worker", "Console"])
@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT", "HUP"])
def test_a_signal_that_comes_early_is_not_the_end(running: Running, kind: str, name: str) -> None:
    """A process is told of it once it can say goodbye."""
    file = running.folder / "geomail.toml"
    control = {"socket": str(running.folder / "control")}
    file.write_text(running.configuration(workers=1, control=control))
    script = EARLY.format(kind=kind, signal=name, file=file)
    log = running.folder / "early.log"
    with log.open("w") as errors, subprocess.Popen([sys.executable, "-c", script], stderr=errors) as process:
        soon(lambda: listens(running.port))
        gevent.sleep(0.5)
        soon(lambda: not any(map(blocks_signals, children(process.pid))))
        process.terminate()
    assert process.returncode == 0
    assert re.search("killed by|exit status 1|Traceback", log.read_text()) is None


def test_the_master_has_no_hub(running: Running) -> None:
    workers = running.start().two_workers()

    def polls(pid: int) -> bool:
        files = Path(f"/proc/{pid}/fd").iterdir()
        return any("eventpoll" in str(file.readlink()) for file in files)

    soon(lambda: all(map(polls, workers)))
    assert not polls(running.pid)


def test_every_process_may_open_as_many_files_as_the_system_lets_it(running: Running) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most // 2, most))
    try:
        workers = running.start().two_workers()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    for pid in (running.pid, *workers):
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (most, most)


@pytest.mark.parametrize(("user", "group"), [("nobody", 65534), ("nobody:daemon", 1)])
def test_workers_run_as_somebody_else(running: Running, user: str, group: int) -> None:
    if os.geteuid() != 0:
        unavailable("only root can become somebody else")
    workers = running.start(user=user).two_workers()

    def ids(pid: int, kind: str) -> set[int]:
        return {
            int(number)
            for line in status_of(pid)
            if line.startswith(f"{kind}:")
            for number in line.split()[1:]
        }

    soon(lambda: all(ids(worker, "Uid") == {65534} for worker in workers))
    assert ids(running.pid, "Uid") == {0}
    for worker in workers:
        assert ids(worker, "Gid") == {group}
        assert 0 not in ids(worker, "Groups")
    with running.logged_in() as client:
        client.quit()


def test_nobody_knows_the_user(running: Running) -> None:
    (running.folder / "geomail.toml").write_text(running.configuration(user="nobody-knows"))
    command = [str(COMMAND), "serve", "-c", str(running.folder / "geomail.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=False)

    assert ended.returncode == 1
    assert "nobody-knows" in ended.stderr


# -- reloads ----------------------------------------------------------------------------------------


def test_addresses_come_go_and_stay(running: Running) -> None:
    goes, comes = free_port(), free_port()
    stays = f"{LOOPBACK}:{running.port}"
    running.start(stays, f"{LOOPBACK}:{goes}", f"unix:{running.folder}/goes")
    running.two_workers()
    running.reload(stays, f"{LOOPBACK}:{comes}", f"unix:{running.folder}/comes")

    assert (listens(running.port), listens(comes)) == (True, True)
    soon(lambda: not listens(goes))
    assert [path.name for path in running.folder.glob("*s") if path.is_socket()] == ["comes"]


@contextmanager
def knocking(port: int) -> Iterator[list[str]]:
    """Clients that come one after the other; what went wrong for them."""
    refused: list[str] = []
    done = False

    def knock() -> None:
        while not done:
            try:
                with connected("imap", port) as client:
                    client.say("a LOGOUT")
                    if client.read_line() != b"* BYE\r\n":
                        refused.append("no answer")
            except OSError as error:
                refused.append(str(error))
                return

    clients: list[gevent.Greenlet[[], None]] = [gevent.spawn(knock) for _ in range(3)]
    try:
        yield refused
    finally:
        done = True
        for client in clients:
            client.get(timeout=SOON)


def test_nobody_is_turned_away_while_the_file_is_read(running: Running) -> None:
    running.start()
    with knocking(running.port) as refused:
        for number in range(3):
            running.reload(worker_connections=1000 + number)

    assert refused == []


def test_nobody_is_turned_away_where_one_address_becomes_all_and_one_again(running: Running) -> None:
    running.start()
    with knocking(running.port) as refused:
        for host in ("*", LOOPBACK, "*", LOOPBACK, "*"):
            running.reload(f"{host}:{running.port}")
            everywhere = host == "*"
            while listens(running.port, "127.0.0.9") is not everywhere:
                gevent.sleep(0.02)

    assert refused == []


def test_who_has_connected_before_quit_is_served(running: Running) -> None:
    """Though all workers were too busy to let these clients in."""
    workers = running.start().two_workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    with ExitStack() as opened:
        late = [
            opened.enter_context(socket.create_connection((LOOPBACK, running.port), SOON)) for _ in range(20)
        ]
        os.kill(running.pid, signal.SIGQUIT)
        soon(lambda: not listens_in(running.pid))
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        for client in late:
            client.sendall(b"a LOGOUT\r\n")
            with client.makefile("rb") as stream:
                assert stream.readlines() == [b"* OK IMAP4 ready\r\n", b"* BYE\r\n", b"a OK completed\r\n"]


def listens_in(pid: int) -> bool:
    """Whether a process has a listening socket of TCP."""
    inodes = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(words[3] == "0A" and f"socket:[{words[9]}]" in inodes for words in lines)


def test_a_transfer_goes_on(running: Running) -> None:
    piece = os.urandom(40_000)
    order = f"x SAY {base64.b64encode(piece).decode()}\r\n".encode()
    count = 60
    running.start()
    with socket.create_connection((LOOPBACK, running.port), SOON) as sock:
        stream = sock.makefile("rb")
        stream.readline()
        sock.sendall(b"a LOGIN u p\r\n")
        assert stream.readline() == b"a OK in\r\n"
        old = running.two_workers()

        def ask() -> None:
            for _ in range(count):
                sock.sendall(order)
                gevent.sleep(0.01)

        asking: gevent.Greenlet[[], None] = gevent.spawn(ask)
        first = stream.read(len(piece))
        running.reload(worker_connections=1000)
        rest = [stream.read(len(piece)) for _ in range(count - 1)]
        asking.get(timeout=SOON)

        assert all(received == piece for received in (first, *rest))
        assert len(soon(lambda: running.workers() - old)) == 2
        stream.close()
    soon(lambda: not running.workers() & old)


def test_old_sessions_keep_the_old_configuration(running: Running) -> None:
    running.mail = {"max_errors": 9}
    running.start()
    with connected("imap", running.port) as old:
        running.mail = {"max_errors": 1}
        running.reload()
        old.say("nonsense")
        assert old.read_line() == b"* BAD invalid command\r\n"
        with connected("imap", running.port) as new:
            new.say("nonsense")
            assert [new.read_line(), new.read_line()] == [b"* BAD invalid command\r\n", b""]
        old.say("a LOGOUT")
        assert old.read_line() == b"* BYE\r\n"


def test_old_sessions_end_after_worker_shutdown_timeout(running: Running) -> None:
    running.start(worker_shutdown_timeout="1s")
    with running.logged_in() as working, connected("imap", running.port) as waiting:
        old = running.two_workers()
        began = time.monotonic()
        running.reload(worker_shutdown_timeout="1s", worker_connections=1000)
        working.noop()
        goodbye = b"* BYE Server shutting down\r\n"
        assert [waiting.read_line(), waiting.read_line()] == [goodbye, b""]
        assert working.read_line() in (goodbye, b"")
        assert 0.8 < time.monotonic() - began < SOON
        soon(lambda: not running.workers() & old)
    with running.logged_in() as client:
        client.quit()


def test_a_port_that_is_taken_leaves_all_as_it_was(running: Running) -> None:
    running.start()
    assert running.geomail is not None
    workers = running.two_workers()
    fresh = free_port()
    with socket.create_server((LOOPBACK, 0)) as other:
        taken = other.getsockname()[1]
        text = running.configuration(
            f"{LOOPBACK}:{running.port}", f"{LOOPBACK}:{fresh}", f"{LOOPBACK}:{taken}"
        )
        (running.folder / "geomail.toml").write_text(text)
        os.kill(running.pid, signal.SIGHUP)
        running.geomail.log.wait_for(
            f"reload failed, the old configuration stays in force: cannot listen on {LOOPBACK}:{taken}: "
            "Address already in use"
        )
    assert running.workers() == workers
    assert (listens(running.port), listens(fresh)) == (True, False)


# -- what workers share -----------------------------------------------------------------------------

SHARED: list[dict[str, Any]] = [
    {},
    {"ssl_session_cache": "shared:TLS:1m", "ssl_session_tickets": False},
    {"ssl_protocols": "TLSv1.2"},
]


@pytest.mark.parametrize("tls", SHARED, ids=["tickets", "cache", "tickets of TLS 1.2"])
def test_a_session_of_tls_goes_on_with_another_worker(
    running: Running, certificates: Certificates, tls: dict[str, Any]
) -> None:
    server = certificates.server
    running.mail = {"ssl_certificate": str(server.certificate), "ssl_certificate_key": str(server.key), **tls}
    running.start(f"{LOOPBACK}:{running.port} ssl")
    assert running.geomail is not None
    context = certificates.client_context()
    session: ssl.SSLSession | None = None
    for _ in range(60):
        with ExitStack() as opened:
            # a client that waits keeps its worker busy, so that the next one may be another's
            for _ in range(2):
                plain = opened.enter_context(socket.create_connection((LOOPBACK, running.port), SOON))
                secured = opened.enter_context(
                    context.wrap_socket(plain, server_hostname="localhost", session=session)
                )
                assert secured.recv(100) == b"* OK IMAP4 ready\r\n"
                assert session is None or secured.session_reused
                session = secured.session
        if len({line.split("session=")[1][:10] for line in _closed(running)}) == 2:
            return
    pytest.fail("one worker took all")


def _closed(running: Running) -> list[str]:
    assert running.geomail is not None
    return [
        line for line in running.geomail.log.text.splitlines() if " session " in line and "session=" in line
    ]


# -- the start --------------------------------------------------------------------------------------

NGINX = """
mail {{
    auth_http {loopback}:9/auth;
    server {{ listen {loopback}:{imap}; protocol imap; }}
    server {{ listen {loopback}:{smtp}; protocol smtp; }}
    server {{ listen {loopback}:{pop3}; protocol pop3; }}
}}
"""


def test_all_ports_listen_within_two_seconds(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("imap", "smtp", "pop3")}
    source, target = tmp_path / "nginx.conf", tmp_path / "geomail.toml"
    source.write_text(main_context(tmp_path) + NGINX.format(loopback=LOOPBACK, **ports))
    subprocess.run([COMMAND, "import-nginx", source, "-o", target], check=True, capture_output=True)
    times = []
    for _ in range(3):  # this machine may be busy with something else
        began = time.monotonic()
        with subprocess.Popen([COMMAND, "serve", "-c", target], stderr=subprocess.DEVNULL) as process:
            soon(lambda: all(map(listens, ports.values())))
            times.append(time.monotonic() - began)
            process.terminate()
    assert min(times) < 2
