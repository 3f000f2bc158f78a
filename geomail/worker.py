"""The listeners of one process: accepts clients, and gives each its session."""

from __future__ import annotations

import itertools
import secrets
import signal
from _socket import AF_UNIX
from _socket import socket as RawSocket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey
from gevent.event import Event
from gevent.pool import Pool

from geomail.auth import source_for
from geomail.backends import Backends
from geomail.errors import GeomailError
from geomail.net.listen import Acceptor, bind
from geomail.net.resolver import Resolver
from geomail.net.tls import TlsSide, server_context
from geomail.net.wire import Wire
from geomail.protocols import PROTOCOLS
from geomail.protocols.base import Peer
from geomail.session import Service, Session

if TYPE_CHECKING:
    from geomail.config.schema import Config, Listen, Server
    from geomail.events import EventStream
    from geomail.sinks.log import Log

#: Seconds to wait when the process has no descriptor left for another client.
_OUT_OF_DESCRIPTORS = 0.5


class CannotStart(GeomailError):
    """A listener or a certificate could not be had; the text says which and why."""


def bind_all(config: Config) -> list[tuple[Server, Listen, RawSocket]]:
    """Bind every ``listen`` of the configuration, or none. Raises CannotStart."""
    bound: list[tuple[Server, Listen, RawSocket]] = []
    for server in config.servers:
        for listen in server.listen:
            try:
                sock = bind(host=listen.host, port=listen.port, path=listen.path)
            except OSError as error:
                for _, _, other in bound:
                    other.close()
                raise CannotStart(f"cannot listen on {listen.label}: {error.strerror}") from None
            bound.append((server, listen, sock))
    return bound


class Worker:
    """Serves the listeners that were bound for it, in this process.

    Refuses to start unpatched: a blocking call would stop every session.
    """

    def __init__(
        self, config: Config, bound: Sequence[tuple[Server, Listen, RawSocket]], events: EventStream, log: Log
    ) -> None:
        if not monkey.is_module_patched("socket"):
            raise GeomailError("gevent's monkey patching must come first: use the geomail command")
        self._log = log
        self._sessions = Pool()
        self._ids = _session_ids()
        self._stop = Event()
        self._graceful = False
        self._acceptors: list[Acceptor] = []
        self._accepting: list[gevent.Greenlet] = []
        services = _services(config, events)
        sides = {id(server): _tls_side(server) for server in config.servers}
        for server, listen, sock in bound:
            acceptor = Acceptor(sock)
            self._acceptors.append(acceptor)
            job = gevent.spawn(self._accept, acceptor, services[id(server)], listen, sides[id(server)])
            self._accepting.append(job)

    def run(self) -> None:
        """Serve until a signal: TERM and INT end at once, QUIT when the last session has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._stop_now)
        gevent.signal_handler(signal.SIGQUIT, self._stop_gracefully)
        self._stop.wait()
        gevent.killall(self._accepting)
        for acceptor in self._acceptors:
            acceptor.close()
        if self._graceful:
            self._drain()
        self._sessions.kill()

    def _stop_now(self) -> None:
        self._graceful = False
        self._stop.set()

    def _stop_gracefully(self) -> None:
        self._graceful = True
        self._stop.set()

    def _drain(self) -> None:
        self._log.say("notice", f"no new clients; waiting for {len(self._sessions)} sessions to end")
        while self._graceful and not self._sessions.join(0.2):
            pass

    def _accept(self, acceptor: Acceptor, service: Service, listen: Listen, side: TlsSide | None) -> None:
        while True:
            try:
                sock, address = acceptor.accept()
            except OSError as error:
                self._log.say("error", f"cannot accept on {listen.label}: {error.strerror}")
                gevent.sleep(_OUT_OF_DESCRIPTORS)
                continue
            self._sessions.start(gevent.Greenlet(self._serve, sock, address, service, listen, side))

    def _serve(
        self, sock: RawSocket, address: Any, service: Service, listen: Listen, side: TlsSide | None
    ) -> None:
        try:
            peer = _peer(sock, address)
        except OSError:
            sock.close()  # gone between accept and here
            return
        Session(next(self._ids), service, Wire(sock, "client", side), peer).run(listen)


def _peer(sock: RawSocket, address: Any) -> Peer:
    if sock.family == AF_UNIX:
        return Peer("unix:", 0, f"unix:{sock.getsockname()}", 0)
    local = sock.getsockname()
    return Peer(address[0], address[1], local[0], local[1])


def _session_ids() -> Iterator[str]:
    """Unique over machines and restarts: a random prefix for the process, and a count."""
    prefix = secrets.token_hex(5)
    return (f"{prefix}-{number:x}" for number in itertools.count(1))


def _services(config: Config, events: EventStream) -> dict[int, Service]:
    backends = Backends(config.backends)
    services = {}
    for server in config.servers:
        resolver = Resolver(server.resolver, server.resolver_timeout)
        services[id(server)] = Service(
            server=server,
            protocol=PROTOCOLS[server.protocol](server),
            source=source_for(server, config, backends),
            resolver=resolver,
            events=events,
        )
    return services


def _tls_side(server: Server) -> TlsSide | None:
    if server.starttls == "off" and not any(listen.ssl for listen in server.listen):
        return None
    context = server_context(
        certificates=list(zip(server.ssl_certificate, server.ssl_certificate_key, strict=True)),
        protocols=server.ssl_protocols,
        ciphers=server.ssl_ciphers,
        alpn=server.protocol,
    )
    return TlsSide(context, server=True)
