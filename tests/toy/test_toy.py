"""A fourth protocol is one folder and one entry: everything that operators use works with it.

The command runs as ``python -m tests.toy``, which adds the entry before anything else. These tests run on the
sources alone: in the compiled build, no class that is not compiled can extend geomail's.
"""

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from gevent.server import StreamServer

from tests.cli.commands import Done, environment
from tests.console.support import PATIENCE, eventually
from tests.servers.auth_http import AuthService, listening
from tests.servers.geomail import as_ourselves
from tests.servers.support import LOOPBACK, Daemon, Log, free_port
from tests.test_imports import ROOT

COMMAND = (sys.executable, "-m", "tests.toy")
USER = "ann"
#: The hash of a password.
HASH = "{BLF-CRYPT}$2b$04$0Gt3Mo3UcW3xzspLp/.oC.Ye6sgj5FG/apikbPnI9be4OJgkFoubC"


def geomail(*arguments: str | Path) -> Done:
    """Run a command of the geomail that has the toy."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=environment()
    )


def toy_backend(sock: socket.socket, _address: object) -> None:
    """Log every user in but the bad one, and send the lines of a session back."""
    with sock, sock.makefile("rb") as lines:
        sock.sendall(b"HI\r\n")
        for line in lines:
            if line.startswith(b"IAM bad "):
                sock.sendall(b"NO you are bad\r\n")
            else:
                sock.sendall(b"YES\r\n" if line.startswith(b"IAM ") else line)


@dataclass
class Running:
    """A geomail with the toy on two ports: ``port`` without an auth service, ``asking_port`` with one."""

    file: Path
    log: Log
    asking_port: int
    port: int
    metrics_port: int
    auth: AuthService

    def connect(self, port: int) -> "ToyClient":
        return ToyClient(socket.create_connection((LOOPBACK, port), PATIENCE))

    def page(self) -> str:
        """Return the metrics."""
        connection = http.client.HTTPConnection(LOOPBACK, self.metrics_port, timeout=PATIENCE)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()


class ToyClient:
    """A client that has read its greeting."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._lines = sock, sock.makefile("rb")
        assert self._lines.readline() == b"HI\r\n"

    def ask(self, line: str) -> str:
        self._sock.sendall(f"{line}\r\n".encode())
        return self._lines.readline().decode().removesuffix("\r\n")

    def __enter__(self) -> "ToyClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._sock.close()


def configuration(folder: Path, form: str, backend: int, ports: tuple[int, int, int], auth: int) -> str:
    port, asking_port, metrics_port = ports
    return as_ourselves(f"""
workers = 1

[log]
target = "{folder}/log"
format = "{form}"
level = "debug"

[control]
socket = "{folder}/control.sock"

[metrics]
listen = "{LOOPBACK}:{metrics_port}"

[mail]
server_name = "proxy.test"
auth = "passthrough"
proxy_pass_error_message = true

[[mail.server]]
name = "toy-in"
protocol = "toy"
listen = "{LOOPBACK}:{port}"

[[mail.server]]
name = "toy-asks"
protocol = "toy"
listen = "{LOOPBACK}:{asking_port}"
auth_http = "http://{LOOPBACK}:{auth}/"

[auth.passthrough]
default = "small"

[backends.small]
toy = "{LOOPBACK}:{backend}"
""")


@contextmanager
def running(folder: Path, form: str) -> Iterator[Running]:
    backend = StreamServer((LOOPBACK, 0), toy_backend)
    backend.start()
    ports = free_port(), free_port(), free_port()
    file = folder / "geomail.toml"
    auth = AuthService()
    with listening(auth):
        auth.answers[USER] = {"Auth-Status": "OK", "Auth-Backend": "small"}
        file.write_text(configuration(folder, form, backend.server_port or 0, ports, auth.port))
        env = {**environment(), "PYTHONPATH": str(ROOT)}
        server = Daemon([*COMMAND, "serve", "-c", str(file)], folder / "said", env)
        try:
            server.wait_until_accepting([*((LOOPBACK, port) for port in ports), f"{folder}/control.sock"])
            yield Running(file, Log(folder / "log"), ports[1], ports[0], ports[2], auth)
        finally:
            status = server.stop()
            backend.stop()
    assert status == 0, server.output.text
    assert "Traceback" not in server.output.text, server.output.text


