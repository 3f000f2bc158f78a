"""Reloads and the end: what stays, what goes, and which clients notice it."""

import base64
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import gevent
import pytest

from tests.e2e.clients import connected
from tests.process.support import SOON, Running, children, knocking, listens, listens_in, soon
from tests.servers.certificates import Certificate, Certificates
from tests.servers.geomail import as_ourselves
from tests.servers.support import LOOPBACK, Log, free_port


def test_addresses_come_go_and_stay(running: Running) -> None:
    goes, comes = free_port(), free_port()
    stays = f"{LOOPBACK}:{running.port}"
    running.start(stays, f"{LOOPBACK}:{goes}", f"unix:{running.folder}/goes")
    running.two_workers()
    running.reload(stays, f"{LOOPBACK}:{comes}", f"unix:{running.folder}/comes")

    assert (listens(running.port), listens(comes)) == (True, True)
    soon(lambda: not listens(goes))
    assert running.geomail is not None
    said = running.geomail.log.text.partition("notice started")[2]
    assert set(re.findall("notice (.*listening on .*)", said)) == {
        f"listening on {LOOPBACK}:{comes} for imap",
        f"listening on unix:{running.folder}/comes for imap",
        f"no longer listening on {LOOPBACK}:{goes} for imap",
        f"no longer listening on unix:{running.folder}/goes for imap",
    }
    assert [path.name for path in running.folder.glob("*s") if path.is_socket()] == ["comes"]


def test_no_client_is_refused_while_the_file_is_read(running: Running) -> None:
    running.start()
    with knocking(running.port) as refused:
        for number in range(3):
            running.reload(worker_connections=1000 + number)

    assert refused == []


def test_no_client_is_refused_where_one_address_becomes_all_and_one_again(running: Running) -> None:
    running.start()
    with knocking(running.port) as refused:
        for host in ("*", LOOPBACK, "*", LOOPBACK, "*"):
            running.reload(f"{host}:{running.port}")
            everywhere = host == "*"
            while listens(running.port, "127.0.0.9") is not everywhere:
                gevent.sleep(0.02)

    assert refused == []


def test_clients_that_connected_before_quit_are_served(running: Running) -> None:
    """All workers were too busy to accept these clients before."""
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
                greeting, *answer = stream.readlines()
                assert greeting.startswith(b"* OK ")
                assert answer == [b"* BYE Logging out\r\n", b"a OK completed\r\n"]


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
        assert old.read_line() == b"nonsense BAD invalid command\r\n"
        with connected("imap", running.port) as new:
            new.say("nonsense")
            assert new.read_line() == b"nonsense BAD invalid command\r\n"
            assert [new.read_line(), new.read_line()] == [b"* BYE Too many errors\r\n", b""]
        old.say("a LOGOUT")
        assert old.read_line() == b"* BYE Logging out\r\n"


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


def test_a_broken_file_leaves_all_as_it_was(running: Running) -> None:
    running.start()
    assert running.geomail is not None
    workers = running.two_workers()
    text = running.configuration()
    with running.logged_in() as client, knocking(running.port) as refused:
        for broken in ("workers = [", text.replace("workers = 2", "workers = 0"), ""):
            (running.folder / "geomail.toml").write_text(broken)
            after = running.geomail.log.end
            os.kill(running.pid, signal.SIGHUP)
            running.geomail.log.wait_for(
                "reload failed, the old configuration stays in force: .*geomail.toml:", after=after
            )
        client.noop()
    assert refused == []
    assert running.workers() == workers


def test_new_certificates(running: Running, certificates: Certificates) -> None:
    """They are read at a reload; one that does not match its key leaves the old ones in use."""
    files = {"ssl_certificate": running.folder / "a.crt", "ssl_certificate_key": running.folder / "a.key"}

    def install(certificate: Certificate, key: Certificate) -> None:
        files["ssl_certificate"].write_bytes(certificate.certificate.read_bytes())
        files["ssl_certificate_key"].write_bytes(key.key.read_bytes())

    trusting = certificates.client_context()
    trusting.check_hostname = False

    def shown() -> bytes | None:
        with (
            socket.create_connection((LOOPBACK, running.port), SOON) as plain,
            trusting.wrap_socket(plain) as secured,
        ):
            return secured.getpeercert(binary_form=True)

    first, second = certificates.server, certificates.misnamed
    install(first, first)
    running.mail = {name: str(file) for name, file in files.items()}
    running.start(f"{LOOPBACK}:{running.port} ssl")
    assert running.geomail is not None
    install(second, first)
    os.kill(running.pid, signal.SIGHUP)
    running.geomail.log.wait_for("reload failed, .*does not belong to the certificate")
    assert shown() == der_of(first)
    files["ssl_certificate_key"].unlink()
    os.kill(running.pid, signal.SIGHUP)
    running.geomail.log.wait_for("reload failed, .*No such file")
    assert shown() == der_of(first)
    with running.tls_client(certificates) as old:
        install(second, second)
        os.kill(running.pid, signal.SIGHUP)
        running.geomail.log.wait_for("notice reloaded")
        soon(lambda: shown() == der_of(second))
        old.sendall(b"a NOOP\r\n")
        assert old.recv(100) == b"a OK completed\r\n"


