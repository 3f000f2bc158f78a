"""Defects of nginx that show in its log, at its end, or over several attempts; and geomail without them."""

import os
import signal
import socket
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.support import LOOPBACK
from tests.twin.conftest import Proxies
from tests.twin.proxies import NAMES, Name, Proxy, Way, running
from tests.twin.recorders import PATIENCE, AuthRecorder, BackendRecorder
from tests.twin.ways import CHALLENGES

Recorders = tuple[AuthRecorder, BackendRecorder]
SMTP, IMAP, POP3 = Way("smtp", "xclient off;"), Way("imap"), Way("pop3")
SECONDS = 1


@pytest.fixture(params=NAMES)
def talkative(
    request: pytest.FixtureRequest, recorders: Recorders, certificates: Certificates, tmp_path: Path
) -> Iterator[Proxy]:
    """One of the two, which logs all that it has to say, and waits for nobody for long when it ends."""
    more = f"worker_shutdown_timeout {SECONDS}s;\n"
    auth = recorders[0].port
    with running(
        request.param, (SMTP, IMAP, POP3), auth, certificates, tmp_path, level="info", more=more
    ) as proxy:
        yield proxy


@contextmanager
def talking(port: int) -> Iterator[Any]:
    with ExitStack() as opened:
        sock = opened.enter_context(socket.create_connection((LOOPBACK, port), PATIENCE))
        stream = opened.enter_context(sock.makefile("rwb", buffering=0))
        stream.readline()
        yield stream


def said(proxy: Proxy, what: str) -> str:
    """The log, once it holds this."""
    deadline = time.monotonic() + PATIENCE
    while what not in proxy.log:
        assert time.monotonic() < deadline, proxy.log
        time.sleep(0.02)
    return proxy.log


def test_commands_behind_one_that_needs_a_login(talkative: Proxy) -> None:
    """nginx makes them unreadable, for its log, before it has read them."""
    with talking(talkative.ports[SMTP]) as client:
        client.write(b"MAIL FROM:<a>\r\nNOOP\r\n")
        assert client.readline().startswith(b"530 5.7.1 ")
        client.write(b"\r\n")
        answer = client.readline()

    assert answer == (
        b"250 2.0.0 OK\r\n" if talkative.name == "geomail" else b"500 5.5.1 Invalid command\r\n"
    )


def test_a_password_in_a_line_that_is_refused(talkative: Proxy) -> None:
    """nginx logs all that is refused."""
    with talking(talkative.ports[POP3]) as client:
        client.write(b"PASS very-secret " + 5000 * b"x")
        assert client.readline() == b"-ERR invalid command\r\n"
    log = said(talkative, "session" if talkative.name == "geomail" else "client sent too long command")

    assert ("very-secret" in log) is (talkative.name == "nginx")


@pytest.mark.parametrize("mark", ["\n1999/01/01", "\x1b[2J"])
def test_a_name_that_writes_lines_of_its_own(mark: str, talkative: Proxy, recorders: Recorders) -> None:
    recorders[0].tell([["Auth-Status: no"]])
    with talking(talkative.ports[SMTP]) as client:
        client.write(b"AUTH PLAIN " + b64encode(f"\0u{mark} forged\0p".encode()) + b"\r\n")
        assert client.readline() in (b"535 5.7.0 no\r\n", b"500 5.5.1 Invalid command\r\n")
    log = said(talkative, "session" if talkative.name == "geomail" else "forged")

    assert (mark in log) is (talkative.name == "nginx")


def test_who_logs_in_after_the_time_for_the_end(talkative: Proxy, recorders: Recorders) -> None:
    """nginx lets the client log in, and then says nothing; geomail has said goodbye before."""
    recorders[0].tell([["Auth-Status: OK", f"Auth-Server: {LOOPBACK}", f"Auth-Port: {recorders[1].port}"]])
    recorders[1].tell(["<* OK", ">", "<+ go on", ">", "<+ go on", ">", "<a OK in"])
    with talking(talkative.ports[IMAP]) as client:
        os.kill(talkative.daemon.process.pid, signal.SIGQUIT)
        time.sleep(1.6 * SECONDS)
        if talkative.name == "geomail":
            assert client.readline() == b"* BYE Server shutting down\r\n"
        else:
            client.write(b"a LOGIN u p\r\n")
        assert client.readline() == b""

    assert bool(recorders[1].settled()) is (talkative.name == "nginx")


@pytest.mark.parametrize(("name", "fresh"), [("nginx", False), ("geomail", True)])
def test_the_challenge_of_another_attempt(
    name: Name, fresh: bool, proxies: Proxies, recorders: Recorders
) -> None:
    recorders[0].tell([["Auth-Status: no", "Auth-Wait: 1"]])
    challenges = []
    with talking(proxies(name).ports[CHALLENGES]) as client:
        for _ in range(2):
            client.write(b"a AUTHENTICATE CRAM-MD5\r\n")
            challenges.append(b64decode(client.readline().removeprefix(b"+ ")))
            client.write(b64encode(b"u " + 32 * b"0") + b"\r\n")
            assert client.readline() == b"a NO no\r\n"

    assert (challenges[0] != challenges[1]) is fresh


@pytest.mark.parametrize("name", NAMES)
def test_attempts_without_end(name: Name, proxies: Proxies, recorders: Recorders) -> None:
    """Alike: what was nginx's has no limit until somebody sets ``max_login_attempts``."""
    recorders[0].tell([["Auth-Status: no", "Auth-Wait: 1"]])
    port = proxies(name).ports[IMAP]
    with talking(port) as client:
        for _ in range(3):
            client.write(b"a LOGIN u p\r\n")
            assert client.readline() == b"a NO no\r\n"