#: Lines of the log: a session begins, a good login, its end, the end of the session with a bad login.
FORMS = {
    "text": (
        r"debug toy session opened session=\S+ server=toy-in client=127\.0\.0\.1",
        r"debug toy relay started .* user=ann method=plain backend=",
        r"info toy session done .* user=ann method=plain backend=",
        r"info toy session quit .* user=bad method=plain backend=.* refusals=1",
    ),
    "json": (
        r'"event":"session\.opened",.*"server":"toy-in","protocol":"toy"',
        r'"event":"relay\.started",.*"protocol":"toy",.*"user":"ann","method":"plain"',
        r'"event":"session\.closed",.*"protocol":"toy",.*"user":"ann",.*"outcome":"done",.*"code":""',
        r'"event":"session\.closed",.*"protocol":"toy",.*"user":"bad",.*"code":"auth_failed"',
    ),
    "dovecot": (
        r"toy-login: Debug: connected: rip=127\.0\.0\.1",
        r"toy-login: Debug: proxy\(ann\): started proxying to .* user=<ann>, method=PLAIN",
        r"toy-login: Login: user=<ann>, method=PLAIN, rip=127\.0\.0\.1",
        r"toy-login: Disconnected \(auth failed, 1 attempts in \d+ secs\): user=<bad>, method=PLAIN",
    ),
}
#: What the metrics count then.
SAMPLES = (
    'geomail_logins_total{protocol="toy",reason="",result="accepted"} 2.0',
    'geomail_logins_total{protocol="toy",reason="backend",result="refused"} 1.0',
    'geomail_sessions_active{protocol="toy",server="toy-in"} 0.0',
)


@pytest.mark.parametrize("form", FORMS)
def test_serve_who_the_log_and_the_metrics_know_the_toy(form: str, tmp_path: Path) -> None:
    with running(tmp_path, form) as server:
        with server.connect(server.port) as bad:
            assert bad.ask("IAM bad secret") == "NO you are bad"
            assert bad.ask("BYE") == "BYE"
        with server.connect(server.port) as good:
            assert good.ask("IAM ann secret") == "YES"
            assert good.ask("what comes back") == "what comes back"
            is_listed(server)
        asks_the_auth_service(server)
        for pattern in FORMS[form]:
            server.log.wait_for(pattern)
        eventually(lambda: all(sample in server.page() for sample in SAMPLES))


def asks_the_auth_service(server: Running) -> None:
    """Check that the auth service hears of the toy, and nothing that only another protocol has."""
    with server.connect(server.asking_port) as client:
        assert client.ask("IAM ann secret") == "YES"
    [request] = server.auth.requests
    assert (request["Auth-Protocol"], request["Auth-User"], request["Client-Host"]) == ("toy", "ann", "")


def is_listed(server: Running) -> None:
    """Check that ``who`` shows the one session there is, chosen by its protocol."""
    done = geomail("who", "-c", server.file, "--json", "--protocol", "toy")
    [session] = json.loads(done.stdout)
    assert (session["protocol"], session["server"], session["user"]) == ("toy", "toy-in", "ann")
    assert (session["state"], session["method"]) == ("relay", "plain")


def test_check_config_reads_a_server_of_the_toy_by_its_port(tmp_path: Path) -> None:
    done = checked(tmp_path, """
[mail]
auth = "users"

[[mail.server]]
listen = "127.0.0.1:1717"

[auth.users]
file = "users"

[backends.small]
toy = "127.0.0.1:1"
""")  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r'^protocol = "toy"$', done.stdout, re.MULTILINE)
    assert re.search(r'^toy = "127\.0\.0\.1:1"', done.stdout, re.MULTILINE)


def test_check_config_knows_the_words_of_the_toy(tmp_path: Path) -> None:
    done = checked(tmp_path, """
[mail]
auth_http = "http://127.0.0.1:9/"

[[mail.server]]
listen = "127.0.0.1:1718"

[[mail.server]]
listen = "127.0.0.1:1719"
protocol = "tooy"

[[mail.server]]
listen = "127.0.0.1:1720"

[backends.small]
""")  # fmt: skip

    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1
    assert "127.0.0.1:1718 has no TLS, but clients expect it there" in said
    assert "did you mean toy?" in said
    assert 'add protocol = "smtp", "imap", "pop3" or "toy"' in said
    assert "or smtp, imap, pop3, toy" in said


def test_the_preview_shows_the_handshake_of_the_toy(tmp_path: Path) -> None:
    file = tmp_path / "geomail.toml"
    file.write_text(configuration(tmp_path, "text", 1, (2, 3, 4), 5))
    done = geomail("preview-handshake", "-c", file, "--server", "toy-in", "--user", "ann", "--json")

    assert done.returncode == 0, done.stderr
    shown = [(step["from"], step["line"]) for step in json.loads(done.stdout)["steps"]]
    assert shown == [("backend", "HI"), ("geomail", "IAM ann ********"), ("backend", "YES")]


def checked(folder: Path, text: str) -> Done:
    """Run ``check-config --dump`` on a file, beside a users file that names the toy."""
    (folder / "geomail.toml").write_text(as_ourselves(text))
    users = folder / "users"
    users.write_text(f"ann:{HASH}:backend=small protocols=toy\n")
    users.chmod(0o600)
    return geomail("check-config", "-c", folder / "geomail.toml", "--dump")
