"""What fails behind geomail: clients hear their protocol's own error, the log says who, where and what."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gevent
import pytest
import toml
from gevent.server import StreamServer

from tests.e2e.clients import connected, plain
from tests.e2e.proxy import PROTOCOLS, Protocol
from tests.net.raw_service import closed_port
from tests.servers.geomail import Geomail, serving
from tests.servers.support import LOOPBACK, free_port
from tests.together import together

FAREWELLS: dict[Protocol, list[bytes]] = {
    "smtp": [b"454 4.7.0 Temporary authentication failure\r\n"],
    "imap": [
        b"a NO [UNAVAILABLE] Temporary authentication failure\r\n",
        b"* BYE [UNAVAILABLE] Service temporarily unavailable\r\n",
    ],
    "pop3": [b"-ERR [SYS/TEMP] Service temporarily unavailable\r\n"],
}
GREETINGS = b"220 smtp\r\n", b"* OK imap\r\n", b"+OK pop3\r\n"
#: Longer than anything else here takes, and short enough to wait for.
TIMEOUT = 1.0


def says(*parts: bytes, end: bool) -> StreamServer:
    """A server that says this to whoever connects, and then ends the connection or is silent."""

    def serve(connection: socket.socket, _: object) -> None:
        with connection:
            try:
                for part in parts:
                    connection.sendall(part)
                if not end:
                    gevent.sleep(30)
            except OSError:
                pass  # geomail has heard enough

    server = StreamServer((LOOPBACK, 0), serve)
    server.start()
    return server


@dataclass(frozen=True)
class Failure:
    """What is wrong with a server behind geomail, and what the log makes of it."""

    parts: tuple[bytes, ...] | None
    end: bool
    log: str


BACKENDS = {
    "refused": Failure(None, True, r"backend_unreachable .* side=backend step=connect reason=\".*refused\""),
    "closes": Failure((), True, r"gone .* side=backend step=greeting reason=\"closed the connection\""),
    "silent": Failure((), False, r"timeout .* side=backend step=greeting reason=\"backend did not answer"),
    "garbage": Failure(
        (b"\x1b[31mNonsense\xff\r\n",),
        False,
        r"backend_garbage .* step=greeting reason=\"said '\\x1b\[31mNonsense\\x5cxff'\"",
    ),
    "nul": Failure((b"220 \0\r\n",), False, r"backend_garbage .* step=greeting reason=\"a reply with"),
    "endless line": Failure(
        (b"220 " + b"x" * 100_000,), False, r"too_long .* side=backend step=greeting reason=\"a line of more"
    ),
    "silent later": Failure(
        (b"",), False, r"timeout .* side=backend step=(EHLO|LOGIN|USER) reason=\"backend did not answer"
    ),
}  # fmt: skip

#: What comes back in place of an answer of the auth service, and the reason that the log gives.
SERVICES = {
    "refused": Failure(None, True, r"auth_error .* reason=\".*cannot be reached: Connection refused"),
    "closes": Failure((), True, r"auth_error .* reason=\".*gave no complete answer"),
    "silent": Failure((), False, r"timeout .* reason=\".*timed out \(1 s, auth_http_timeout\)"),
    "garbage": Failure((b"\xff\x00?\r\n\r\n",), False, r"auth_error .* reason=\".*sent invalid header"),
    "half": Failure(
        (b"HTTP/1.1 200 OK\r\nAuth-Status: OK\r\n",), True, r"auth_error .*gave no complete answer"
    ),
    "nowhere": Failure(
        (b"HTTP/1.1 500 Oops\r\n\r\n",), True, r"auth_error .*did not send server or port.*HTTP status 500"
    ),
    "endless": Failure((b"x" * 100_000,), False, r"auth_error .*more than 16384 bytes of headers"),
}


@dataclass(frozen=True)
class Front:
    """geomail, and its ports by the name of their server."""

    geomail: Geomail
    ports: dict[str, int]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with ExitStack() as running:
        ports: dict[str, int] = {}
        mail = {"server_name": "mx.test", "auth_http_timeout": f"{TIMEOUT:g}s"}
        servers = [
            _server(ports, f"{name}{protocol}", protocol, auth="passthrough", timeout=timeout)
            for protocol in PROTOCOLS
            for name, timeout in (("", f"{TIMEOUT:g}s"), ("patient ", "60s"))
        ]
        for name, failure in SERVICES.items():
            url = f"http://{LOOPBACK}:{_port(running, failure)}"
            servers.append(_server(ports, f"auth {name}", "imap", auth_http=url))
        backends = {}
        for number, (name, failure) in enumerate(BACKENDS.items()):
            by_protocol = {
                protocol: f"{LOOPBACK}:{_port(running, failure, greeting if name == 'silent later' else b'')}"
                for protocol, greeting in zip(PROTOCOLS, GREETINGS, strict=True)
            }
            backends[f"b{number}"] = by_protocol
        users = {_user(name): f"b{number}" for number, name in enumerate(BACKENDS)}
        text = toml.dumps(
            {
                "workers": 1,
                "control": {"socket": "off"},
                "mail": mail | {"server": servers},
                "auth": {"passthrough": {"users": users}},
                "backends": backends,
            }
        )
        folder: Path = tmp_path_factory.mktemp("failures")
        yield Front(running.enter_context(serving(text, folder)), ports)


def _server(ports: dict[str, int], name: str, protocol: str, **more: str) -> dict[str, object]:
    ports[name] = free_port()
    return {"name": name, "protocol": protocol, "listen": f"{LOOPBACK}:{ports[name]}", **more}


def _port(running: ExitStack, failure: Failure, greeting: bytes = b"") -> int:
    if failure.parts is None:
        return closed_port()
    server = says(greeting, *failure.parts, end=failure.end)
    running.callback(server.stop)
    return server.server_port or 0


def _user(name: str) -> str:
    return name.replace(" ", "-") + "@example.test"


LOGINS: dict[Protocol, str] = {
    "smtp": "EHLO me\r\nAUTH PLAIN {sasl}\r\n",
    "imap": "a LOGIN {user} secret\r\n",
    "pop3": "USER {user}\r\nPASS secret\r\n",
}


def last_words(protocol: Protocol, port: int, user: str) -> list[bytes]:
    """The last lines that a client hears which tries to log in; geomail ends the session."""
    with closing(socket.create_connection((LOOPBACK, port), 10)) as client, client.makefile("rb") as stream:
        client.sendall(LOGINS[protocol].format(user=user, sasl=plain(user, "secret")).encode())
        return stream.readlines()[-len(FAREWELLS[protocol]) :]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_broken_backend_ends_one_session_and_the_log_says_how(front: Front, protocol: Protocol) -> None:
    together(partial(_breaks, front, protocol), BACKENDS)


def _breaks(front: Front, protocol: Protocol, name: str) -> None:
    user, before = _user(name), front.geomail.log.end
    with connected(protocol, front.ports[f"patient {protocol}"]) as bystander:
        assert last_words(protocol, front.ports[protocol], user) == FAREWELLS[protocol]
        bystander.say("NOOP" if protocol != "imap" else "a NOOP")
        assert re.match(rb"250|\+OK|a OK", bystander.read_line())

    line = front.geomail.log.wait_for(rf".* session .*user={user}.*", after=before)[0]
    assert re.search(rf"error {protocol} session {BACKENDS[name].log}", line), line
    assert re.search(rf"server={protocol} client=127\.0\.0\.1 client_port=\d+ ", line)
    assert f"backend={LOOPBACK}:" in line or f'backend="{LOOPBACK}:' in line
    assert "secret" not in line


def test_no_password_can_be_read_from_what_is_missing_in_an_error(front: Front) -> None:
    before = front.geomail.log.end
    with closing(socket.create_connection((LOOPBACK, front.ports["pop3"]), 10)) as client:
        client.sendall(f"USER {_user('refused')}\r\nPASS refused\r\n".encode())

        front.geomail.log.wait_for(r'backend_unreachable .*reason=".*Connection refused"', after=before)


def test_a_broken_auth_service_ends_one_session_and_the_log_says_how(front: Front) -> None:
    together(partial(_gives_no_verdict, front), SERVICES)


def _gives_no_verdict(front: Front, name: str) -> None:
    server = f"auth {name}"
    before = front.geomail.log.end
    assert last_words("imap", front.ports[server], "jane") == FAREWELLS["imap"]

    line = front.geomail.log.wait_for(rf'.* session .*server="{server}" .*user=jane .*', after=before)[0]
    assert re.search(rf"error imap session {SERVICES[name].log}", line), line
    assert "side=auth" in line
    assert "secret" not in line
