"""The viewers of events and traces, and what workers must send for them."""

from __future__ import annotations

import time
from typing import Any

import gevent

from geomail.console.link import Link, WorkerGone
from geomail.console.outbox import Outbox
from geomail.console.overview import Overview
from geomail.console.traces import TraceViewer
from geomail.console.viewer import News, Viewer
from geomail.control.jsonlines import decode, encode

#: Seconds that a new viewer waits for the workers to begin sending what it asks for.
_START_PATIENCE = 1.0
_EVENT = b'{"event"'


class Audience:
    """All viewers and traces of the console.

    It tells every worker in ``overview`` which events and traces to send, and
    passes what the workers send on to the viewers.
    """

    def __init__(self, overview: Overview) -> None:
        self.viewers: list[Viewer] = []
        self._overview = overview
        self._last_trace = 0
        self._lost_before = 0

    @property
    def traces(self) -> list[TraceViewer]:
        """The viewers that are traces."""
        return [viewer for viewer in self.viewers if isinstance(viewer, TraceViewer)]

    @property
    def events_lost(self) -> int:
        """The number of events that viewers asked for and did not get."""
        return self._lost_before + sum(viewer.lost_ever for viewer in self.viewers)

    # -- viewers come and leave -------------------------------------------------------------------

    def add(self, viewer: Viewer) -> None:
        """Show events to a viewer from now on, from every worker that answers."""
        self.viewers.append(viewer)
        self._start([gevent.spawn(self._send_kinds, link) for link in self._overview.links])

    def remove(self, viewer: Viewer) -> None:
        """Show a viewer nothing more."""
        self._drop(viewer)
        for link in self._overview.links:
            gevent.spawn(self._send_kinds, link)

    def add_trace(self, outbox: Outbox, request: object, select: Any, lines: int, size: int) -> TraceViewer:
        """Start a trace in every worker that answers, and in workers that connect later."""
        self._last_trace += 1
        viewer = TraceViewer(outbox, request, self._last_trace, select, lines, size)
        self.viewers.append(viewer)
        self._start([gevent.spawn(self._start_trace, link, viewer) for link in self._overview.links])
        return viewer

    def remove_trace(self, viewer: TraceViewer) -> None:
        """End a trace."""
        self._drop(viewer)
        for link in self._overview.links:
            gevent.spawn(_order, link, "untrace", trace=viewer.number)

    def _start(self, asking: list[gevent.Greenlet[..., None]]) -> None:
        gevent.joinall(asking, _START_PATIENCE)

    def _drop(self, viewer: Viewer) -> None:
        self.viewers.remove(viewer)
        self._lost_before += viewer.lost_ever

    # -- orders to workers ------------------------------------------------------------------------

    def brief(self, link: Link) -> None:
        """Tell a worker that has just connected which events and traces to send; wait for its answers."""
        self._send_kinds(link)
        gevent.joinall([gevent.spawn(self._start_trace, link, viewer) for viewer in self.traces])

    def _send_kinds(self, link: Link) -> None:
        kinds = {kind for viewer in self.viewers for kind in viewer.kinds}
        _order(link, "watch", kinds=sorted(kinds))

    def _start_trace(self, link: Link, viewer: TraceViewer) -> None:
        _order(link, "trace", trace=viewer.number, select=viewer.select)
        if viewer not in self.viewers:  # it has ended meanwhile
            _order(link, "untrace", trace=viewer.number)

    # -- lines for viewers ------------------------------------------------------------------------

    def show(self, lines: list[bytes]) -> None:
        """Pass on the lines of a worker: events, and the numbers of events that it dropped."""
        events = [line for line in lines if line.startswith(_EVENT)]
        lost = sum(decode(line)["lost"] for line in lines if not line.startswith(_EVENT))
        news = News(events)
        for viewer in self.viewers:
            viewer.lose(lost)
            viewer.show(news)

    def announce_changes(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Show all viewers how the state of the master has changed."""
        if new["generation"] != old["generation"]:
            self._announce("server.reloaded", generation=new["generation"])
        if new["refused"] is not None and new["refused"] != old["refused"]:
            self._announce("server.reload_refused", reason=new["refused"]["error"])
        for pid in set(new["died"]) - set(old["died"]):
            self._announce("server.worker_died", worker=pid)
        if new["ending"] and not old["ending"]:
            self._announce("server.ending")

    def tell_losses(self) -> None:
        """Tell each viewer how many events it has lost since the last call."""
        for viewer in self.viewers:
            viewer.tell_losses()

    def _announce(self, event: str, **fields: Any) -> None:
        line = encode({"event": event, "time": time.time(), **fields})[:-1]
        for viewer in self.viewers:
            viewer.announce(line)


def _order(link: Link, name: str, **parameters: Any) -> None:
    try:
        link.order(name, **parameters)
    except WorkerGone:
        pass  # the worker that replaces it is briefed when it connects
