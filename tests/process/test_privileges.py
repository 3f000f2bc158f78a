"""The user of workers and the console: what they cannot do, and what they do not need."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
import toml

from geomail.hashes import make_argon2id
from geomail.privileges import look_up_account
from tests.console.support import Asker
from tests.e2e.clients import connected
from tests.process.support import SOON, Running, children, listens, soon, status_of
from tests.servers.certificates import Certificates
from tests.servers.geomail import COMMAND, as_ourselves
from tests.servers.support import LOOPBACK, Log, free_port

AUDITED = Path(__file__).parents[1] / "servers" / "audited.py"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that every user may enter; the folders of pytest are closed."""
    with tempfile.TemporaryDirectory(prefix="geomail-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def facts(pid: int, *names: str) -> list[set[int]]:
    """Return numbers from the status of a process; capabilities are in hexadecimal."""
    lines = dict(line.partition(":")[::2] for line in status_of(pid) if ":" in line)
    return [
        {int(word, 16 if name.startswith("Cap") else 10) for word in lines[name].split()} for name in names
    ]


def facts_are(pid: int, **wanted: int) -> bool:
    return facts(pid, *wanted) == [{number} for number in wanted.values()]


def can_be_looked_into(pid: int) -> bool:
    """Tell whether processes of the same user can; else its files in /proc belong to root."""
    return Path(f"/proc/{pid}/environ").stat().st_uid != 0


@as_root
@pytest.mark.parametrize("user", ["nobody", "nobody:daemon"])
def test_workers_and_console_keep_nothing_of_roots(running: Running, user: str) -> None:
    running.start(user=user, control={"socket": str(running.folder / "control")})
    account = look_up_account(user)
    for pid in soon(lambda: found if len(found := children(running.pid)) == 3 else None):
        soon(partial(facts_are, pid, Uid=account.uid, NoNewPrivs=1))
        assert facts(pid, "Gid", "Groups") == [{account.gid}, set(account.groups)]
        assert facts(pid, "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") == [{0}] * 5
        assert not can_be_looked_into(pid)
    with running.logged_in() as client:
        client.quit()


@as_root
def test_root_stays_root_where_that_is_written(running: Running) -> None:
    workers = running.start(user="root").two_workers()
    for pid in workers:
        assert facts(pid, "Uid", "CapEff", "CapBnd") == facts(running.pid, "Uid", "CapEff", "CapBnd")


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Log]]:
    """Run a command; at the end its exit status must be 0."""
    log = Log(folder / "said")
    with log.path.open("w") as errors, subprocess.Popen(command, stderr=errors, cwd="/") as process:
        try:
            yield process, log
        finally:
            process.terminate()
    assert process.returncode == 0, log.text
    assert "Traceback" not in log.text, log.text


@as_root
def test_workers_are_not_root_where_nothing_is_written(running: Running) -> None:
    file = running.folder / "geomail.toml"
    file.write_text(running.configuration(workers=1))
    with started([str(COMMAND), "serve", "-c", str(file)], running.folder) as (process, log):
        soon(lambda: listens(running.port))
        with running.logged_in() as client:
            client.quit()
        [worker] = children(process.pid)
        assert facts(worker, "Uid") == [{look_up_account(_usual()).uid}]
        if _usual() == "nobody":
            log.wait_for("warning .*: user: is not set, and there is no account geomail")


def _usual() -> str:
    """Return the user that the command chooses by itself."""
    accounts = [line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines()]
    return "geomail" if "geomail" in accounts else "nobody"


CLOSED = """
from geomail_cli.main import app
import ctypes
from pathlib import Path
from geomail.process import master

def tell(state):
    Path("{report}").write_text(str(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)))  # PR_GET_DUMPABLE

master.notify = tell
app(["serve", "-c", "{file}"])
"""


def test_nobody_looks_into_the_master(running: Running) -> None:
    file, report = running.folder / "geomail.toml", running.folder / "report"
    file.write_text(as_ourselves(running.configuration(workers=1)))
    script = CLOSED.format(report=report, file=file)
    with started([sys.executable, "-c", script], running.folder):
        soon(lambda: report.exists() and report.read_text() == "0")
        soon(lambda: listens(running.port))


@as_root
@pytest.mark.parametrize("name", ["control", "imap", "log"])
@pytest.mark.parametrize("how", ["symlink_to", "hardlink_to"])
def test_a_worker_that_was_taken_over_lures_root_nowhere(
    running: Running, open_folder: Path, name: str, how: str
) -> None:
    """It may replace sockets and the log, in a folder that belongs to its user."""
    os.chown(open_folder, look_up_account("nobody").uid, -1)
    precious = running.folder / "precious"
    precious.write_text("root's")
    precious.chmod(0o600)
    listens = f"{LOOPBACK}:{running.port}", f"unix:{open_folder}/imap"
    settings = {"control": {"socket": f"{open_folder}/control"}, "log": {"target": f"{open_folder}/log"}}
    running.start(*listens, user="nobody", **settings, logs_to=open_folder / "log")
    (open_folder / name).unlink()
    getattr(open_folder / name, how)(precious)
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR1):
        os.kill(running.pid, number)
        soon(lambda: len(children(running.pid)) >= 3)
        with running.logged_in() as client:
            client.quit()
    assert running.geomail is not None
    assert running.geomail.stop() == 0
    status = precious.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 0, 0o600)
    assert precious.read_text() == "root's"


