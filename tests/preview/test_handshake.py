"""What the preview shows is what ``serve`` says, byte for byte: the same clients before the same backends."""

import base64
import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import toml

from geomail.config.load import load
from geomail.config.schema import Config
from geomail.preview.client import Words
from geomail.preview.handshake import Recorder, Scene, Step
from geomail.preview.plan import Preview, PreviewRequest
from geomail.protocols.base import BackendTls
from tests.net.name_server import NameServer
from tests.preview.recording import ProxyVersion, Recording, recording
from tests.servers.auth_http import AuthService, listening
from tests.servers.certificates import Certificates
from tests.servers.geomail import serving
from tests.servers.support import LOOPBACK, free_port

USER, PASSWORD = "al+ice@example.test", "s3 cret=+€"
NAMED, NAME = "127.0.0.2", "client.example.test"
ZONE = {
    "2.0.0.127.in-addr.arpa. PTR": (f"2.0.0.127.in-addr.arpa. 60 IN PTR {NAME}.",),
    f"{NAME}. A": (f"{NAME}. 60 IN A {NAMED}",),
}
XCLIENTS = ("on", "off", "auto")
PROXIES: tuple[ProxyVersion, ...] = ("off", "on", "v2")
TLS: tuple[BackendTls, ...] = ("off", "starttls", "implicit")

#: What the servers of the tests are called, and what is particular to them.
Key = tuple[str, ...]


@dataclass
class Rig:
    """geomail, what it asks and what is behind it, and the configuration that all of it has."""

    config: Config
    auth: AuthService
    backends: dict[Key, Recording]
    ports: dict[str, int]

    def route(self, backend: Recording, user: str) -> None:
        """Send this user to a backend; "" is mail without a login."""
        answer = {"Auth-Status": "OK", "Auth-Server": LOOPBACK, "Auth-Port": str(backend.port)}
        self.auth.answers = {user: answer}


def servers() -> Iterator[dict[str, Any]]:
    """One server for each way of speaking to a backend."""
    for xclient, proxy, auths in itertools.product(XCLIENTS, PROXIES, (False, True)):
        yield {
            "name": f"smtp {xclient} {proxy} {'auth' if auths else 'trust'}",
            "protocol": "smtp",
            "xclient": xclient,
            "proxy_protocol": proxy,
            "proxy_smtp_auth": auths,
            "smtp_auth": "plain login none",
        }
    for protocol, proxy in itertools.product(("imap", "pop3"), PROXIES):
        yield {"name": f"{protocol} {proxy}", "protocol": protocol, "proxy_protocol": proxy}
    yield {"name": "passthrough", "protocol": "smtp", "auth": "passthrough"}


