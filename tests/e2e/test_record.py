"""The record of a session: each field holds what its name promises."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
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


def record(log: str) -> dict[str, Any]:
    """Return the record of the only session with a user."""
    records = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    [found] = [one for one in records if one["event"] == "session.closed" and one["user"]]
    return dict(found)


def test_every_field_of_a_record(tmp_path: Path) -> None:
    port, service = free_port(), AuthService()

    def answer(_request: Request) -> dict[str, str]:
        gevent.sleep(AUTH)
        return {"Auth-Status": "OK", "Auth-Backend": "slow"}

    service.answers["who"] = answer
    with listening(service), slow_backend() as backend:
        server = {"name": "front", "listen": f"{LOOPBACK}:{port}", "protocol": "pop3"}
        auth = f"http://{LOOPBACK}:{service.port}/"
        configuration = {
            "mail": {"auth_http": auth, "server": [server]},
            "backends": {"slow": {"address": f"{LOOPBACK}:{backend}"}},
            "log": {"format": "json"},
            "control": {"socket": "off"},
        }
        began = time.time()
        with serving(toml.dumps(configuration), tmp_path) as geomail:
            client_port = talk(port)
            geomail.log.wait_for('session.closed".*"user":"who"')
        found = record(geomail.log.text)

    times = {name: found.pop(name) for name in ("auth_time", "connect_time", "login_time", "duration")}
    assert times["auth_time"] >= AUTH
    assert times["login_time"] >= LOGIN
    assert times["connect_time"] > 0
    assert AUTH + LOGIN + RELAY <= times["duration"] <= time.time() - began
    stamp = time.strptime(found.pop("time")[:19], "%Y-%m-%dT%H:%M:%S")
    assert int(began) <= time.mktime(stamp) - time.timezone <= time.time()
    assert found.pop("session")
    assert found == {
        "level": "info",
        "event": "session.closed",
        "server": "front",
        "protocol": "pop3",
        "client": LOOPBACK,
        "client_port": client_port,
        "local": LOOPBACK,
        "local_port": port,
        "listener": f"{LOOPBACK}:{port}",
        "tls": "",
        "sni": "",
        "user": "who",
        "method": "plain",
        "backend": f"{LOOPBACK}:{backend} (slow)",
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
