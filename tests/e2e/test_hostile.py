"""Clients that are slow, mean no good or vanish: what a running geomail makes of them."""

import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import toml
from gevent.server import StreamServer

from tests.e2e.clients import connected, plain
from tests.e2e.proxy import PROTOCOLS, Protocol
from tests.servers.auth_http import AuthService, Request, listening
from tests.servers.certificates import Certificates
from tests.servers.geomail import Geomail, serving
from tests.servers.small import small_servers
from tests.servers.support import LOOPBACK, free_port
from tests.together import together

#: The time before login.
TIMEOUT = 1.0
NOOPS: dict[Protocol, bytes] = {"smtp": b"NOOP\r\n", "imap": b"a NOOP\r\n", "pop3": b"NOOP\r\n"}
STARTTLS: dict[Protocol, bytes] = {"smtp": b"STARTTLS\r\n", "imap": b"a STARTTLS\r\n", "pop3": b"STLS\r\n"}
BYE = b"* BYE Disconnected for inactivity\r\n"
ANSWERS: dict[Protocol, bytes] = {"smtp": b"250", "imap": b"a OK", "pop3": b"+OK"}
INVALID: dict[Protocol, bytes] = {"smtp": b"500", "imap": b"GET BAD", "pop3": b"-ERR"}
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@dataclass(frozen=True)
class Front:
    """geomail, and its ports by what listens there."""

    geomail: Geomail
    ports: dict[str, int]
    tls: ssl.SSLContext

    @contextmanager
    def client(self, name: str) -> Iterator[socket.socket]:
        """A connection on which nothing was said yet."""
        with socket.create_connection((LOOPBACK, self.ports[name]), 10) as sock:
            yield sock

    def ends_at(self, sock: socket.socket) -> int:
        """Look in the log for the end of a client's session, and wait for it."""
        name = next(name for name, port in self.ports.items() if port == sock.getpeername()[1])
        whose = rf'server="?{name}"? client=\S+ client_port={sock.getsockname()[1]} '
        return self.geomail.log.wait_for(rf" session .* {whose}").start()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Front]:
    auth = AuthService(ending="close", answers={"slow": slow})
    with ExitStack() as running:
        backends = running.enter_context(small_servers())
        running.enter_context(listening(auth))
        verbose = StreamServer((LOOPBACK, 0), welcome_at_length)
        verbose.start()
        running.callback(verbose.stop)
        dns = running.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        dns.bind((LOOPBACK, 0))  # it hears, and never answers
        servers: list[dict[str, Any]] = [
            *({"name": protocol, "protocol": protocol, "starttls": "on"} for protocol in PROTOCOLS),
            *({"name": f"{protocol} ssl", "protocol": protocol} for protocol in PROTOCOLS),
            {"name": "proxied", "protocol": "imap"},
            {"name": "proxied ssl", "protocol": "imap"},
            {"name": "few", "protocol": "imap", "max_login_attempts": 3},
            {"name": "verbose sndbuf=4k", "protocol": "imap"},
            {"name": "slow", "protocol": "imap", "auth": "http"},
            {
                "name": "named ssl",
                "protocol": "smtp",
                "resolver": f"{LOOPBACK}:{dns.getsockname()[1]}",
                "resolver_timeout": f"{20 * TIMEOUT:g}s",
            },
        ]
        servers[-2]["auth_http"] = f"http://{LOOPBACK}:{auth.port}"
        ports = {server["name"]: free_port() for server in servers}
        for server in servers:
            words = server["name"].split()
            flags = [word for word in ("ssl", "proxied", "sndbuf=4k") if word in words]
            listen = [f"{LOOPBACK}:{ports[server['name']]}", *flags]
            server["listen"] = " ".join(listen).replace("proxied", "proxy_protocol")
            server.setdefault("auth", "passthrough")
        text = toml.dumps(
            {
                "workers": 1,
                "control": {"socket": "off"},
                "mail": {
                    "timeout": f"{TIMEOUT:g}s",
                    "ssl_certificate": str(certificates.server.certificate),
                    "ssl_certificate_key": str(certificates.server.key),
                    "server": servers,
                },
                "auth": {"passthrough": {"default": "small", "users": {"verbose": "verbose"}}},
                "backends": {
                    "small": {name: f"{LOOPBACK}:{port}" for name, port in backends.items()},
                    "verbose": {"address": f"{LOOPBACK}:{verbose.server_port}"},
                },
            }
        )
        geomail = running.enter_context(serving(text, tmp_path_factory.mktemp("hostile")))
        yield Front(geomail, ports, certificates.client_context())


