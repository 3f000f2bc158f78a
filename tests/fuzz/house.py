"""geomail's worker in this process, on real sockets, with hostile clients, auth service and backends."""

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gevent
from gevent.server import StreamServer

from geomail.config.load import inspect_text
from geomail.events import EventStream, SessionClosed
from geomail.process.listeners import close_vanished, open_listeners
from geomail.process.worker import Worker
from geomail.sinks.log import Log
from tests.fuzz import words
from tests.servers.certificates import Certificates

LOOPBACK = "127.0.0.1"
PROTOCOLS = ("smtp", "imap", "pop3")
#: Seconds that a client waits for the end, and a backend for the next line, before it goes on anyway.
PATIENCE, HASTE = 20.0, 0.005


class Ledger(Log):
    """A log that writes nothing, and keeps how sessions ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[SessionClosed] = []

    def move_to_background(self) -> None:
        """Stay here."""

    def subscribe(self, events: EventStream) -> None:
        """Note the ends of sessions."""
        events.subscribe(self.ends.append, SessionClosed)

    def say(self, level: str, text: str) -> None:
        """Ignore a message."""


@dataclass
class House:
    """geomail and the hostile servers; ``auth`` and ``liar`` hold the answers of the next session."""

    ports: dict[str, int]
    ledger: Ledger
    backends: dict[str, int] = field(default_factory=dict)
    auth: Callable[[], bytes] = bytes
    liar: Callable[[str], words.Liar] = lambda protocol: words.Liar(random.Random(0), protocol, 0, 0)
    bugs: list[str] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

    def run(self, cases: range, play: Callable[["House", int], None]) -> None:
        """Play these cases, one after the other, so that a single case can be played again."""
        for number in cases:
            play(self, number)
            assert len(self.ledger.ends) == 1, f"case {number}: one session was to end"
            end = self.ledger.ends.pop()
            self.endings[end.outcome] += 1
            if end.outcome in ("bug", "error"):
                self.bugs.append(f"case {number}: {end.reason}")

    def talk(self, server: str, pieces: list[bytes]) -> None:
        """Let a client send only this, and wait until the session has ended."""
        with socket.create_connection((LOOPBACK, self.ports[server]), PATIENCE) as sock:
            hearing = gevent.spawn(_hear, sock)
            try:
                for piece in pieces:
                    sock.sendall(piece)
                    gevent.sleep(0)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # geomail has closed the connection
            hearing.get(timeout=PATIENCE)


def _hear(sock: socket.socket) -> None:
    try:
        while sock.recv(65536):
            pass
    except OSError:
        pass  # a reset is an end too


CONFIG = """\
[mail]
server_name = "mx.test"
timeout = "3s"
auth_http = "http://127.0.0.1:{auth}/"
auth_http_timeout = "3s"
proxy_timeout = "3s"
max_errors = 9
smtp_auth = "plain login cram-md5 external none"
imap_auth = "plain login cram-md5 external"
pop3_auth = "plain apop cram-md5 external"
smtp_client_buffer = "1k"
imap_client_buffer = "1k"
pop3_client_buffer = "1k"
ssl_certificate = "{certificate}"
ssl_certificate_key = "{key}"
{servers}
[auth.passthrough]
domains = {{ off = "off", starttls = "starttls", implicit = "implicit" }}
[backends.off]
{off}
[backends.starttls]
tls = "starttls"
tls_verify = false
{off}
[backends.implicit]
tls = "implicit"
tls_verify = false
{off}
[backends.small]
{small}
"""
_PASSING = 'auth = "passthrough"\nsmtp_auth = "plain login none"\nimap_auth = "plain"\npop3_auth = "plain"\n'
#: Servers by name: the words after the address in ``listen``, and further options.
SERVERS = {
    "{0}": ("", 'starttls = "on"\npass_session_id = true'),
    "{0} strict": ("", 'starttls = "only"'),
    "{0} ssl": (" ssl", ""),
    "{0} proxied": (" proxy_protocol", 'set_real_ip_from = "127.0.0.0/8"\nproxy_protocol = "v2"'),
    "{0} through": ("", _PASSING + 'xclient = "auto"\nproxy_pass_error_message = true'),
    "{0} on": ("", _PASSING + 'proxy_protocol = "on"\nxclient = "on"\npass_session_id = true'),
    "{0} auth": ("", "proxy_smtp_auth = true\nauth_http_cache = 1"),
}


@contextmanager
def housing(certificates: Certificates) -> Iterator[House]:
    """Run it all in this process until the block ends."""
    ledger = Ledger()
    house = House({}, ledger)
    with ExitStack() as ending:
        auth = _serving(ending, partial(_answer, house))
        house.backends = {
            protocol: _serving(ending, partial(_lie, house, protocol)) for protocol in PROTOCOLS
        }
        names = [
            (name.format(protocol), protocol, *more)
            for name, more in SERVERS.items()
            for protocol in PROTOCOLS
        ]
        tables = "".join(
            f'[[mail.server]]\nname = "{name}"\nprotocol = "{protocol}"\n'
            f'listen = "{LOOPBACK}:0{words}"\n{options}\n'
            for name, protocol, words, options in names
        )
        backends = "".join(f'{protocol} = "{LOOPBACK}:{port}"\n' for protocol, port in house.backends.items())
        server = certificates.server
        text = CONFIG.format(
            auth=auth,
            certificate=server.certificate,
            key=server.key,
            servers=tables,
            off=backends,
            small=backends,
        )
        found = inspect_text(text, server.certificate.parent / "geomail.toml")
        assert found.config is not None, found.problems
        config = found.config
        listeners = open_listeners(config, [])
        ending.callback(close_vanished, listeners, [])
        house.ports = {listener.server.name: listener.sock.getsockname()[1] for listener in listeners}
        worker = Worker(config, listeners, ledger)
        ending.callback(gevent.killall, worker._accepting)
        yield house


def _serving(ending: ExitStack, serve: Callable[[Any, Any], None]) -> int:
    server = StreamServer((LOOPBACK, 0), serve)
    server.start()
    ending.callback(server.stop, 1)
    return server.server_port or 0


def _answer(house: House, sock: Any, _address: object) -> None:
    """Answer the questions of one connection, and close it."""
    with sock:
        try:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                if not (data := sock.recv(65536)):
                    return
                request += data
            sock.sendall(house.auth())
        except OSError:
            pass  # geomail has closed the connection


def _lie(house: House, protocol: str, sock: Any, _address: object) -> None:
    """Send the liar's answer to each line, until it has no more."""
    rng, liar = random.Random(protocol), house.liar(protocol)
    said: bytes | None = liar.greeting + b"\r\n"
    with sock:
        sock.settimeout(HASTE)
        try:
            while said is not None:
                for piece in words.split(rng, said):
                    sock.sendall(piece)
                    gevent.sleep(0)
                try:
                    received = sock.recv(65536)
                except TimeoutError:
                    received = b""  # geomail waits for more
                else:
                    if not received:
                        return
                said = liar(received)
        except OSError:
            pass  # geomail has closed the connection
