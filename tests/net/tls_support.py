"""Contexts by nginx's directives, and clients for them: Python's ssl, and the openssl command."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gevent

from geomail.errors import SessionError
from geomail.net.tls import TlsChannel, TlsSide
from geomail.net.tls_contexts import ServerSettings, make_server_context
from geomail.net.wire import Wire
from tests.net.pki import Pair, Pki
from tests.net.support import PATIENCE, TlsPeer, raw, wire_pair, within
from tests.servers.support import program

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = [V12, V13]


def settings(pair: Pair, **more: Any) -> dict[str, Any]:
    """Return the fields of ServerSettings, with nginx's defaults for the required fields."""
    return {
        "certificates": [(pair.certificate, pair.key)],
        "protocols": ("TLSv1.2", "TLSv1.3"),
        "ciphers": "HIGH:!aNULL:!MD5",
        "alpn": "smtp",
        **more,
    }


def listening(pair: Pair, **more: Any) -> ssl.SSLContext:
    """Make the context of a listener."""
    return make_server_context(ServerSettings(**settings(pair, **more)))


def client(
    pki: Pki, version: ssl.TLSVersion | None = None, *, shown: Pair | None = None, alpn: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """Make the context of a client that trusts the CA and may show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki.ca.certificate)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@dataclass(frozen=True)
class Meeting:
    """Both ends after a handshake; the client has read a line, and its tickets with it."""

    channel: TlsChannel
    tls: ssl.SSLObject

    @property
    def session(self) -> ssl.SSLSession:
        """The session that the client would resume."""
        assert self.tls.session is not None
        return self.tls.session

    @property
    def resumed(self) -> bool:
        """True if the client resumed a session."""
        return bool(self.tls.session_reused)


def meet(
    listener: ssl.SSLContext,
    visitor: ssl.SSLContext,
    session: ssl.SSLSession | None = None,
    name: str = "localhost",
) -> Meeting:
    """Connect a client to a listener over a wire, and close both again."""
    wire, sock = wire_pair("client", TlsSide(listener, server=True))
    peer = TlsPeer(sock.sock, visitor, name=name, session=session)
    shaking = gevent.spawn(_handshake, peer)
    try:
        within(wire.start_tls)
        shaking.get(timeout=PATIENCE)
        wire.send(b"220 \r\n")
        assert within(lambda: peer.recv(100)) == b"220 \r\n"
        assert wire.channel is not None
        return Meeting(wire.channel, peer.tls)
    finally:
        shaking.kill()
        wire.close()
        peer.close()


def _handshake(peer: TlsPeer) -> None:
    try:
        peer.handshake()
    except (ssl.SSLError, ConnectionError):
        pass  # the test looks at the other end


Answer = Callable[[Wire], bytes]


@contextmanager
def serving(
    listener: ssl.SSLContext, answer: Answer = lambda _wire: b"220 \r\n"
) -> Iterator[tuple[int, list[str]]]:
    """Run a server that sends one line and closes; give its port, and the errors of its clients."""
    failures: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as accepting:
        serving = gevent.spawn(_serve, accepting, TlsSide(listener, server=True), answer, failures)
        try:
            yield accepting.getsockname()[1], failures
        finally:
            serving.kill()


def _serve(accepting: socket.socket, side: TlsSide, answer: Answer, failures: list[str]) -> None:
    while True:
        sock, _ = accepting.accept()
        wire = Wire(raw(sock), "client", side)
        try:
            with gevent.Timeout(PATIENCE):
                wire.start_tls()
                wire.send(answer(wire))
        except SessionError as error:
            failures.append(str(error))
        finally:
            wire.close()


def s_client(port: int, *options: str, said: bytes = b"") -> str:
    """Return the whole output of openssl's client for a connection, which the server ends."""
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-ign_eof", *options]
    ran = subprocess.run(command, input=said, capture_output=True, timeout=PATIENCE, check=False)
    return (ran.stdout + ran.stderr).decode(errors="replace")
