"""The record of a session: each field holds what its name promises."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gevent
import pytest
import toml
from gevent.server import StreamServer

from tests.servers.auth_http import AuthService, Request, listening
from tests.servers.geomail import serving
from tests.servers.support import LOOPBACK, free_port

#: Seconds that the auth service, the backend and the client take; connecting takes almost none.
AUTH, LOGIN, RELAY = 0.1, 0.3, 0.5


@contextmanager
def slow_backend() -> Iterator[int]:
    """Run a POP3 server that greets late, and that ends every session at QUIT; yield its port."""

    def serve(sock: socket.socket, _address: object) -> None:
        gevent.sleep(LOGIN)
        with sock, sock.makefile("rb") as lines:
            sock.sendall(b"+OK\r\n")
            for line in lines:
                sock.sendall(b"+OK 12\r\n")
                if line == b"QUIT\r\n":
                    return

    server = StreamServer((LOOPBACK, 0), serve)
    server.start()
    yield server.server_port or 0
    server.stop()


def talk(port: int) -> int:
    """Have one session as a client; return the client's port."""
    with socket.create_connection((LOOPBACK, port), timeout=10) as sock, sock.makefile("rb") as stream:
        for line in (b"USER who\r\n", b"PASS secret\r\n", b"STAT\r\n", b"QUIT\r\n"):
            stream.readline()
            if line == b"QUIT\r\n":
                time.sleep(RELAY)
            sock.sendall(line)
        assert stream.read() == b"+OK 12\r\n"
        address: tuple[str, int] = sock.getsockname()
        return address[1]


def find_record(log: str) -> dict[str, Any]:
    """Return the record of the only session with a user."""
    records = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    [found] = [one for one in records if one["event"] == "session.closed" and one["user"]]
    return dict(found)


def configuration(port: int, auth: int, backend: int) -> str:
    """Return a configuration for a POP3 server on ``port``, with JSON as the log's form."""
    return toml.dumps(
        {
            "mail": {
                "auth_http": f"http://{LOOPBACK}:{auth}/",
                "server": [{"name": "front", "listen": f"{LOOPBACK}:{port}", "protocol": "pop3"}],
            },
            "backends": {"slow": {"address": f"{LOOPBACK}:{backend}"}},
            "log": {"format": "json"},
            "control": {"socket": "off"},
        }
    )


@dataclass
class Ended:
    """A session that ended: its record, its ports, and the time when the test began."""

    record: dict[str, Any]
    port: int
    client_port: int
    backend_port: int
    began: float


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """Yield a session with an auth service and a backend that take their time."""
    began, port, service = time.time(), free_port(), AuthService()

    def answer(_request: Request) -> dict[str, str]:
        gevent.sleep(AUTH)
        return {"Auth-Status": "OK", "Auth-Backend": "slow"}

    service.answers["who"] = answer
    with listening(service), slow_backend() as backend:
        text = configuration(port, service.port, backend)
        with serving(text, tmp_path_factory.mktemp("record")) as geomail:
            client_port = talk(port)
            geomail.log.wait_for('session.closed".*"user":"who"')
        yield Ended(find_record(geomail.log.text), port, client_port, backend, began)


TIMES = ("auth_time", "connect_time", "login_time", "duration")


def test_the_times_of_a_record_are_seconds(ended: Ended) -> None:
    auth, connect, login, duration = (ended.record[name] for name in TIMES)
    assert auth >= AUTH
    assert connect > 0
    assert login >= LOGIN
    assert AUTH + LOGIN + RELAY <= duration <= time.time() - ended.began
    stamp = time.strptime(ended.record["time"][:19], "%Y-%m-%dT%H:%M:%S")
    assert int(ended.began) <= time.mktime(stamp) - time.timezone <= time.time()


#: The fields of the record that are the same each time.
CONSTANT = {
    "level": "info",
    "event": "session.closed",
    "server": "front",
    "protocol": "pop3",
    "client": LOOPBACK,
    "local": LOOPBACK,
    "tls": "",
    "sni": "",
    "user": "who",
    "method": "plain",
    "outcome": "done",
    "side": "backend",
    "reason": "",
    "step": "",
    "relayed": True,
    "refusals": 0,
    "bytes_in": len("USER who\r\nPASS secret\r\nSTAT\r\nQUIT\r\n"),
    "bytes_out": len("+OK POP3 ready\r\n+OK\r\n+OK 12\r\n+OK 12\r\n+OK 12\r\n"),
    "client_id": "",
    "dovecot": {"code": ""},
}


def test_every_other_field_of_a_record(ended: Ended) -> None:
    assert ended.record["session"]
    others = {name: value for name, value in ended.record.items() if name not in ("time", "session", *TIMES)}
    assert others == {
        **CONSTANT,
        "client_port": ended.client_port,
        "local_port": ended.port,
        "listener": f"{LOOPBACK}:{ended.port}",
        "backend": f"{LOOPBACK}:{ended.backend_port} (slow)",
    }
