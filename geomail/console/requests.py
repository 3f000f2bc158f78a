"""The requests that clients of the control socket may send; geomail-control(7) describes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gevent.event import Event as Signal

from geomail import __version__
from geomail.console.audience import Audience
from geomail.console.control import Client, Handler, RequestError
from geomail.console.link import Link, WorkerGone
from geomail.console.master_line import MasterLine, MasterSilent, OrderRefused
from geomail.console.overview import Overview
from geomail.console.totals import add_rows
from geomail.console.viewer import Viewer
from geomail.control.selection import BadSelection, Selection, parse_selection
from geomail.events import KINDS

#: Seconds that a worker has to send its counters.
_STATUS_PATIENCE = 2.0
#: Seconds that the workers of a new configuration have to start.
_START_PATIENCE = 30.0
#: The requests that go on until the client leaves.
STREAMS = frozenset({"tail", "trace"})
#: The limits of a trace, each with its default and its maximum.
TRACE_CAPS = {"seconds": (60, 3600), "lines": (10_000, 1_000_000), "bytes": (10_000_000, 1_000_000_000)}
#: Traces that run at a time.
MOST_TRACES = 8

Answers = Iterator[dict[str, Any]]


class Requests:
    """The handlers of requests, by the name that a request gives as ``do``."""

    def __init__(self, overview: Overview, audience: Audience, master: MasterLine) -> None:
        self._overview = overview
        self._audience = audience
        self._master = master
        self.handlers: dict[str, Handler] = {
            "status": self.status,
            "who": self.who,
            "kick": self.kick,
            "tail": self.tail,
            "reload": self.reload,
            "trace": self.trace,
        }

    def status(self, _client: Client, _request: dict[str, Any]) -> Answers:
        """Report the state of the server."""
        overview = self._overview
        silent = overview.refresh(_STATUS_PATIENCE)
        sums, state = overview.add_up(), overview.state
        yield {
            "done": {
                "version": __version__,
                "now": time.time(),
                **{key: state[key] for key in ("pid", "started", "ending")},
                "configuration": _describe_configuration(state),
                "sessions": sum(link.sessions for link in overview.links),
                "totals": add_rows(sums["servers"]),
                "rates": overview.compute_rates(),
                "workers": [_describe_worker(link, link not in silent) for link in overview.links],
                "servers": overview.add_active(sums, "servers"),
                "backends": overview.add_active(sums, "backends"),
                "viewers": len(self._audience.viewers),
            }
        }

    def who(self, _client: Client, request: dict[str, Any]) -> Answers:
        """List the live sessions that the request selects, in pages."""
        yield from self._list_sessions("list", request)

    def kick(self, _client: Client, request: dict[str, Any]) -> Answers:
        """End the sessions that the request selects, and list them; ``{}`` selects all of them."""
        if "select" not in request:
            raise RequestError("bad-request", "select: is missing; {} selects all sessions")
        yield from self._list_sessions("kick", request)

    def tail(self, client: Client, request: dict[str, Any]) -> Answers:
        """Send events as they happen, until the client leaves."""
        kinds = request.get("events", list(KINDS))
        if not isinstance(kinds, list) or not kinds or not all(kind in KINDS for kind in map(str, kinds)):
            raise RequestError("bad-request", f"events: must be an array of {', '.join(KINDS)}")
        viewer = Viewer(client.outbox, request["id"], kinds, _read_selection(request))
        self._audience.add(viewer)
        try:
            yield {"watching": kinds}
            viewer.begin()
            Signal().wait()
        finally:
            self._audience.remove(viewer)

    def trace(self, client: Client, request: dict[str, Any]) -> Answers:
        """Send the dialogues of the selected sessions, line by line, until a limit is reached."""
        if not _read_selection(request) or not {"user", "client"} & request["select"].keys():
            raise RequestError("bad-request", "select: a trace needs user or client")
        caps = {name: _read_cap(request, name) for name in TRACE_CAPS}
        if len(self._audience.traces) >= MOST_TRACES:
            raise RequestError("busy", f"{MOST_TRACES} traces are running: wait until one ends")
        viewer = self._audience.add_trace(
            client.outbox, request["id"], request["select"], int(caps["lines"]), int(caps["bytes"])
        )
        try:
            yield {"tracing": caps}
            viewer.begin()
            viewer.ended.wait(caps["seconds"])
            reached = viewer.ended.get(block=False) if viewer.ended.ready() else "seconds"
            viewer.tell_losses()
            yield {"done": {"reached": reached, "lines": viewer.lines, "lost": viewer.lost_ever}}
        finally:
            self._audience.remove_trace(viewer)

    def reload(self, _client: Client, _request: dict[str, Any]) -> Answers:
        """Put the configuration file in force; answer when that is done or refused."""
        began = time.monotonic()
        self._order_reload()
        overview = self._overview
        if not overview.await_workers(_START_PATIENCE):
            text = f"the new workers did not start within {_START_PATIENCE:g} s; read the log for the reason"
            raise RequestError("not-started", text)
        links, is_new = tuple(overview.links), overview.serves_configuration_in_force
        yield {
            "done": {
                "generation": overview.state["generation"],
                "workers": [link.pid for link in links if is_new(link)],
                "draining": [link.pid for link in links if not is_new(link)],
                "seconds": time.monotonic() - began,
            }
        }

    def _order_reload(self) -> None:
        try:
            self._master.order("reload")
        except OrderRefused as error:
            raise RequestError("refused", str(error)) from None
        except MasterSilent as error:
            raise RequestError("busy", str(error)) from None

    def _list_sessions(self, order: str, request: dict[str, Any]) -> Answers:
        _read_selection(request)  # an error in it is reported before any worker gets the order
        select, found, silent = request.get("select", {}), 0, []
        for link in tuple(self._overview.links):
            try:
                for sessions in _ask_for_pages(link, order, select):
                    found += len(sessions)
                    yield {"sessions": [{**session, "worker": link.pid} for session in sessions]}
            except WorkerGone:
                silent.append(link.pid)
        yield {"done": {"sessions": found, "silent": silent}}


def _ask_for_pages(link: Link, order: str, select: Any) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while after is not None:
        answer = link.order(order, select=select, after=after)
        if "error" in answer:
            raise WorkerGone(answer["error"])
        after = answer["after"]
        if answer["sessions"]:
            yield answer["sessions"]


def _read_cap(request: dict[str, Any], name: str) -> float:
    default, most = TRACE_CAPS[name]
    given = request.get(name, default)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= most:
        raise RequestError("bad-request", f"{name}: must be a number above 0, at most {most}")
    return given


def _read_selection(request: dict[str, Any]) -> Selection:
    try:
        return parse_selection(request.get("select", {}))
    except BadSelection as error:
        raise RequestError("bad-selection", str(error)) from None


def _describe_configuration(state: dict[str, Any]) -> dict[str, Any]:
    """Describe the configuration in force.

    ``changed`` says whether the file is newer; None: the file cannot be looked at.
    """
    known = {key: state[key] for key in ("file", "generation", "loaded", "refused")}
    try:
        changed = Path(state["file"]).stat().st_mtime > state["loaded"]
    except OSError:
        return {**known, "changed": None}
    return {**known, "changed": changed}


def _describe_worker(link: Link, answers: bool) -> dict[str, Any]:
    counters = add_rows(link.counters["servers"])
    return {
        **{key: link.hello[key] for key in ("pid", "generation", "started")},
        "draining": link.draining,
        "answers": answers,
        "sessions": link.sessions,
        **{key: counters[key] for key in ("logins", "refused", "bytes_in", "bytes_out")},
    }
