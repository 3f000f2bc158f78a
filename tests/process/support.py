"""A geomail with a master and two workers, as ``geomail serve`` runs them, and looks at its processes."""

import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import toml

from tests.e2e.clients import Client, connected
from tests.servers.certificates import Certificates
from tests.servers.geomail import Geomail, as_ourselves
from tests.servers.support import LOOPBACK, Log, free_port, open_files

#: Seconds to wait for a condition.
SOON = 30.0


def soon(what: Callable[[], Any], seconds: float = SOON) -> Any:
    """Return the first true value that a function returns."""
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
    backends: dict[str, Any] = field(default_factory=dict)
    geomail: Geomail | None = None

    def configuration(self, *listens: str, **more: Any) -> str:
        """Make a configuration with these addresses, by default its own; ``more`` is at its top."""
        server = {"protocol": "imap", "listen": list(listens) or [f"{LOOPBACK}:{self.port}"]}
        return toml.dumps(
            {
                "workers": 2,
                **self.settings,
                "control": {"socket": "off"},
                **more,
                "mail": {"auth": "passthrough", **self.mail, "server": [server]},
                "auth": {"passthrough": {"default": "small"}},
                "backends": {"small": {"address": f"{LOOPBACK}:{self.backend}", **self.backends}},
            }
        )

    def start(self, *listens: str, logs_to: Path | None = None, **more: Any) -> "Running":
        self.geomail = Geomail(self.configuration(*listens, **more), self.folder)
        (self.geomail.log if logs_to is None else Log(logs_to)).wait_for("notice started")
        self.geomail.wait_until_accepting([(LOOPBACK, self.port)])
        return self

    @property
    def pid(self) -> int:
        assert self.geomail is not None
        return self.geomail.process.pid

    def workers(self) -> set[int]:
        return children(self.pid)

    def two_workers(self) -> set[int]:
        """Wait until there are two workers, and return both."""
        found: set[int] = soon(lambda: self.workers() if len(self.workers()) == 2 else None)
        return found

    def reload(self, *listens: str, **more: Any) -> None:
        """Change the file and reload it; return when the new workers serve."""
        assert self.geomail is not None
        (self.folder / "geomail.toml").write_text(as_ourselves(self.configuration(*listens, **more)))
        after = self.geomail.log.end
        os.kill(self.pid, signal.SIGHUP)
        self.geomail.log.wait_for("notice reloaded", after=after)

    @contextmanager
    def tls_client(self, certificates: Certificates) -> Iterator[ssl.SSLSocket]:
        """Connect a client over TLS, and read its greeting."""
        with (
            socket.create_connection((LOOPBACK, self.port), SOON) as plain,
            certificates.client_context().wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            assert secured.recv(100).startswith(b"* OK ")
            yield secured

    @contextmanager
    def one_client_each(self) -> Iterator[dict[int, Client]]:
        """Log a client in at each worker: the other workers are stopped while it connects."""
        workers, clients = self.two_workers(), {}
        with ExitStack() as opened:
            for worker in workers:
                for other in workers - {worker}:
                    os.kill(other, signal.SIGSTOP)
                clients[worker] = opened.enter_context(self.logged_in())
                for other in workers - {worker}:
                    os.kill(other, signal.SIGCONT)
            yield clients

    @contextmanager
    def logged_in(self) -> Iterator[Client]:
        with connected("imap", self.port) as client:
            assert client.log_in("u", "p")
            yield client


def status_of(pid: int) -> list[str]:
    """Return the status of a process in /proc; nothing if it has ended."""
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


@contextmanager
def knocking(port: int) -> Iterator[list[str]]:
    """Connect clients one after the other; yield a list of what went wrong for them."""
    refused: list[str] = []
    done = False

    def knock() -> None:
        while not done:
            try:
                with connected("imap", port) as client:
                    client.say("a LOGOUT")
                    if client.read_line() != b"* BYE Logging out\r\n":
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


def listens_in(pid: int) -> bool:
    """Tell whether a process has a listening TCP socket."""
    inodes = open_files(pid)
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(words[3] == "0A" and f"socket:[{words[9]}]" in inodes for words in lines)
