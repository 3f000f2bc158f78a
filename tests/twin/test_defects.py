"""Defects of nginx that appear in its log, at its end, or after several logins, and geomail without them."""

import os
import signal
import socket
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.support import LOOPBACK
from tests.together import together
from tests.twin.conftest import Proxies, Recorders
from tests.twin.proxies import NAMES, Name, Proxy, Way, running
from tests.twin.recorders import PATIENCE
from tests.twin.ways import CHALLENGES

SMTP, IMAP, POP3 = Way("smtp", "xclient off;"), Way("imap"), Way("pop3")
SECONDS = 1


@pytest.fixture(scope="module")
def talkatives(
    recorders: Recorders, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Name, Proxy]]:
    """Run both proxies, with verbose logs and a short wait for sessions at the end."""
    more = f"worker_shutdown_timeout {SECONDS}s;\n"
    with ExitStack() as opened:
        yield {
            name: opened.enter_context(
                running(
                    *(name, (SMTP, IMAP, POP3), recorders[name][0].port, certificates),
                    tmp_path_factory.mktemp(name),
                    level="info",
                    more=more,
                )
            )
            for name in NAMES
        }


@pytest.fixture(params=NAMES)
def talkative(request: pytest.FixtureRequest, talkatives: dict[Name, Proxy]) -> Proxy:
    """Return one of the two proxies."""
    return talkatives[request.param]


@contextmanager
def talking(port: int) -> Iterator[Any]:
    with ExitStack() as opened:
        sock = opened.enter_context(socket.create_connection((LOOPBACK, port), PATIENCE))
        stream = opened.enter_context(sock.makefile("rwb", buffering=0))
        stream.readline()
        yield stream


def said(proxy: Proxy, what: str, before: str) -> str:
    """Return the log when it holds this text more often than before."""
    deadline = time.monotonic() + PATIENCE
    while proxy.log.count(what) <= before.count(what):
        assert time.monotonic() < deadline, proxy.log
        time.sleep(0.02)
    return proxy.log


def test_commands_behind_one_that_needs_a_login(talkative: Proxy) -> None:
    """Show that nginx damages them for its log before it reads them."""
    with talking(talkative.ports[SMTP]) as client:
        client.write(b"MAIL FROM:<a>\r\nNOOP\r\n")
        assert client.readline().startswith(b"530 5.7.1 ")
        client.write(b"\r\n")
        answer = client.readline()

    assert answer == (
        b"250 2.0.0 OK\r\n" if talkative.name == "geomail" else b"500 5.5.1 Invalid command\r\n"
    )


def test_a_password_in_a_line_that_is_refused(talkative: Proxy) -> None:
    """Show that nginx logs every refused line."""
    before = talkative.log
    with talking(talkative.ports[POP3]) as client:
        client.write(b"PASS very-secret " + 5000 * b"x")
        assert client.readline() == b"-ERR invalid command\r\n"
    log = said(
        talkative, "session" if talkative.name == "geomail" else "client sent too long command", before
    )

    assert ("very-secret" in log) is (talkative.name == "nginx")


@pytest.mark.parametrize("mark", ["\n1999/01/01", "\x1b[2J"])
def test_a_name_that_writes_lines_of_its_own(mark: str, talkative: Proxy, recorders: Recorders) -> None:
    recorders[talkative.name][0].tell([["Auth-Status: no"]])
    before = talkative.log
    with talking(talkative.ports[SMTP]) as client:
        client.write(b"AUTH PLAIN " + b64encode(f"\0u{mark} forged\0p".encode()) + b"\r\n")
        assert client.readline() in (b"535 5.7.0 no\r\n", b"500 5.5.1 Invalid command\r\n")
    log = said(talkative, "session" if talkative.name == "geomail" else "forged", before)

    assert (mark in log) is (talkative.name == "nginx")


def test_the_challenge_of_another_attempt(proxies: Proxies, recorders: Recorders) -> None:
    def challenges(name: Name) -> list[bytes]:
        recorders[name][0].tell([["Auth-Status: no", "Auth-Wait: 1"]])
        found = []
        with talking(proxies(name).ports[CHALLENGES]) as client:
            for _ in range(2):
                client.write(b"a AUTHENTICATE CRAM-MD5\r\n")
                found.append(b64decode(client.readline().removeprefix(b"+ ")))
                client.write(b64encode(b"u " + 32 * b"0") + b"\r\n")
                assert client.readline() == b"a NO no\r\n"
        return found

    in_nginx, in_geomail = together(challenges, NAMES)

    assert in_nginx[0] == in_nginx[1]
    assert in_geomail[0] != in_geomail[1]


def test_attempts_without_end(proxies: Proxies, recorders: Recorders) -> None:
    """Show that both are alike: an imported configuration has no limit without ``max_login_attempts``."""

    def tries(name: Name) -> None:
        recorders[name][0].tell([["Auth-Status: no", "Auth-Wait: 1"]])
        with talking(proxies(name).ports[IMAP]) as client:
            for _ in range(3):
                client.write(b"a LOGIN u p\r\n")
                assert client.readline() == b"a NO no\r\n"
            client.write(b"b NOOP\r\n")
            assert client.readline() == b"b OK completed\r\n"

    together(tries, NAMES)


def test_a_login_after_the_time_for_the_end(talkatives: dict[Name, Proxy], recorders: Recorders) -> None:
    """Show that nginx lets the client log in, and then sends nothing; geomail has said goodbye before."""

    def comes_late(name: Name) -> None:
        proxy, (auth, backend) = talkatives[name], recorders[name]
        auth.tell([["Auth-Status: OK", f"Auth-Server: {LOOPBACK}", f"Auth-Port: {backend.port}"]])
        backend.tell(["<* OK", ">", "<+ go on", ">", "<+ go on", ">", "<a OK in"])
        with talking(proxy.ports[IMAP]) as client:
            os.kill(proxy.daemon.process.pid, signal.SIGQUIT)
            time.sleep(1.6 * SECONDS)
            if name == "geomail":
                assert client.readline() == b"* BYE Server shutting down\r\n"
            else:
                client.write(b"a LOGIN u p\r\n")
            assert client.readline() == b""

        assert bool(backend.settled()) is (name == "nginx")

    together(comes_late, NAMES)  # the last test of this file: it ends the proxies
