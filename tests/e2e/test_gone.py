"""Clients that leave while they are kept waiting: what they held is free again within a second."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import toml

from tests.servers.auth_http import AuthService, Request, listening
from tests.servers.geomail import Geomail, serving
from tests.servers.small import small_servers
from tests.servers.support import LOOPBACK, free_port

#: Clients that geomail serves at a time, and connections to the auth service.
MOST, MOST_ASKED = 12, 4
#: A second, as the contract has it, and what a busy machine may add.
SOON = 1.0 + 2.0


def think(_request: Request) -> dict[str, str]:
    """Longer than any test may take."""
    time.sleep(60.0)
    return {"Auth-Status": "No"}


@dataclass
class Front:
    """geomail with little room, and the service that it asks."""

    geomail: Geomail
    port: int
    cached: int
    auth: AuthService

    def send(self, said: bytes) -> socket.socket:
        """A client that has said something, and heard the greeting."""
        sock = socket.create_connection((LOOPBACK, self.port), 10)
        assert sock.recv(512).startswith(b"* OK")
        sock.sendall(said)
        return sock

    def log_in(self, user: str = "jane", port: int = 0) -> float:
        """Log in; the seconds that it took. Only ``bad`` may not."""
        began, address = time.monotonic(), (LOOPBACK, port or self.port)
        with socket.create_connection(address, 10) as sock, sock.makefile("rb") as stream:
            assert stream.readline().startswith(b"* OK")
            sock.sendall(b"a LOGIN %b secret\r\n" % user.encode())
            assert stream.readline().startswith(b"a OK") == (user != "bad")
        return time.monotonic() - began

    def asked(self, user: str) -> int:
        """Count the questions to the service about a user."""
        return sum(request["Auth-User"] == user for request in self.auth.requests)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with ExitStack() as running:
        backends = running.enter_context(small_servers())
        good = {"Auth-Status": "OK", "Auth-Server": LOOPBACK, "Auth-Port": str(backends["imap"])}
        wait = {"Auth-Status": "No", "Auth-Wait": "60"}
        again = {**wait, "Auth-Status": "WAIT"}
        auth = AuthService(answers={"jane": good, "bad": good, "think": think, "wait": wait, "again": again})
        running.enter_context(listening(auth))
        port, cached = free_port(), free_port()
        mail = {
            "auth_http": f"http://{LOOPBACK}:{auth.port}",
            "auth_http_timeout": "30s",
            "auth_http_connections": MOST_ASKED,
            "server": [
                {"protocol": "imap", "listen": f"{LOOPBACK}:{port}"},
                {"protocol": "imap", "listen": f"{LOOPBACK}:{cached}", "auth_http_cache": "60s"},
            ],
        }
        text = toml.dumps(
            {"workers": 1, "worker_connections": MOST, "control": {"socket": "off"}, "mail": mail}
        )
        geomail = running.enter_context(serving(text, tmp_path_factory.mktemp("gone")))
        yield Front(geomail, port, cached, auth)


#: Who is waited for, by the user's name.
WAITS = ("think", "wait", "again")


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("user", WAITS)
def test_a_client_that_leaves_while_it_waits_holds_nothing(front: Front, user: str, reset: bool) -> None:
    front.log_in()
    at_rest, before, asked = front.geomail.descriptors, front.geomail.log.end, front.asked(user)
    clients = [front.send(b"a LOGIN %b secret\r\n" % user.encode()) for _ in range(MOST)]
    deadline = time.monotonic() + 10
    while front.asked(user) < asked + (MOST_ASKED if user == "think" else MOST):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for sock in clients:
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    assert front.log_in() < SOON
    deadline = time.monotonic() + SOON
    geomail = front.geomail
    while geomail.descriptors > at_rest or len(geomail.log.text[before:].split(" session gone ")) <= MOST:
        assert time.monotonic() < deadline, f"{at_rest} descriptors became {front.geomail.descriptors}"
        time.sleep(0.02)
    assert front.asked(user) <= asked + MOST, "those who left in the line were not asked about any more"
    front.geomail.log.wait_for(r'session gone .*reason="left while it waited for its login"', after=before)


def test_a_login_counts_though_its_end_came_right_behind_it(front: Front) -> None:
    with front.send(b"a LOGIN jane secret\r\n") as sock, sock.makefile("rb") as stream:
        sock.shutdown(socket.SHUT_WR)
        assert stream.read() == b"a OK in\r\n"


def test_a_client_that_only_says_more_has_not_gone(front: Front) -> None:
    before = front.geomail.log.end
    with front.send(b"a LOGIN think secret\r\n") as sock:
        sock.sendall(b"b NOOP\r\n")
        sock.shutdown(socket.SHUT_WR)
        time.sleep(1.5)
        assert " session gone " not in front.geomail.log.text[before:]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    front.geomail.log.wait_for(" session gone ", after=before, seconds=SOON)


def test_a_worker_that_is_full_says_so_once_a_second_at_most(front: Front) -> None:
    before = front.geomail.log.end
    clients = [front.send(b"") for _ in range(MOST)]
    began = time.monotonic()
    waiting = [socket.create_connection((LOOPBACK, front.port), 10) for _ in range(5)]
    full = rf"warning this worker serves {MOST} clients \(worker_connections\)"
    front.geomail.log.wait_for(full, after=before)
    for sock in clients:
        sock.close()
    for sock in waiting:
        assert sock.recv(512).startswith(b"* OK")
        sock.close()

    told = front.geomail.log.text[before:].count("(worker_connections)")
    assert 1 <= told <= 1 + (time.monotonic() - began)


def test_an_answer_is_asked_for_again_once_the_backend_has_refused_what_it_let_in(front: Front) -> None:
    asked = front.asked("jane")
    for _ in range(2):
        front.log_in("jane", front.cached)
        front.log_in("bad", front.cached)

    assert (front.asked("jane") - asked, front.asked("bad")) == (1, 2)
