"""A worker: one process that accepts clients, and runs a session for each of them."""

from __future__ import annotations

import math
import signal
import time
from _socket import AF_UNIX
from _socket import socket as RawSocket
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent import monkey
from gevent.event import Event

from geomail.errors import GeomailError, ShuttingDown
from geomail.events import EventStream
from geomail.net import memory
from geomail.net.client_contexts import ContextMaker
from geomail.net.crew import Crew
from geomail.net.listen import Acceptor
from geomail.net.tls_contexts import make_client_context
from geomail.net.wire import Wire
from geomail.parties import Client
from geomail.process.incidents import Incidents
from geomail.process.listeners import Listener
from geomail.process.reporter import Reporter
from geomail.session.registry import Sessions
from geomail.session.service import Surroundings, make_services
from geomail.session.session import Session

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.sinks.feed import ConsoleAddress
    from geomail.sinks.log import Log

#: Clients accepted per wake-up. Clients accepted together find code and data in the processor's caches, which
#: makes each a tenth cheaper; the limit gives the running sessions their turn soon.
_AT_ONCE: Final = 64
#: Seconds to wait when the process has no file descriptor left for another client.
_OUT_OF_DESCRIPTORS = 0.5
#: Seconds for the goodbyes to all clients when this process ends.
_FAREWELLS = 1.0


class Worker:
    """The sessions of one process, whose clients connect to ``listeners``.

    It reports to the ``console``, if there is one. ``contexts`` makes the TLS
    of connections to backends and auth services. Raises GeomailError if
    gevent has not patched the standard library: a blocking call would stop
    every session.
    """

    def __init__(
        self,
        config: Config,
        listeners: Sequence[Listener],
        log: Log,
        generation: int = 0,
        console: ConsoleAddress | None = None,
        contexts: ContextMaker = make_client_context,
    ) -> None:
        _prepare_process(log)
        self._config, self._log = config, log
        crew = Crew()
        self._sessions = Sessions(crew)
        self._incidents = Incidents(log.say)
        self._stop = Event()
        self._graceful = False
        events = EventStream()
        log.subscribe(events)
        self._reporter = Reporter(self._sessions, self._incidents, lambda: self._graceful, console)
        self._reporter.start(config, generation, events, log)
        self._services = make_services(config, self._surround(events, crew), contexts)
        self._doors = [(Acceptor(listener.sock), listener) for listener in listeners]
        self._accepting = [gevent.spawn(self._accept, *door) for door in self._doors]

    def _surround(self, events: EventStream, crew: Crew) -> Surroundings:
        return Surroundings(
            *(events, crew, self._sessions.parking, self._reporter.tracing),
            tell=self._log.say,
            note=self._incidents.note,
        )

    def run(self, serving: Callable[[], None]) -> None:
        """Serve until a signal: TERM and INT end at once, QUIT when the last session has ended.

        ``serving`` is called as soon as the worker accepts clients.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._stop_now)
        gevent.signal_handler(signal.SIGQUIT, self._stop_gracefully)
        gevent.signal_handler(signal.SIGHUP, lambda: None)
        gevent.signal_handler(signal.SIGUSR1, self._log.reopen)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the master blocks the signals that it waits for
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
        self._reporter.close()
        self._log.close()

    def _stop_now(self) -> None:
        self._graceful = False
        self._stop.set()

    def _stop_gracefully(self) -> None:
        self._graceful = True
        self._stop.set()

    def _admit_all(self) -> None:
        """Accept the clients that wait in the queues: closing the sockets would cut them off."""
        for acceptor, listener in self._doors:
            self._admit_waiting(acceptor, listener, self._config.worker_connections)

    def _drain(self) -> None:
        """Wait until all sessions have ended, at most ``worker_shutdown_timeout`` seconds if that is set."""
        limit = self._config.worker_shutdown_timeout
        deadline = math.inf if limit is None else time.monotonic() + limit
        while self._graceful and self._sessions and time.monotonic() < deadline:
            self._sessions.await_leaving(0.2)

    def _accept(self, acceptor: Acceptor, listener: Listener) -> None:
        while True:
            while len(self._sessions) >= self._config.worker_connections:
                self._incidents.note("worker_connections", self._full_message)
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
    def _full_message(self) -> str:
        most = self._config.worker_connections
        return f"this worker serves {most} clients (worker_connections): more clients wait until one leaves"

    def _admit_waiting(self, acceptor: Acceptor, listener: Listener, most: int) -> None:
        room = max(0, min(most, self._config.worker_connections - len(self._sessions)))
        for sock, address in islice(acceptor.accept_waiting(), room):
            self._open_session(sock, address, acceptor.local, listener)

    def _open_session(self, sock: RawSocket, address: Any, local: Any, listener: Listener) -> None:
        try:
            client = _make_client(sock, address, local or sock.getsockname())
        except OSError:
            sock.close()  # gone already
            return
        listener = listener.at(client.local_address)
        service = self._services[listener.server_index]
        number, session_id = self._sessions.make_id()
        wire = Wire(sock, "client", listener.side)
        self._sessions.start(number, Session(session_id, service, listener.listen, wire, client))


def _prepare_process(log: Log) -> None:
    """Prepare this process for serving mail. Raises GeomailError if gevent has not patched it."""
    if not monkey.is_module_patched("socket"):
        raise GeomailError("gevent's monkey patching must come first: use the geomail command")
    log.move_to_background()
    memory.wipe_freed_memory(False)  # it costs a busy relay too much
    memory.keep_freed_memory()


def _make_client(sock: RawSocket, address: Any, local: Any) -> Client:
    if sock.family == AF_UNIX:
        return Client("unix:", 0, f"unix:{local}", 0)
    return Client(address[0], address[1], local[0], local[1])