def slow(request: Request) -> dict[str, str]:
    """An answer that takes longer than a login may."""
    time.sleep(1.5 * TIMEOUT)
    return {"Auth-Status": "No", "Auth-Wait": "1"}


def ends_after(sock: socket.socket, began: float) -> float:
    """How long after ``began`` geomail closed the connection; what it said before is of no interest."""
    while sock.recv(4096):
        pass
    return time.monotonic() - began


def welcome_at_length(sock: socket.socket, _: object) -> None:
    """A backend whose answer to a login is as long as geomail takes it."""
    with sock, sock.makefile("rb") as stream:
        sock.sendall(b"* OK hello\r\n")
        tag = stream.readline().split()[0]
        for _ in range(2):
            sock.sendall(b"+ go on\r\n")
            stream.readline()
        sock.sendall(100 * (b"* CAPABILITY " + b"x" * 600 + b"\r\n") + tag + b" OK in\r\n")
        stream.read()


class Eager:
    """A TLS client that sends what it has to say without waiting, in the fewest segments."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext, ahead: bytes = b"") -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._ahead = ahead

    def start(self, line: bytes) -> None:
        """Shake hands behind what goes ahead, and say a line together with the last of it."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._sock.sendall(self._ahead + self._outgoing.read())
                self._ahead = b""
                self._incoming.write(self._sock.recv(65536))
            else:
                break
        self._tls.write(line)
        self._sock.sendall(self._outgoing.read())

    def hear(self, wanted: bytes) -> bytes:
        """All that is said, up to what is wanted."""
        said = b""
        while wanted not in said:
            try:
                said += self._tls.read(4096)
            except ssl.SSLWantReadError:
                data = self._sock.recv(65536)
                assert data, f"{wanted!r} is not in {said!r}"
                self._incoming.write(data)
        return said


# -- time -------------------------------------------------------------------------------------------


def test_commands_do_not_extend_the_time_for_a_login(front: Front) -> None:
    def goes_on(protocol: Protocol, tls: bool) -> None:
        began = time.monotonic()
        with front.client(protocol) as sock:
            port = sock.getsockname()[1]
            sock.recv(512)
            if tls:
                sock.sendall(STARTTLS[protocol])
                sock.recv(512)
                sock = front.tls.wrap_socket(sock, server_hostname="localhost")
            with pytest.raises((ConnectionError, StopIteration)):
                while True:
                    sock.sendall(NOOPS[protocol])
                    if (heard := sock.recv(512)) in (b"", BYE):
                        raise StopIteration
                    assert heard.startswith(ANSWERS[protocol])
                    time.sleep(0.1)
                    assert time.monotonic() - began < 8 * TIMEOUT
            assert time.monotonic() - began >= TIMEOUT - 0.1
            sock.close()
        front.geomail.log.wait_for(
            rf"warning {protocol} session timeout .*client_port={port} .*side=client .*within 1 s"
        )

    together(goes_on, [(protocol, tls) for protocol in PROTOCOLS for tls in (False, True)])


def test_starttls_has_no_time_of_its_own(front: Front) -> None:
    def starts_late(protocol: Protocol) -> None:
        with front.client(protocol) as first:
            first.recv(512)
            time.sleep(0.4 * TIMEOUT)
            with front.client(protocol) as second:
                time.sleep(0.3 * TIMEOUT)
                first.sendall(STARTTLS[protocol])
                ends = [front.ends_at(sock) for sock in (first, second)]
        assert ends == sorted(ends), "the second client, which came later, ended first"

    together(starts_late, PROTOCOLS)


