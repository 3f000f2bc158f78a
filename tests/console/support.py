"""A geomail with a control socket, its clients, and a client of the socket: without code of geomail."""

import imaplib
import json
import os
import poplib
import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.servers.geomail import Geomail, serving
from tests.servers.small import small_servers
from tests.servers.support import LOOPBACK, free_port

PROTOCOLS = ("imap", "pop3", "smtp")
Client = imaplib.IMAP4 | poplib.POP3 | smtplib.SMTP
Record = dict[str, Any]
#: Seconds to wait for a condition.
PATIENCE = 30.0


class Asker:
    """A client of the control socket; ``hello`` is the server's first line."""

    def __init__(self, path: Path | str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(path))
        self._lines = self.sock.makefile("rb")
        self._last = 0
        self.hello = self.next()

    def send(self, do: str, **parameters: Any) -> int:
        """Send a request, and return its id."""
        self._last += 1
        self.send_raw(json.dumps({"id": self._last, "do": do, **parameters}).encode() + b"\n")
        return self._last

    def send_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def next(self) -> Record:
        """Read the next line."""
        line = self._lines.readline()
        assert line.endswith(b"\n"), f"the connection ended: {line!r}"
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def ask(self, do: str, **parameters: Any) -> list[Record]:
        """Send a request, and return all answers to it."""
        self.send(do, **parameters)
        answers = [self.next()]
        while not {"done", "error"} & answers[-1].keys():
            answers.append(self.next())
        return answers

    def done(self, do: str, **parameters: Any) -> Record:
        """Send a request that must succeed, and return its ``done``."""
        last = self.ask(do, **parameters)[-1]
        assert "done" in last, last
        done: Record = last["done"]
        return done

    def sessions(self, do: str = "who", **select: Any) -> list[Record]:
        """Return the sessions that ``who`` or ``kick`` lists."""
        answers = self.ask(do, select=select)
        assert "done" in answers[-1], answers[-1]
        return [session for answer in answers for session in answer.get("sessions", ())]

    def tail(self, **parameters: Any) -> None:
        """Start to watch events."""
        self.send("tail", **parameters)
        assert "watching" in self.next()

    def event(self, kind: str, **fields: Any) -> Record:
        """Read up to the next event of this kind with these fields, and return it."""
        while True:
            record = self.next()
            if record.get("event") == kind and fields.items() <= record.items():
                return record

    def ended(self) -> bytes:
        """Return what the server still sends before it closes the connection."""
        return self._lines.read()

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self.sock.close()


@dataclass
class Running:
    """A running geomail: one port for each protocol, and the control socket at ``path``."""

    server: Geomail
    path: Path
    file: Path
    ports: dict[str, int]
    _left: list[socket.socket | None] = field(default_factory=list)

    def asker(self) -> Asker:
        """Make a new connection to the control socket."""
        return Asker(self.path)

    def client(self, protocol: str, user: str) -> Client:
        """Log in a client, and return it."""
        client = _connected(protocol, self.ports[protocol])
        self._left.append(client.sock)
        match client:
            case imaplib.IMAP4():
                client.login(user, "secret")
            case poplib.POP3():
                client.user(user)
                client.pass_("secret")
            case smtplib.SMTP():
                client.login(user, "secret")
        return client

    def imap(self, user: str) -> imaplib.IMAP4:
        """Log in an IMAP client, and return it."""
        client = self.client("imap", user)
        assert isinstance(client, imaplib.IMAP4)
        return client

    def connect(self, protocol: str) -> socket.socket:
        """Make a connection, and read its greeting."""
        sock = socket.create_connection((LOOPBACK, self.ports[protocol]), PATIENCE)
        self._left.append(sock)
        assert sock.recv(1000).endswith(b"\r\n")
        return sock

    def leave(self) -> None:
        """Close all connections of clients, as if their machines were turned off."""
        for sock in self._left:
            if sock is not None:
                sock.close()
        self._left.clear()

    @property
    def master(self) -> int:
        """The process id of the master."""
        return self.server.process.pid

    @property
    def children(self) -> set[int]:
        """The process ids of all its children."""
        return set(map(int, Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()))

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, as ``status`` lists them."""
        with self.asker() as asker:
            return [worker["pid"] for worker in asker.done("status")["workers"]]

    @property
    def console(self) -> int:
        """The process id of the console."""
        eventually(lambda: len(self.children - set(self.workers)) == 1)
        [pid] = self.children - set(self.workers)
        return pid


def _connected(protocol: str, port: int) -> Client:
    match protocol:
        case "imap":
            return imaplib.IMAP4(LOOPBACK, port, PATIENCE)
        case "pop3":
            return poplib.POP3(LOOPBACK, port, PATIENCE)
    return smtplib.SMTP(LOOPBACK, port, "client.test", PATIENCE)


def configuration(folder: Path, backends: dict[str, int], ports: dict[str, int], **top: Any) -> str:
    """Make a configuration with these backends for all users; ``top`` goes to its top."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"workers": 2, **top}.items()]
    lines += ["[control]", f'socket = "{folder}/control.sock"']
    lines += ["[mail]", 'server_name = "proxy.test"', 'auth = "passthrough"']
    for protocol, port in ports.items():
        lines += ["[[mail.server]]", f'name = "{protocol}-in"', f'protocol = "{protocol}"']
        lines.append(f'listen = "{LOOPBACK}:{port}"')
    lines += ["[auth.passthrough]", 'default = "small"', "[backends.small]"]
    lines += [f'{protocol} = "{LOOPBACK}:{port}"' for protocol, port in backends.items()]
    return "\n".join(lines) + "\n"


@contextmanager
def running(folder: Path, **top: Any) -> Iterator[Running]:
    """Run geomail in front of small servers until the test ends; its exit status must be 0."""
    ports = {protocol: free_port() for protocol in PROTOCOLS}
    with (
        small_servers() as backends,
        serving(configuration(folder, backends, ports, **top), folder) as server,
    ):
        geomail = Running(server, folder / "control.sock", folder / "geomail.toml", ports)
        try:
            eventually(lambda: len(geomail.workers) == top.get("workers", 2))
            yield geomail
        finally:
            geomail.leave()


def served_again(server: Running) -> None:
    """Wait until the control socket serves another client, after many have left."""

    def is_served() -> bool:
        try:
            with server.asker() as asker:
                return "done" in asker.ask("status")[-1]
        except OSError:
            return False  # the connection was refused

    eventually(is_served)


def eventually(reached: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition is met."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            pytest.fail("the condition was never met")
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Tell whether there is a process with this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
