"""The console process: hears the workers, and serves those who ask about them."""

from __future__ import annotations

import os
import signal
import struct
import time
from _socket import socket as RawSocket
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket
from gevent.event import AsyncResult
from gevent.event import Event as Signal

from geomail.console.control import Client, RequestError
from geomail.console.link import PATIENCE, Link, WorkerGone
from geomail.console.metrics import Metrics
from geomail.console.outbox import Outbox
from geomail.console.requests import STREAMS, Requests
from geomail.console.totals import Counters, Table, Totals
from geomail.console.traces import TraceViewer
from geomail.console.viewer import News, Viewer
from geomail.control.jsonlines import decode, encode
from geomail.net.listen import Acceptor

if TYPE_CHECKING:
    from geomail.sinks.log import Log

#: Clients of the control socket that are served at a time.
MOST_CLIENTS = 64
#: Longest message of the master, in bytes.
LONGEST_MESSAGE = 192 * 1024
#: Seconds that the master has to say what came of a reload.
_MASTER_PATIENCE = 60.0
#: Seconds that workers have to begin with what a new viewer wants to see.
_WATCH_PATIENCE = 1.0
_CREDENTIALS = struct.Struct("3i")
#: How the two counters of a table are called whose difference is the sessions that there are.
_SPANS = {"servers": ("opened", "closed"), "backends": ("logins", "ended")}


@dataclass(frozen=True, slots=True)
class Sockets:
    """The parts that the master has made for the console: a line to itself, and listeners.

    A worker that comes to ``feed`` shows the ``token``, which only children of the master know.
    """

    master: RawSocket
    feed: RawSocket
    token: bytes = field(repr=False)
    control: RawSocket | None = None
    metrics: RawSocket | None = None


