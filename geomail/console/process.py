"""The console process: listens to the workers and the master, and serves operators."""

from __future__ import annotations

import signal
from _socket import socket as RawSocket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket
from gevent.event import Event as Signal

from geomail.console.acceptors import Acceptors, make_cooperative
from geomail.console.audience import Audience
from geomail.console.control import Client
from geomail.console.link import Link, shows_token
from geomail.console.master_line import MasterLine
from geomail.console.metrics import Metrics
from geomail.console.overview import Overview
from geomail.console.requests import STREAMS, Requests

if TYPE_CHECKING:
    from geomail.sinks.log import Log

#: Clients of the control socket that are served at a time.
MOST_CLIENTS = 64


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets that the master has made for the console: a line to the master, and listening sockets.

    A worker that connects to ``feed`` must send the ``token``, which only children of the master know.
    """

    master: RawSocket
    feed: RawSocket
    token: bytes = field(repr=False)
    control: RawSocket | None = None
    metrics: RawSocket | None = None


class Console:
    """The console of one master; ``state`` is the master's report when the process started."""

    def __init__(self, sockets: Sockets, state: dict[str, Any], log: Log) -> None:
        self.overview = Overview(state)
        self.audience = Audience(self.overview)
        self.master = MasterLine(
            make_cooperative(sockets.master), {"state": self._take_state, "listener": self._take_listener}
        )
        self._log = log
        self._token = sockets.token
        self._clients = 0
        self._requests = Requests(self.overview, self.audience, self.master)
        metrics = Metrics(self.overview, self.audience, log)
        self._acceptors = Acceptors(
            {
                "feed": self._serve_worker,
                "control": self._serve_client,
                "metrics": metrics.make_pages().serve,
            },
            log,
        )
        self._acceptors.replace("control", sockets.control)
        self._acceptors.replace("metrics", sockets.metrics)
        self._acceptors.replace("feed", sockets.feed)

    def run(self) -> None:
        """Serve until TERM, or until the master has gone."""
        self._log.move_to_background()
        ended = Signal()
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(
                number, signal.SIG_IGN
            )  # a terminal sends them to all processes, but only the master acts
        gevent.signal_handler(signal.SIGTERM, ended.set)
        gevent.signal_handler(signal.SIGUSR1, self._log.reopen)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the master blocks the signals that it waits for
        gevent.spawn(self._keep_time)
        gevent.spawn(self.master.read).link(lambda _: ended.set())
        ended.wait()
        self._log.close()

    def _keep_time(self) -> None:
        while True:
            self.overview.sample()
            self.audience.tell_losses()
            gevent.sleep(1.0)

    # -- reports of the master --------------------------------------------------------------------

    def _take_state(self, report: dict[str, Any], _descriptors: list[int]) -> None:
        old, new = self.overview.state, report["state"]
        self.audience.announce_changes(old, new)
        self.overview.note_state(new)

    def _take_listener(self, report: dict[str, Any], descriptors: list[int]) -> None:
        sock = RawSocket(fileno=descriptors[0]) if descriptors else None
        if sock is not None:
            sock.setblocking(False)
        self._acceptors.replace(report["name"], sock)

    # -- connections ------------------------------------------------------------------------------

    def _serve_worker(self, sock: socket.socket) -> None:
        if not shows_token(sock, self._token):
            sock.close()
            return
        link = Link(sock, self.audience.show, self._welcome)
        try:
            link.read()
        finally:
            self.overview.remove(link)

    def _welcome(self, link: Link) -> None:
        self.overview.add(link)
        gevent.spawn(self._brief, link)

    def _brief(self, link: Link) -> None:
        self.audience.brief(link)
        self.overview.note_briefed(link)

    def _serve_client(self, sock: socket.socket) -> None:
        client = Client(sock, self._requests.handlers, STREAMS)
        if self._clients >= MOST_CLIENTS:
            client.refuse(f"{MOST_CLIENTS} clients are connected: end one, or try again later")
            return
        self._clients += 1
        try:
            client.serve()
        finally:
            self._clients -= 1