@pytest.fixture(scope="module")
def rig(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    backends: dict[Key, Recording] = {
        (protocol, proxy, tls): Recording(protocol, certificates.server, proxy, tls)
        for protocol in ("smtp", "imap", "pop3")
        for proxy in PROXIES
        for tls in TLS
    }
    backends["spare",] = Recording("smtp", certificates.server, offers=("XCLIENT NAME ADDR", "AUTH LOGIN"))
    backends["shy",] = Recording("smtp", certificates.server, without=("xclient",))
    auth = AuthService()
    folder = tmp_path_factory.mktemp("preview")
    with recording(*backends.values()), listening(auth), NameServer(ZONE) as names:
        ports = {}
        tables = list(servers())
        for table in tables:
            ports[table["name"]] = port = free_port()
            table["listen"] = [f"{LOOPBACK}:{port}", f"[::1]:{port}"]
        text = toml.dumps(
            {
                "workers": 1,
                "mail": {
                    "server_name": "proxy.example.test",
                    "auth_http": f"http://{LOOPBACK}:{auth.port}/",
                    "resolver": f"{LOOPBACK}:{names.address[1]}",
                    "server": tables,
                },
                "auth": {"passthrough": {"default": "smtp-off-off"}},
                "backends": {
                    "-".join(key): {
                        "address": f"{LOOPBACK}:{backend.port}",
                        "tls": backend.tls,
                        **({"tls_ca": str(certificates.ca.certificate)} if backend.tls != "off" else {}),
                    }
                    for key, backend in backends.items()
                },
            }
        )
        with serving(text, folder):
            yield Rig(load(folder / "geomail.toml"), auth, backends, ports)


# -- the same client, twice -----------------------------------------------------------------------

Login = Literal["login", "mail"]
Hello = Literal["EHLO me", "HELO me", "silent"]


def connect(rig: Rig, server: str, client: str) -> tuple[socket.socket, Any]:
    local = "::1" if ":" in client else LOOPBACK
    sock = socket.create_connection((local, rig.ports[server]), 10, source_address=(client, 0))
    stream = sock.makefile("rwb")
    assert stream.readline().startswith((b"220", b"* OK", b"+OK"))
    return sock, stream


def say(stream: Any, line: str, wanted: bytes) -> None:
    stream.write(line.encode() + b"\r\n")
    stream.flush()
    reply = stream.readline()
    while reply[3:4] == b"-" and reply[:3].isdigit():
        reply = stream.readline()
    assert reply.startswith(wanted), reply


def come_by_smtp(
    rig: Rig, server: str, client: str, hello: Hello, login: Login, answer: bytes = b"250"
) -> int:
    """Let a client log in, or send; gives the port that it came from. ``answer`` is the one to RCPT."""
    sock, stream = connect(rig, server, client)
    with sock, stream:
        if hello != "silent":
            say(stream, hello, b"250")
        if login == "mail":
            say(stream, "MAIL FROM:<a@example.test>", b"250")
            say(stream, "RCPT TO:<b@example.test>", answer)
        else:
            response = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
            say(stream, f"AUTH PLAIN {response}", b"235")
        return int(sock.getsockname()[1])


def come_by_imap(rig: Rig, server: str, client: str) -> int:
    sock, stream = connect(rig, server, client)
    with sock, stream:
        response = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
        say(stream, f"a1 AUTHENTICATE PLAIN {response}", b"a1 OK")
        return int(sock.getsockname()[1])


def come_by_pop3(rig: Rig, server: str, client: str) -> int:
    sock, stream = connect(rig, server, client)
    with sock, stream:
        say(stream, f"USER {USER}", b"+OK")
        say(stream, f"PASS {PASSWORD}", b"+OK")
        return int(sock.getsockname()[1])


def preview(
    rig: Rig, server: str, backend: Recording, client: str, port: int, words: Words, outcome: str = "ok"
) -> None:
    """Preview the same, and compare: what is said byte for byte, and what is shown line by line."""
    request = PreviewRequest(
        words=words,
        server=server,
        client=f"[{client}]:{port}" if ":" in client else f"{client}:{port}",
        client_name=NAME if client == NAMED else None,
        backend=f"{LOOPBACK}:{backend.port}",
        offers=backend.offers,
        without=backend.without,
    )
    previewed = Preview(rig.config, request)
    scene = previewed.admit()
    assert isinstance(scene, Scene)
    rehearsal, steps = previewed.imagine_backend(scene), list[Step]()
    ending = previewed.stage.run(rehearsal, scene, Recorder(steps.append, bytes))

    assert ending.outcome == outcome, ending
    assert rehearsal.said == backend.heard
    shown = [step.line for step in steps if step.sender == "geomail"]
    if backend.proxy == "v2":
        assert shown.pop(0).startswith(f"PROXY v2 TCP{6 if ':' in client else 4} {client} ")
    assert shown == [masked(line) for line in backend.heard[backend.proxy == "v2" :]]


#: As they are said; what holds another one comes before it.
SECRETS = (
    base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()),
    base64.b64encode(PASSWORD.encode()),
    PASSWORD.encode(),
)


def masked(line: bytes) -> str:
    for secret in SECRETS:
        line = line.replace(secret, b"********")
    return line.decode()