def test_silence_before_the_greeting_ends(front: Front) -> None:
    def is_silent(name: str) -> None:
        began = time.monotonic()
        with front.client(name) as sock:
            port = sock.getsockname()[1]
            assert ends_after(sock, began) >= TIMEOUT - 0.1
        front.geomail.log.wait_for(
            rf"session timeout .*client_port={port} .*side=client .*before the greeting"
        )

    together(is_silent, ["smtp ssl", "imap ssl", "pop3 ssl", "proxied", "proxied ssl"])


def test_a_silent_name_server_is_waited_for_as_long_as_a_login_which_has_its_time_after_that(
    front: Front,
) -> None:
    began, before = time.monotonic(), front.geomail.log.end
    with front.client("named ssl") as sock:
        client = Eager(sock, front.tls)
        client.start(b"EHLO me\r\n")
        client.hear(b"250 AUTH")
        assert TIMEOUT - 0.1 <= time.monotonic() - began < 8 * TIMEOUT
    front.geomail.log.wait_for("could not be resolved in time", after=before)


def test_a_slow_auth_service_and_the_wait_cost_the_client_none_of_its_time(front: Front) -> None:
    with connected("imap", front.ports["slow"]) as client:
        client.say("a LOGIN slow secret")
        assert client.read_line() == b"a NO No\r\n"
        time.sleep(0.5 * TIMEOUT)
        client.noop()
        client.quit()


def test_a_client_that_does_not_read_its_welcome_is_given_up(front: Front) -> None:
    before = front.geomail.log.end
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect((LOOPBACK, front.ports["verbose sndbuf=4k"]))
        sock.sendall(b"a LOGIN verbose secret\r\n")
        front.geomail.log.wait_for("session timeout .*user=verbose .*does not read its welcome", after=before)


# -- bytes that come at once, or one at a time --------------------------------------------------------


@every_protocol
def test_a_command_in_the_last_flight_of_the_handshake_is_answered(front: Front, protocol: Protocol) -> None:
    with front.client(f"{protocol} ssl") as sock:
        client = Eager(sock, front.tls)
        client.start(NOOPS[protocol])
        client.hear(b"\n" + ANSWERS[protocol])


def test_a_command_in_the_segment_of_a_proxy_header_is_answered(front: Front) -> None:
    with front.client("proxied") as sock, sock.makefile("rb") as stream:
        sock.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\na NOOP\r\n")
        assert stream.readline().startswith(b"* OK ")
        assert stream.readline() == b"a OK completed\r\n"