# -- nothing is imported or opened late ---------------------------------------------------------------


def everything(folder: Path, certificates: Certificates, ports: dict[str, int]) -> str:
    """Make a configuration with every protocol, auth source and listener; its workers run as nobody."""
    (folder / "users").write_text(f"ann:{make_argon2id(b'secret')}\n")
    os.chown(folder / "users", look_up_account("nobody").uid, -1)
    for name, file in (("crt", certificates.server.certificate), ("key", certificates.server.key)):
        (folder / name).write_bytes(file.read_bytes())
    (folder / "key").chmod(0o600)
    servers = [
        {"protocol": "imap", "listen": f"{LOOPBACK}:{ports['imap']}", "auth": "users"},
        {"protocol": "pop3", "listen": f"{LOOPBACK}:{ports['pop3']}", "auth": "passthrough"},
        {"protocol": "smtp", "listen": [f"{LOOPBACK}:{ports['smtp']}", f"{LOOPBACK}:{ports['tls']} ssl"]},
    ]
    backend = {"address": f"localhost:{ports['nobody']}", "tls": "implicit"}
    keys = {"tls_certificate": "crt", "tls_certificate_key": "key"}
    return toml.dumps(
        {
            "user": "nobody",
            "workers": 1,
            "log": {"target": str(folder / "log")},
            "control": {"socket": str(folder / "control")},
            "metrics": {"listen": f"{LOOPBACK}:{ports['metrics']}"},
            "mail": {
                "auth_http": f"http://localhost:{ports['auth']}/",
                "starttls": "on",
                "ssl_certificate": "crt",
                "ssl_certificate_key": "key",
                "server": servers,
            },
            "auth": {"users": {"file": "users", "default": "b"}, "passthrough": {"default": "c"}},
            "backends": {"b": {**backend, **keys}, "c": backend},
        }
    )


ANSWERS = [
    b"Auth-Status: OK\r\nAuth-Server: \xfcber\r\nAuth-Port: 1\r\n",
    b"Auth-Status: OK\r\nAuth-Server: b\\\xc3\xbccher.example\r\nAuth-Port: 1\r\n",
    b"Auth-Status: OK\r\nAuth-Server: localhost\r\nAuth-Port: 1\r\n",
    b"Auth-Status: \xff\xfe no\r\n",
    b"nothing\r\n",
]


def answer_once(service: socket.socket, answer: bytes) -> None:
    """Answer one request, as an auth service."""
    with closing(service.accept()[0]) as asked:
        asked.recv(4000)
        asked.sendall(b"HTTP/1.0 200 OK\r\n" + answer + b"\r\n")


def visit(ports: dict[str, int], certificates: Certificates) -> None:
    """Connect by every protocol, and be refused for every reason."""
    for password in ("secret", "wrong"):
        with connected("imap", ports["imap"]) as client:
            client.log_in("ann", password)
    with connected("pop3", ports["pop3"]) as client:
        client.log_in("ann", "secret")
    with socket.create_server((LOOPBACK, ports["auth"])) as service:
        for answer in ANSWERS:
            with connected("smtp", ports["smtp"]) as client:
                client.say("EHLO x")
                client.say("AUTH PLAIN AHUAcA==")
                answer_once(service, answer)
                while client.read_line():
                    pass
    context = certificates.client_context()
    with (
        socket.create_connection((LOOPBACK, ports["tls"]), SOON) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.sendall(b"QUIT\r\n")
        secured.recv(1000)


def ask_all(path: Path, port: int) -> None:
    """Send every request of operators, and read the metrics."""
    for what in ("status", "who", "kick", "tail", "trace"):
        with Asker(path) as asker:
            asker.send(what, select={"user": ["ann"]})
            asker.next()
    with socket.create_connection((LOOPBACK, port), SOON) as pages:
        pages.sendall(b"GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text\r\n\r\n")
        assert pages.recv(1000)


@as_root
def test_nothing_is_imported_or_opened_late(open_folder: Path, certificates: Certificates) -> None:
    """So workers can run an interpreter that is closed to them, for example under /root."""
    ports = {name: free_port() for name in ("imap", "pop3", "smtp", "tls", "nobody", "auth", "metrics")}
    file, report = open_folder / "geomail.toml", open_folder / "report"
    file.write_text(everything(open_folder, certificates, ports))
    command = [sys.executable, "-P", str(AUDITED), str(report), "serve", "-c", str(file)]
    log = Log(open_folder / "log")
    with started(command, open_folder) as (process, _):
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
            soon(lambda: all(listens(ports[name]) for name in ("imap", "pop3", "smtp", "tls")))
            visit(ports, certificates)
            ask_all(open_folder / "control", ports["metrics"])
            after = log.end
            os.kill(process.pid, number)
            if number == signal.SIGHUP:
                log.wait_for("notice reloaded", after=after)
        file.write_text("wrong = 1\n")
        os.kill(process.pid, signal.SIGHUP)
        log.wait_for("reload failed")
    allowed = {f"child open {open_folder / name}" for name in ("users", "log")}
    assert set(report.read_text().splitlines()) <= allowed