HELLOS: dict[Hello, tuple[str, bool]] = {
    "EHLO me": ("me", True),
    "HELO me": ("me", False),
    "silent": ("", True),
}


def words_of(hello: Hello, login: Login) -> Words:
    name, esmtp = HELLOS[hello]
    if login == "mail":
        return Words(name, esmtp, sender="a@example.test", recipient="b@example.test")
    return Words(name, esmtp, USER, PASSWORD.encode())


every_client = pytest.mark.parametrize("client", [LOOPBACK, "::1"])
every_proxy = pytest.mark.parametrize("proxy", PROXIES)
every_tls = pytest.mark.parametrize("tls", TLS)
every_login = pytest.mark.parametrize(
    ("auths", "login"), [("trust", "login"), ("auth", "login"), ("trust", "mail")]
)


@every_client
@every_proxy
@pytest.mark.parametrize("hello", HELLOS)
@every_login
@pytest.mark.parametrize("xclient", XCLIENTS)
def test_smtp(
    rig: Rig, xclient: str, auths: str, login: Login, hello: Hello, proxy: ProxyVersion, client: str
) -> None:
    server, backend = f"smtp {xclient} {proxy} {auths}", rig.backends["smtp", proxy, "off"]
    rig.route(backend, USER if login == "login" else "")
    port = come_by_smtp(rig, server, client, hello, login)

    preview(rig, server, backend, client, port, words_of(hello, login))


@every_tls
@every_login
@pytest.mark.parametrize("xclient", XCLIENTS)
def test_smtp_to_a_backend_with_tls(
    rig: Rig, xclient: str, auths: str, login: Login, tls: BackendTls
) -> None:
    server, backend = f"smtp {xclient} on {auths}", rig.backends["smtp", "on", tls]
    rig.route(backend, USER if login == "login" else "")
    port = come_by_smtp(rig, server, LOOPBACK, "EHLO me", login)

    preview(rig, server, backend, LOOPBACK, port, words_of("EHLO me", login))


@pytest.mark.parametrize("kind", ["spare", "shy"])
@every_login
def test_smtp_to_a_backend_that_offers_less(rig: Rig, auths: str, login: Login, kind: str) -> None:
    server, backend = f"smtp auto off {auths}", rig.backends[kind,]
    rig.route(backend, USER if login == "login" else "")
    untold = (kind, login) == ("shy", "mail")
    port = come_by_smtp(rig, server, LOOPBACK, "EHLO me", login, b"451 4.3.0" if untold else b"250")

    outcome = "backend_refused" if untold else "ok"
    preview(rig, server, backend, LOOPBACK, port, words_of("EHLO me", login), outcome)


@pytest.mark.parametrize("xclient", XCLIENTS)
def test_smtp_with_the_name_of_the_client(rig: Rig, xclient: str) -> None:
    server, backend = f"smtp {xclient} off trust", rig.backends["smtp", "off", "off"]
    rig.route(backend, USER)
    port = come_by_smtp(rig, server, NAMED, "EHLO me", "login")

    preview(rig, server, backend, NAMED, port, words_of("EHLO me", "login"))


def test_smtp_passed_through(rig: Rig) -> None:
    port = come_by_smtp(rig, "passthrough", LOOPBACK, "EHLO me", "login")

    preview(
        rig, "passthrough", rig.backends["smtp", "off", "off"], LOOPBACK, port, words_of("EHLO me", "login")
    )


@every_client
@every_tls
@every_proxy
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_imap_and_pop3(rig: Rig, protocol: str, proxy: ProxyVersion, tls: BackendTls, client: str) -> None:
    server, backend = f"{protocol} {proxy}", rig.backends[protocol, proxy, tls]
    rig.route(backend, USER)
    come = come_by_imap if protocol == "imap" else come_by_pop3
    port = come(rig, server, client)

    preview(rig, server, backend, client, port, Words(user=USER, password=PASSWORD.encode()))