def test_tls_may_start_in_the_segment_of_a_proxy_header(front: Front) -> None:
    with front.client("proxied ssl") as sock:
        port = sock.getsockname()[1]
        client = Eager(sock, front.tls, ahead=b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        client.start(b"a NOOP\r\n")
        client.hear(b"a OK completed\r\n")
    found = front.geomail.log.wait_for(rf" session .* client_port={port} .* bytes_in=(\d+)")
    assert int(found[1]) < 100, "what belongs to the handshake is not counted"


def test_a_proxy_header_may_come_byte_by_byte(front: Front) -> None:
    with front.client("proxied") as sock:
        for byte in b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n":
            sock.sendall(bytes((byte,)))
            time.sleep(0.005)
        assert sock.recv(512).startswith(b"* OK ")


def test_a_login_counts_though_the_end_came_with_it(front: Front) -> None:
    before = front.geomail.log.end
    with front.client("imap") as sock, sock.makefile("rb") as stream:
        sock.sendall(b"a LOGIN jane secret\r\nb NOOP\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert stream.read().splitlines()[1:] == [b"a OK in", b"b OK done"]
    front.geomail.log.wait_for("imap session done .*user=jane", after=before)


# -- attacks ----------------------------------------------------------------------------------------


@every_protocol
def test_an_http_request_gets_one_answer(front: Front, protocol: Protocol) -> None:
    before = front.geomail.log.end
    request = b"GET / HTTP/1.1\r\nAuthorization: Basic c2VjcmV0\r\n\r\n" + 9 * NOOPS[protocol]
    with front.client(protocol) as sock, sock.makefile("rb") as stream:
        sock.sendall(request)
        _, answer, *bye = stream.read().splitlines()
    assert answer.startswith(INVALID[protocol])
    assert bye == ([b"* BYE Too many errors"] if protocol == "imap" else [])
    front.geomail.log.wait_for(f"warning {protocol} session too_many_errors .*an HTTP request", after=before)
    assert "c2VjcmV0" not in front.geomail.log.text


@every_protocol
def test_bytes_ahead_of_the_handshake_are_never_taken_for_commands(front: Front, protocol: Protocol) -> None:
    before = front.geomail.log.end
    with front.client(protocol) as sock, sock.makefile("rb") as stream:
        sock.sendall(STARTTLS[protocol] + NOOPS[protocol])
        assert len(stream.read().splitlines()) == 2, "the greeting, and the answer to STARTTLS"
    front.geomail.log.wait_for(f"warning {protocol} session violation", after=before)


@every_protocol
def test_an_endless_line_ends_the_session(front: Front, protocol: Protocol) -> None:
    before = front.geomail.log.end
    with front.client(protocol) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"x" * 50_000)
        _, answer, *bye = stream.read().splitlines()
    assert b"nvalid command" in answer
    assert bye == ([b"* BYE Command too long"] if protocol == "imap" else [])
    found = front.geomail.log.wait_for(
        rf"warning {protocol} session too_long .* bytes_in=(\d+)", after=before
    )
    assert int(found[1]) < 10_000


def test_failed_logins_are_limited(front: Front) -> None:
    before = front.geomail.log.end
    with connected("imap", front.ports["few"]) as client:
        for _ in range(3):
            assert not client.log_in("bad", "secret")
        assert [client.read_line(), client.read_line()] == [b"* BYE Too many errors\r\n", b""]
    said = r"too_many_errors .*user=bad.*3 failed logins \(max_login_attempts\)"
    front.geomail.log.wait_for(said, after=before)


def test_bad_base64_disturbs_nobody_else(front: Front) -> None:
    with connected("smtp", front.ports["smtp"]) as one, connected("smtp", front.ports["smtp"]) as other:
        for client in (one, other):
            client.say("AUTH PLAIN")
            assert client.read_line() == b"334 \r\n"
        one.say("!!!!" + plain("jane", "secret"))
        other.say(plain("jane", "secret"))
        assert one.read_line() == b"500 5.5.1 Invalid command\r\n"
        assert other.read_line().startswith(b"235 ")
        assert one.log_in("jane", "secret")


# -- clients that vanish ------------------------------------------------------------------------------

#: How far a client gets before it is gone.
STAGES: dict[str, tuple[str, bytes]] = {
    "nothing": ("imap", b""),
    "half a line": ("imap", b"a LOG"),
    "literal": ("imap", b"a LOGIN {5}\r\n"),
    "challenge": ("imap", b"a AUTHENTICATE PLAIN\r\n"),
    "starttls": ("imap", b"a STARTTLS\r\n"),
    "hello": ("imap ssl", b"\x16\x03\x01\x02\x00\x01\x00"),
    "proxy": ("proxied", b"PROXY TC"),
    "auth": ("slow", b"a LOGIN slow secret\r\n"),
    "login": ("imap", b"a LOGIN jane secret\r\n"),
    "relay": ("imap", b"a LOGIN jane secret\r\nb NOOP\r\n"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_client_that_vanishes_leaves_nothing_behind(front: Front, stage: str) -> None:
    name, said = STAGES[stage]
    at_rest, before = settled(front), front.geomail.log.end
    for reset in 10 * [False, True]:
        with front.client(name) as sock:
            if said:
                sock.sendall(said)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deadline = time.monotonic() + 10
    while front.geomail.descriptors > at_rest or front.geomail.log.text.count(" session ", before) < 20:
        assert time.monotonic() < deadline, f"{at_rest} descriptors became {front.geomail.descriptors}"
        time.sleep(0.05)


def settled(front: Front) -> int:
    """The descriptors when what other tests left behind is gone."""
    deadline, fewest = time.monotonic() + 3 * TIMEOUT, front.geomail.descriptors
    while time.monotonic() < deadline and fewest != (now := front.geomail.descriptors):
        fewest = now
        time.sleep(0.1)
    return fewest
