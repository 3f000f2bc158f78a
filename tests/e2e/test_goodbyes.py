"""Before geomail closes an IMAP connection it says BYE, where it may speak; the others go without a word."""

import base64
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import toml
from gevent.pool import Group

from tests.e2e.clients import plain
from tests.servers.auth_http import AuthService, listening
from tests.servers.certificates import Certificates
from tests.servers.geomail import serving
from tests.servers.small import small_servers
from tests.servers.support import LOOPBACK, free_port

TIMEOUT = "1s"
INACTIVE = b"* BYE Disconnected for inactivity\r\n"
NOT_NOW = [
    b"a NO [UNAVAILABLE] Temporary authentication failure\r\n",
    b"* BYE [UNAVAILABLE] Service temporarily unavailable\r\n",
]
WRONG = [b"a NO [AUTHENTICATIONFAILED] Authentication failed\r\n", b"* BYE Connection closing\r\n"]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[dict[str, int]]:
    """The ports of geomail, by what is special about each."""
    with ExitStack() as running:
        backends = running.enter_context(small_servers())
        auth = AuthService()
        running.enter_context(listening(auth))
        there = {"Auth-Status": "OK", "Auth-Server": LOOPBACK, "Auth-Port": str(backends["imap"])}
        auth.answers |= {"good": there, "bad": there, "swapped": {**there, "Auth-User": "bad"}}
        ways: dict[str, dict[str, object]] = {
            "imap": {},
            "pop3": {},
            "smtp": {},
            "imap nginx": {"nginx_replies": True},
            "imap proxy_protocol": {},
            "imap ssl": {},
            "imap starttls": {"starttls": "on"},
            "imap idle": {"proxy_timeout": "2s", "timeout": "60s"},
        }
        found = {name: free_port() for name in ways}
        servers = [
            {
                "name": name,
                "protocol": name.split()[0],
                "listen": f"{LOOPBACK}:{found[name]} {listen_word(name)}".rstrip(),
                **options,
            }
            for name, options in ways.items()
        ]
        mail = {
            "server_name": "mx.test",
            "auth_http": f"http://{LOOPBACK}:{auth.port}",
            "timeout": TIMEOUT,
            "ssl_certificate": str(certificates.server.certificate),
            "ssl_certificate_key": str(certificates.server.key),
            "server": servers,
        }
        text = toml.dumps({"workers": 1, "control": {"socket": "off"}, "mail": mail})
        folder: Path = tmp_path_factory.mktemp("goodbyes")
        running.enter_context(serving(text, folder))
        yield found


def listen_word(name: str) -> str:
    word = name.partition(" ")[2]
    return word if word in ("ssl", "proxy_protocol") else ""


def heard(port: int, said: bytes) -> list[bytes]:
    """All that a client hears which says this much and waits for the end."""
    with socket.create_connection((LOOPBACK, port), 10) as sock, sock.makefile("rb") as stream:
        sock.sendall(said)
        return stream.readlines()


def relayed(unfinished: bytes) -> bytes:
    """The commands of a client that logs in and asks its backend for so many bytes."""
    return b"a LOGIN good p\r\nb SAY " + base64.b64encode(unfinished) + b"\r\n"


#: Where the client connects, what it says at once, and what it hears behind the greeting until the end.
ROWS: list[tuple[str, bytes, list[bytes]]] = [
    ("imap", b"", [INACTIVE]),
    ("imap nginx", b"", [INACTIVE]),
    ("imap", b"a LOGIN u {5}\r\nab", [b"+ OK\r\n", INACTIVE]),
    ("imap", b"a AUTHENTICATE PLAIN\r\n", [b"+ \r\n", INACTIVE]),
    ("imap", b"a NOO", [INACTIVE]),
    ("pop3", b"", []),
    ("smtp", b"", []),
    ("imap", b"x\r\n" * 5, [*[b"x BAD invalid command\r\n"] * 5, b"* BYE Too many errors\r\n"]),
    ("imap nginx", b"x\r\n" * 5, [b"x BAD invalid command\r\n"] * 5),
    ("imap", b"a X {5+}\r\n", [b"a BAD invalid command\r\n", b"* BYE Connection closing\r\n"]),
    ("imap nginx", b"a X {5+}\r\n", [b"a BAD invalid command\r\n"]),
    ("imap", b"a LOGIN who p\r\n", [b"a NO No such user\r\n", b"* BYE Login refused\r\n"]),
    ("imap nginx", b"a LOGIN who p\r\n", [b"a NO No such user\r\n", b"* BYE Login refused\r\n"]),
    ("imap starttls", b"a STARTTLS\r\n", [b"a OK completed\r\n"]),
    ("imap", b"a LOGOUT\r\n", [b"* BYE Logging out\r\n", b"a OK completed\r\n"]),
    # in the relay, but not in the middle of what the backend says
    ("imap idle", relayed(b"* OK here\r\n"), [b"a OK in\r\n", b"* OK here\r\n", INACTIVE]),
    ("imap idle", relayed(b"* OK st"), [b"a OK in\r\n", b"* OK st"]),
    # before the greeting
    ("imap proxy_protocol", b"", []),
    ("imap ssl", b"", []),
]


@pytest.fixture(scope="module")
def heard_at_once(ports: dict[str, int]) -> list[list[bytes]]:
    """The lines that the client of each row heard; the clients wait for their ends together."""
    return list(Group().map(lambda row: heard(ports[row[0]], row[1]), ROWS))


@pytest.mark.parametrize("row", range(len(ROWS)), ids=[f"{name}: {said!r}"[:50] for name, said, _ in ROWS])
def test_goodbyes(heard_at_once: list[list[bytes]], row: int) -> None:
    assert heard_at_once[row][1:] == ROWS[row][2]


@pytest.mark.parametrize("name", ["imap proxy_protocol", "imap ssl"])
def test_nothing_is_said_before_the_greeting(heard_at_once: list[list[bytes]], name: str) -> None:
    [silent] = [heard_at_once[number] for number, (way, _, _) in enumerate(ROWS) if way == name]

    assert silent == []


@pytest.mark.parametrize(("user", "last"), [("bad", WRONG), ("swapped", NOT_NOW)])
def test_a_backend_that_says_that_the_password_is_wrong(
    ports: dict[str, int], user: str, last: list[bytes]
) -> None:
    """It is the client's own only if the auth service has not replaced it."""
    assert heard(ports["imap"], f"a AUTHENTICATE PLAIN {plain(user, 'p')}\r\n".encode())[1:] == last