def der_of(certificate: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.certificate.read_text())


def test_a_master_that_quits_reads_no_new_file(running: Running) -> None:
    running.start()
    assert running.geomail is not None
    with running.logged_in() as client:
        os.kill(running.pid, signal.SIGQUIT)
        running.geomail.log.wait_for("stopping when")
        running.port = free_port()
        (running.folder / "geomail.toml").write_text(running.configuration())
        os.kill(running.pid, signal.SIGHUP)
        gevent.sleep(0.5)
        assert not listens(running.port)
        client.quit()
    assert running.geomail.process.wait(SOON) == 0
    assert "reload" not in running.geomail.log.text


def test_quit_waits_no_longer_than_worker_shutdown_timeout(running: Running) -> None:
    running.start(worker_shutdown_timeout="1s")
    assert running.geomail is not None
    with running.logged_in() as working, connected("imap", running.port) as waiting:
        began = time.monotonic()
        os.kill(running.pid, signal.SIGQUIT)
        assert [waiting.read_line(), waiting.read_line()] == [b"* BYE Server shutting down\r\n", b""]
        assert time.monotonic() - began > 0.8
        assert working.read_line() in (b"* BYE Server shutting down\r\n", b"")
        assert running.geomail.process.wait(SOON) == 0


UNFIT = """
from geomail_cli.main import app
from geomail.process.worker import Worker

made = Worker.__init__

def unfit(self, config, listeners, log, generation, *more):
    if config.worker_connections == 7:
        {fault}
    made(self, config, listeners, log, generation, *more)

Worker.__init__ = unfit
app(["serve", "-c", "{file}"])
"""


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("import os; os._exit(3)", "a worker ended without a report"),
        ("open({marker!r}, 'x').close()", r"process \d+ has a bug: FileExistsError"),  # one of two serves
        ("raise ValueError('oh')", r"process \d+ has a bug: ValueError\('oh'\)"),
        (
            "from geomail.errors import GeomailError; raise GeomailError('no')",
            r"process \d+ cannot serve: no",
        ),
    ],
)
def test_a_reload_whose_workers_do_not_serve_is_undone(running: Running, fault: str, told: str) -> None:
    file, comes = running.folder / "geomail.toml", free_port()
    file.write_text(as_ourselves(running.configuration()))
    fault = fault.format(marker=str(running.folder / "marker"))
    with unfit(running, UNFIT.format(fault=fault, file=file)) as (process, log):
        old = children(process.pid)
        with running.logged_in() as client, knocking(running.port) as refused:
            listens_at = f"{LOOPBACK}:{running.port}", f"{LOOPBACK}:{comes}"
            file.write_text(as_ourselves(running.configuration(*listens_at, worker_connections=7)))
            os.kill(process.pid, signal.SIGHUP)
            log.wait_for(f"error reload failed, the old configuration stays in force: {told}")
            client.noop()
            soon(lambda: children(process.pid) == old)
            assert not listens(comes)
            after = log.end
            file.write_text(as_ourselves(running.configuration(*listens_at)))
            os.kill(process.pid, signal.SIGHUP)
            log.wait_for("notice reloaded", after=after)
            assert listens(comes)
        assert refused == []


@contextmanager
def unfit(running: Running, script: str) -> Iterator[tuple[subprocess.Popen[bytes], Log]]:
    """Run a server whose next workers cannot serve."""
    log = Log(running.folder / "unfit.log")
    with (
        log.path.open("w") as errors,
        subprocess.Popen([sys.executable, "-c", script], stderr=errors) as process,
    ):
        try:
            soon(lambda: listens(running.port) and len(children(process.pid)) == 2)
            yield process, log
        finally:
            process.terminate()
    assert process.returncode == 0, log.text


def test_old_workers_go_only_when_new_ones_serve(running: Running) -> None:
    """While new workers start, which takes long here, the old ones serve clients."""
    file = running.folder / "geomail.toml"
    file.write_text(as_ourselves(running.configuration()))
    with unfit(running, UNFIT.format(fault="import time; time.sleep(1.5)", file=file)) as (process, log):
        old = children(process.pid)
        file.write_text(as_ourselves(running.configuration(worker_connections=7)))
        os.kill(process.pid, signal.SIGHUP)
        soon(lambda: len(children(process.pid)) == 4)
        assert "reloaded" not in log.text
        assert old <= children(process.pid)
        with running.logged_in() as client:
            client.quit()
        log.wait_for("notice reloaded")
        soon(lambda: not old & children(process.pid))


def test_a_key_of_a_backend_that_root_alone_can_read(running: Running, certificates: Certificates) -> None:
    """The master reads it before workers become another user."""
    key = running.folder / "client.key"
    key.write_bytes(certificates.server.key.read_bytes())
    key.chmod(0o600)
    running.backends = {"tls": "starttls", "tls_certificate": str(certificates.server.certificate)}
    running.backends["tls_certificate_key"] = str(key)
    user: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}
    running.start(**user)
    before = running.two_workers()
    running.reload(worker_connections=1000, **user)
    soon(lambda: not before & running.workers())
    assert len(running.two_workers()) == 2