class Console:
    """The console of one master, whose ``state`` was this when the process began.

    ``protocols`` are those of the servers, by name; ``deaths`` counts workers that died.
    """

    def __init__(self, sockets: Sockets, state: dict[str, Any], log: Log) -> None:
        self.state = state
        self.links: list[Link] = []
        self.totals = Totals()
        self.viewers: list[Viewer] = []
        self._log = log
        self._master = _cooperative(sockets.master)
        self._reloads: dict[int, AsyncResult[dict[str, Any]]] = {}
        self._last_reload = 0
        self._changed = Signal()
        self._clients = 0
        self._lost_before = 0
        self._last_trace = 0
        self.protocols: dict[str, str] = {}
        self.deaths = 0
        self._requests = Requests(self)
        self._token = sockets.token
        self._serving = {"control": self._serve_client, "metrics": Metrics(self).pages().serve}
        self._accepting: dict[str, gevent.Greenlet[..., None]] = {}
        for what, sock in (("control", sockets.control), ("metrics", sockets.metrics)):
            if sock is not None:
                self._accepting[what] = self._listen(sock, self._serving[what])
        self._listen(sockets.feed, self._serve_worker)

    def run(self) -> None:
        """Serve until TERM, or until the master has gone."""
        self._log.move_to_background()
        ended = Signal()
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all, but the master decides
        gevent.signal_handler(signal.SIGTERM, ended.set)
        gevent.signal_handler(signal.SIGUSR1, self._log.reopen)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the master blocks what it waits for
        gevent.spawn(self._keep_time)
        gevent.spawn(self._hear_master).link(lambda _: ended.set())
        ended.wait()
        self._log.close()

    # -- what requests need -----------------------------------------------------------------------

    def sums(self) -> Counters:
        """The counters of all workers that are and were, by server and by backend."""
        return self.totals.sums(self._living())

    def with_active(self, sums: Counters, table: str) -> Table:
        """The rows of a table with ``active`` in each: the sessions there are, in workers that live."""
        begun, ended = _SPANS[table]
        rows = {name: {**row, "active": 0} for name, row in sums[table].items()}
        for counters in self._living():
            for name, row in counters[table].items():
                rows[name]["active"] += row[begun] - row[ended]
        return rows

    def refresh(self, seconds: float) -> list[Link]:
        """Have all workers tell what they count; returns those that do not answer."""
        asking = {link: gevent.spawn(_refresh, link, seconds) for link in self.links}
        gevent.joinall(list(asking.values()))
        return [link for link, asked in asking.items() if not asked.value]

    def watch(self, viewer: Viewer) -> None:
        """Show the viewer what happens, from now on in every worker that answers."""
        self.viewers.append(viewer)
        gevent.joinall([gevent.spawn(self._direct, link) for link in self.links], _WATCH_PATIENCE)

    def unwatch(self, viewer: Viewer) -> None:
        """Show the viewer nothing more."""
        self.viewers.remove(viewer)
        self._lost_before += viewer.lost_ever
        for link in self.links:
            gevent.spawn(self._direct, link)

    @property
    def traces(self) -> list[TraceViewer]:
        """The traces that run."""
        return [viewer for viewer in self.viewers if isinstance(viewer, TraceViewer)]

    def trace(self, outbox: Outbox, request: object, select: Any, lines: int, size: int) -> TraceViewer:
        """Begin a trace, in every worker that answers and in those to come."""
        self._last_trace += 1
        viewer = TraceViewer(outbox, request, self._last_trace, select, lines, size)
        self.viewers.append(viewer)
        asking = [gevent.spawn(self._start_trace, link, viewer) for link in self.links]
        gevent.joinall(asking, _WATCH_PATIENCE)
        return viewer

    def untrace(self, viewer: TraceViewer) -> None:
        """End a trace."""
        self.viewers.remove(viewer)
        self._lost_before += viewer.lost_ever
        for link in self.links:
            gevent.spawn(_order, link, "untrace", trace=viewer.number)

    def _start_trace(self, link: Link, viewer: TraceViewer) -> None:
        _order(link, "trace", trace=viewer.number, select=viewer.select)
        if viewer not in self.viewers:  # which has ended meanwhile
            _order(link, "untrace", trace=viewer.number)

    @property
    def events_lost(self) -> int:
        """Events that viewers wanted and did not get."""
        return self._lost_before + sum(viewer.lost_ever for viewer in self.viewers)

    @property
    def log_lines_lost(self) -> int:
        """Lines of this process's own that the log did not take."""
        return self._log.lost_lines

    def ask_for_reload(self) -> dict[str, Any]:
        """Have the master read the configuration again, and return what it says. Raises RequestError."""
        self._last_reload += 1
        number = self._last_reload
        said = self._reloads[number] = AsyncResult()
        try:
            self._master.send(encode({"reload": number}))
            said.wait(_MASTER_PATIENCE)
            if not said.ready():
                raise RequestError("busy", f"the master did not answer within {_MASTER_PATIENCE:g} s")
            told = said.get(block=False)
            assert told is not None
            return told
        finally:
            del self._reloads[number]

    def await_workers(self, seconds: float) -> bool:
        """Wait until all workers of the configuration in force are there, and briefed; whether they are."""
        deadline = time.monotonic() + seconds
        while self._present() < self.state["expected"]:
            self._changed.clear()
            if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                return False
        return True

    # -- workers ----------------------------------------------------------------------------------

    def _present(self) -> int:
        return sum(link.is_briefed and link.generation == self.state["generation"] for link in self.links)

    def _living(self) -> list[Counters]:
        return [link.counters for link in self.links]

    def _serve_worker(self, sock: socket.socket) -> None:
        if not self._is_shown(sock):
            sock.close()
            return
        link = Link(sock, self._tell, self._welcome)
        try:
            link.read()
        finally:
            if link in self.links:
                self.links.remove(link)
                self.totals.retire(link.key, link.counters)
                self._changed.set()

    def _is_shown(self, sock: socket.socket) -> bool:
        """Tell whether the other end begins with the token, as children of the same master alone can."""
        _, uid, _ = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        shown = b""
        if uid != os.geteuid():
            return False
        sock.settimeout(PATIENCE)
        while len(shown) < len(self._token) and (more := _received(sock, len(self._token) - len(shown))):
            shown += more
        sock.settimeout(None)
        return compare_digest(shown, self._token)

    def _welcome(self, link: Link) -> None:
        self.links.append(link)
        self.protocols.update(link.hello["protocols"])
        self.totals.welcome(link.key, link.counters)
        self._changed.set()
        gevent.spawn(self._brief, link)

    def _brief(self, link: Link) -> None:
        """Tell a worker that has come what is being watched and traced."""
        self._direct(link)
        gevent.joinall([gevent.spawn(self._start_trace, link, viewer) for viewer in self.traces])
        link.is_briefed = True
        self._changed.set()

    def _direct(self, link: Link) -> None:
        """Tell the worker which events somebody wants to see."""
        kinds = {kind for viewer in self.viewers for kind in viewer.kinds}
        _order(link, "watch", kinds=sorted(kinds))

    def _tell(self, lines: list[bytes]) -> None:
        events = [line for line in lines if line.startswith(b'{"event"')]
        lost = sum(decode(line)["lost"] for line in lines if not line.startswith(b'{"event"'))
        news = News(events)
        for viewer in self.viewers:
            viewer.lose(lost)
            viewer.show(news)

    # -- clients ----------------------------------------------------------------------------------

    def _serve_client(self, sock: socket.socket) -> None:
        client = Client(sock, self._requests.handlers, STREAMS)
        if self._clients >= MOST_CLIENTS:
            client.refuse(f"{MOST_CLIENTS} clients are being served already")
            return
        self._clients += 1
        try:
            client.serve()
        finally:
            self._clients -= 1

    def _listen(self, sock: RawSocket, serve: Callable[[socket.socket], None]) -> gevent.Greenlet[..., None]:
        return gevent.spawn(self._accept, Acceptor(sock), serve)

    def _accept(self, acceptor: Acceptor, serve: Callable[[socket.socket], None]) -> None:
        try:
            while True:
                try:
                    sock, _ = acceptor.accept()
                except OSError as error:
                    self._log.say("error", f"console cannot accept: {error.strerror}")
                    gevent.sleep(1.0)
                else:
                    gevent.spawn(serve, _cooperative(sock))
        finally:
            acceptor.close()

    # -- the master, and time ---------------------------------------------------------------------

    def _hear_master(self) -> None:
        """Until the master's end is closed: it tells of itself, and hands over new listeners."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._master, LONGEST_MESSAGE, 1)
            if not data:
                return
            self._heed(decode(data), descriptors)

    def _heed(self, word: dict[str, Any], descriptors: list[int]) -> None:
        if (what := word.get("listen")) is not None:
            if (before := self._accepting.pop(what, None)) is not None:
                before.kill()
            for descriptor in descriptors:
                sock = RawSocket(fileno=descriptor)
                sock.setblocking(False)
                self._accepting[what] = self._listen(sock, self._serving[what])
        if "state" in word:
            self._compare(self.state, word["state"])
            self.state = word["state"]
            self._changed.set()
        if (said := self._reloads.get(word.get("reload", 0))) is not None:
            said.set(word)

    def _compare(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Tell the viewers what the master did."""
        if new["generation"] != old["generation"]:
            self._announce("server.reloaded", generation=new["generation"])
        if new["refused"] is not None and new["refused"] != old["refused"]:
            self._announce("server.reload_refused", reason=new["refused"]["error"])
        for pid in set(new["died"]) - set(old["died"]):
            self.deaths += 1
            self._announce("server.worker_died", worker=pid)
        if new["ending"] and not old["ending"]:
            self._announce("server.ending")

    def _announce(self, event: str, **fields: Any) -> None:
        line = encode({"event": event, "time": time.time(), **fields})[:-1]
        for viewer in self.viewers:
            viewer.announce(line)

    def _keep_time(self) -> None:
        while True:
            self.totals.sample(self._living())
            for viewer in self.viewers:
                viewer.tell_losses()
            gevent.sleep(1.0)


def _order(link: Link, do: str, **parameters: Any) -> None:
    try:
        link.ask(do, **parameters)
    except WorkerGone:
        pass  # whoever comes in its place is told at hello


def _refresh(link: Link, seconds: float) -> bool:
    try:
        link.refresh(seconds)
    except WorkerGone:
        return False
    return True


def _received(sock: socket.socket, most: int) -> bytes:
    try:
        return sock.recv(most)
    except OSError:
        return b""


def _cooperative(sock: RawSocket) -> socket.socket:
    """The same socket, whose waiting lets others run."""
    return socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
