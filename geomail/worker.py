"""The listeners of one process: accepts clients, and gives each its session."""

from __future__ import annotations

import itertools
import math
import secrets
import signal
import time
from _socket import AF_UNIX
from _socket import socket as RawSocket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey
from gevent.event import Event

from geomail.auth import source_for
from geomail.backends import Backends
from geomail.errors import GeomailError
from geomail.events import EventStream
from geomail.net.crew import Crew, Job
from geomail.net.listen import Acceptor
from geomail.net.resolver import Resolver
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire
from geomail.protocols import PROTOCOLS
from geomail.protocols.base import Peer
from geomail.session import Service, Session

if TYPE_CHECKING:
    from geomail.config.schema import Config, Listen, Server
    from geomail.sinks.log import Log

#: Seconds to wait when the process has no descriptor left for another client.
_OUT_OF_DESCRIPTORS = 0.5


@dataclass(frozen=True, slots=True)
class Listener:
    """One address of one server, bound, with the TLS of its clients."""

    server: Server
    listen: Listen
    sock: RawSocket
    side: TlsSide | None

    @property
    def described(self) -> str:
        """What the log says at the start: ``listening on [::]:587 for smtp (starttls only)``."""
        extras = [word for word in ("ssl", "proxy_protocol") if getattr(self.listen, word)]
        if self.server.starttls != "off" and not self.listen.ssl:
            extras.append(f"starttls {self.server.starttls}")
        words = f" ({', '.join(extras)})" if extras else ""
        return f"listening on {self.listen.label} for {self.server.protocol}{words}"


class Worker:
    """Serves listeners that were bound for it, in this process.

    Raises GeomailError unpatched: a blocking call would stop every session.
    """

    def __init__(self, config: Config, listeners: Sequence[Listener], log: Log) -> None:
        if not monkey.is_module_patched("socket"):
            raise GeomailError("gevent's monkey patching must come first: use the geomail command")
        self._config = config
        self._log = log
        log.into_background()
        self._crew = Crew()
        self._sessions: dict[str, Job] = {}
        self._left = Event()
        self._ids = _session_ids()
        self._stop = Event()
        self._graceful = False
        events = EventStream()
        log.subscribe(events)
        services = _services(config, events, self._crew)
        self._acceptors = [Acceptor(listener.sock) for listener in listeners]
        self._accepting = [
            gevent.spawn(self._accept, acceptor, listener, services[id(listener.server)])
            for acceptor, listener in zip(self._acceptors, listeners, strict=True)
        ]

    def run(self) -> None:
        """Serve until a signal: TERM and INT end at once, QUIT when the last session has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._stop_now)
        gevent.signal_handler(signal.SIGQUIT, self._stop_gracefully)
        gevent.signal_handler(signal.SIGHUP, lambda: None)
        gevent.signal_handler(signal.SIGUSR1, self._log.reopen)
        self._stop.wait()
        gevent.killall(self._accepting)
        for acceptor in self._acceptors:
            acceptor.close()
        if self._graceful:
            self._drain()
        for job in tuple(self._sessions.values()):
            job.kill()
        self._log.close()

    def _stop_now(self) -> None:
        self._graceful = False
        self._stop.set()

    def _stop_gracefully(self) -> None:
        self._graceful = True
        self._stop.set()

    def _drain(self) -> None:
        """Wait for the sessions to end, ``worker_shutdown_timeout`` seconds at most where that is set."""
        limit = self._config.worker_shutdown_timeout
        deadline = math.inf if limit is None else time.monotonic() + limit
        while self._graceful and self._sessions and time.monotonic() < deadline:
            self._await_leaving(0.2)

    def _accept(self, acceptor: Acceptor, listener: Listener, service: Service) -> None:
        while True:
            while len(self._sessions) >= self._config.worker_connections:
                self._await_leaving()
            try:
                sock, address = acceptor.accept()
            except OSError as error:
                self._log.say("error", f"cannot accept on {listener.listen.label}: {error.strerror}")
                gevent.sleep(_OUT_OF_DESCRIPTORS)
                continue
            self._open_session(sock, address, listener, service)

    def _open_session(self, sock: RawSocket, address: Any, listener: Listener, service: Service) -> None:
        try:
            peer = _peer(sock, address)
        except OSError:
            sock.close()  # gone already
            return
        session = Session(next(self._ids), service, Wire(sock, "client", listener.side), peer)
        self._sessions[session.id] = self._crew.start(self._serve, session, listener.listen)

    def _serve(self, session: Session, listen: Listen) -> None:
        try:
            session.run(listen)
        finally:
            del self._sessions[session.id]
            self._left.set()

    def _await_leaving(self, seconds: float | None = None) -> None:
        """Wait until a session ends."""
        self._left.clear()
        self._left.wait(seconds)


def _peer(sock: RawSocket, address: Any) -> Peer:
    local = sock.getsockname()
    if sock.family == AF_UNIX:
        return Peer("unix:", 0, f"unix:{local}", 0)
    return Peer(address[0], address[1], local[0], local[1])


def _session_ids() -> Iterator[str]:
    """Unique over machines and restarts: a random prefix for the process, and a count."""
    prefix = secrets.token_hex(5)
    return (f"{prefix}-{number:x}" for number in itertools.count(1))


def _services(config: Config, events: EventStream, crew: Crew) -> dict[int, Service]:
    backends = Backends(config.backends)
    resolvers: dict[Any, Resolver] = {}
    services = {}
    for server in config.servers:
        asked = (server.resolver, server.resolver_timeout)
        resolver = resolvers.setdefault(asked, Resolver(*asked))
        services[id(server)] = Service(
            server=server,
            protocol=PROTOCOLS[server.protocol](server),
            source=source_for(server, config, backends, resolver),
            resolver=resolver,
            events=events,
            crew=crew,
        )
    return services
