"""The listeners of one process: accepts clients, and gives each its session."""

from __future__ import annotations

import math
import os
import signal
import time
from _socket import AF_UNIX
from _socket import socket as RawSocket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent import monkey
from gevent.event import Event

from geomail.config.schema import Listen, Server
from geomail.errors import GeomailError, ShuttingDown
from geomail.events import EventStream, TraceLine
from geomail.net import memory
from geomail.net.client_contexts import ContextMaker
from geomail.net.crew import Crew
from geomail.net.listen import Acceptor
from geomail.net.tls import TlsSide
from geomail.net.tls_contexts import make_client_context
from geomail.net.wire import Wire
from geomail.parties import Client
from geomail.process.incidents import Incidents
from geomail.session.registry import Sessions
from geomail.session.service import Surroundings, make_services
from geomail.session.session import Session
from geomail.session.tracing import Tracing
from geomail.sinks.feed import Feed, Way
from geomail.sinks.meters import Meters
from geomail.sinks.tally import Tally

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.sinks.log import Log

#: Clients taken in together when one has come: what a session begins with is in the processor's caches then,
#: which makes each a tenth cheaper, and those who are served already get their turn soon.
_AT_ONCE: Final = 64
#: Seconds to wait when the process has no descriptor left for another client.
_OUT_OF_DESCRIPTORS = 0.5
#: Seconds for the goodbyes to all clients when this process ends, and for the console to hear of it.
_FAREWELLS, _LAST_NEWS = 1.0, 0.5


@dataclass(frozen=True, slots=True)
class Listener:
    """One address of one server, bound, with the TLS of its clients.

    ``specific`` holds listeners of other servers that share its socket: those
    of single addresses, where this one is on all addresses of the port.
    """

    server: Server
    listen: Listen
    sock: RawSocket
    side: TlsSide | None
    specific: dict[str, Listener] = field(default_factory=dict)

    def at(self, address: str) -> Listener:
        """The listener of who has connected to this address, where this one is on all of them."""
        return self.specific.get(address, self)

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

    ``console`` is how the console process is reached, which hears what happens here; None if there
    is none. ``contexts`` were made for all connections that geomail opens.
    Raises GeomailError unpatched: a blocking call would stop every session.
    """

    def __init__(
        self,
        config: Config,
        listeners: Sequence[Listener],
        log: Log,
        generation: int = 0,
        console: Way | None = None,
        contexts: ContextMaker = make_client_context,
    ) -> None:
        if not monkey.is_module_patched("socket"):
            raise GeomailError("gevent's monkey patching must come first: use the geomail command")
        self._config = config
        self._log = log
        log.move_to_background()
        memory.wipe_freed_memory(False)  # which costs a busy relay too much
        memory.keep_freed_memory()
        crew = Crew()
        self._sessions = Sessions(crew)
        self._incidents = Incidents(log.say)
        self._stop = Event()
        self._graceful = False
        self._told: dict[str, Any] = {}
        self._tracing = Tracing(self._emit_trace)
        events = EventStream()
        log.subscribe(events)
        self._feed = self._open_feed(console, events, generation) if console is not None else None
        self._services = make_services(
            config,
            Surroundings(
                *(events, crew, self._sessions.parking, self._tracing),
                tell=log.say,
                note=self._incidents.note,
            ),
            contexts,
        )
        self._doors = [(Acceptor(listener.sock), listener) for listener in listeners]
        self._accepting = [
            gevent.spawn(self._accept, acceptor, listener) for acceptor, listener in self._doors
        ]

    def run(self, serving: Callable[[], None]) -> None:
        """Serve until a signal: TERM and INT end at once, QUIT when the last session has ended.

        ``serving`` is called as soon as clients are accepted.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._stop_now)
        gevent.signal_handler(signal.SIGQUIT, self._stop_gracefully)
        gevent.signal_handler(signal.SIGHUP, lambda: None)
        gevent.signal_handler(signal.SIGUSR1, self._log.reopen)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the master blocks what it waits for
        gevent.sleep(0)  # the greenlets that accept have their first turn
        serving()
        self._stop.wait()
        gevent.killall(self._accepting)
        if self._graceful:
            self._admit_all()
        for acceptor, _ in self._doors:
            acceptor.close()
        if self._graceful:
            self._drain()
        self._sessions.end_all(ShuttingDown("geomail stops"), _FAREWELLS)
        if self._feed is not None:
            self._feed.close(_LAST_NEWS)
        self._log.close()

    def _stop_now(self) -> None:
        self._graceful = False
        self._stop.set()

    def _stop_gracefully(self) -> None:
        self._graceful = True
        self._stop.set()

    def _admit_all(self) -> None:
        """Take in who is connected already: where nobody listens any more, they would be cut off."""
        for acceptor, listener in self._doors:
            self._admit_waiting(acceptor, listener, self._config.worker_connections)

    def _drain(self) -> None:
        """Wait for the sessions to end, ``worker_shutdown_timeout`` seconds at most where that is set."""
        limit = self._config.worker_shutdown_timeout
        deadline = math.inf if limit is None else time.monotonic() + limit
        while self._graceful and self._sessions and time.monotonic() < deadline:
            self._sessions.await_leaving(0.2)

    def _open_feed(self, console: Way, events: EventStream, generation: int) -> Feed:
        hello = {
            "pid": os.getpid(),
            "generation": generation,
            "started": time.time(),
            "protocols": {server.name: server.protocol for server in self._config.servers},
        }
        tally = Tally(events, self._config)
        meters = Meters(events, lambda: {"log": self._log.lost_lines}, lambda: self._incidents.counts)
        orders = {
            "list": self._sessions.listed,
            "kick": self._sessions.kicked,
            "trace": self._trace,
            "untrace": self._untrace,
        }

        def status(everything: bool) -> dict[str, Any]:
            return self._status(everything, tally, meters)

        return Feed(console, events, hello, status, orders, self._tracing.stop_all)

    def _trace(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._tracing.start(asked["trace"], asked["select"])
        gevent.spawn(self._sessions.trace_all)
        return {}

    def _untrace(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._tracing.stop(asked["trace"])
        return {}

    def _emit_trace(self, line: TraceLine) -> None:
        if self._feed is not None:
            self._feed.take(line)

    def _status(self, everything: bool, *counting: Tally | Meters) -> dict[str, Any]:
        """What the console should know now; empty if nothing has changed since it was told."""
        state = {"sessions": len(self._sessions), "draining": self._graceful}
        changed = [counters.report_changes(everything) for counters in counting]
        if state == self._told and not any(changed):
            return {}
        self._told = state
        return {**state, **{table: rows for tables in changed for table, rows in tables.items()}}

    def _accept(self, acceptor: Acceptor, listener: Listener) -> None:
        while True:
            while len(self._sessions) >= self._config.worker_connections:
                self._incidents.note("worker_connections", self._full)
                self._sessions.await_leaving()
            try:
                sock, address = acceptor.accept()
            except OSError as error:
                self._log.say("error", f"cannot accept on {listener.listen.label}: {error.strerror}")
                gevent.sleep(_OUT_OF_DESCRIPTORS)
                continue
            self._open_session(sock, address, acceptor.local, listener)
            self._admit_waiting(acceptor, listener, _AT_ONCE - 1)

    @property
    def _full(self) -> str:
        most = self._config.worker_connections
        return f"this worker serves {most} clients (worker_connections): the next ones wait until one leaves"

    def _admit_waiting(self, acceptor: Acceptor, listener: Listener, most: int) -> None:
        room = max(0, min(most, self._config.worker_connections - len(self._sessions)))
        for sock, address in islice(acceptor.accept_waiting(), room):
            self._open_session(sock, address, acceptor.local, listener)

    def _open_session(self, sock: RawSocket, address: Any, local: Any, listener: Listener) -> None:
        try:
            client = _client(sock, address, local or sock.getsockname())
        except OSError:
            sock.close()  # gone already
            return
        listener = listener.at(client.local_address)
        service = self._services[listener.server.name]
        number, session_id = self._sessions.new_id()
        wire = Wire(sock, "client", listener.side)
        self._sessions.start(number, Session(session_id, service, listener.listen, wire, client))


def _client(sock: RawSocket, address: Any, local: Any) -> Client:
    if sock.family == AF_UNIX:
        return Client("unix:", 0, f"unix:{local}", 0)
    return Client(address[0], address[1], local[0], local[1])
