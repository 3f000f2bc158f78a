"""What a client of the control socket may ask for; geomail-control(7) describes it for its authors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gevent.event import Event as Signal

from geomail import __version__
from geomail.console.control import Client, Handler, RequestError
from geomail.console.link import Link, WorkerGone
from geomail.console.totals import overall
from geomail.console.viewer import Viewer
from geomail.control.selection import BadSelection, Selection, selection_from
from geomail.events import KINDS

if TYPE_CHECKING:
    from geomail.console.process import Console

#: Seconds that a worker has to tell how it is.
_STATUS_PATIENCE = 2.0
#: Seconds that the workers of a new configuration have to start.
_START_PATIENCE = 30.0
#: The requests that go on until the client leaves.
STREAMS = frozenset({"tail", "trace"})
#: Bounds of a trace, and what they are where nothing is said: seconds, lines, bytes.
TRACE_CAPS = {"seconds": (60, 3600), "lines": (10_000, 1_000_000), "bytes": (10_000_000, 1_000_000_000)}
#: Traces that run at a time.
MOST_TRACES = 8

Answers = Iterator[dict[str, Any]]


class Requests:
    """The handlers, by the word that a request has as ``do``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.handlers: dict[str, Handler] = {
            "status": self.status,
            "who": self.who,
            "kick": self.kick,
            "tail": self.tail,
            "reload": self.reload,
            "trace": self.trace,
        }

    def status(self, _client: Client, _request: dict[str, Any]) -> Answers:
        """How the server is."""
        console = self._console
        silent = console.refresh(_STATUS_PATIENCE)
        sums = console.sums()
        yield {
            "done": {
                "version": __version__,
                "now": time.time(),
                **{key: console.state[key] for key in ("pid", "started", "ending")},
                "configuration": _configuration(console.state),
                "sessions": sum(link.sessions for link in console.links),
                "totals": overall(sums["servers"]),
                "rates": console.totals.rates(),
                "workers": [_worker(link, link not in silent) for link in console.links],
                "servers": console.with_active(sums, "servers"),
                "backends": console.with_active(sums, "backends"),
                "viewers": len(console.viewers),
            }
        }

    def who(self, _client: Client, request: dict[str, Any]) -> Answers:
        """The live sessions that are selected, in pages."""
        yield from self._pages("list", request)

    def kick(self, _client: Client, request: dict[str, Any]) -> Answers:
        """End the sessions that are selected, and list them; all of them are ``{}``."""
        if "select" not in request:
            raise RequestError("bad-request", "kick needs a selection")
        yield from self._pages("kick", request)

    def tail(self, client: Client, request: dict[str, Any]) -> Answers:
        """Events as they happen, until the client leaves."""
        kinds = request.get("events", list(KINDS))
        if not isinstance(kinds, list) or not kinds or not all(kind in KINDS for kind in map(str, kinds)):
            raise RequestError("bad-request", f"events: an array is wanted, of {', '.join(KINDS)}")
        viewer = Viewer(client.outbox, request["id"], kinds, _selection(request))
        self._console.watch(viewer)
        try:
            yield {"watching": kinds}
            viewer.begin()
            Signal().wait()
        finally:
            self._console.unwatch(viewer)

    def trace(self, client: Client, request: dict[str, Any]) -> Answers:
        """The dialogues of the sessions that are selected, line by line, until a cap is reached."""
        if not _selection(request) or not {"user", "client"} & request["select"].keys():
            raise RequestError("bad-request", "a trace needs a selection by user or client")
        caps = {name: _cap(request, name) for name in TRACE_CAPS}
        console = self._console
        if len(console.traces) >= MOST_TRACES:
            raise RequestError("busy", f"{MOST_TRACES} traces are running")
        viewer = console.trace(
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
            console.untrace(viewer)

    def reload(self, _client: Client, _request: dict[str, Any]) -> Answers:
        """Put the configuration file in force; answers when that is done or refused."""
        began = time.monotonic()
        outcome = self._console.ask_for_reload()
        if outcome["error"] is not None:
            raise RequestError("refused", outcome["error"])
        if not self._console.await_workers(_START_PATIENCE):
            text = f"the new workers did not start within {_START_PATIENCE:g} s; the log may tell why"
            raise RequestError("not-started", text)
        generation, links = self._console.state["generation"], self._console.links
        yield {
            "done": {
                "generation": generation,
                "workers": [link.pid for link in links if link.generation == generation],
                "draining": [link.pid for link in links if link.generation != generation],
                "seconds": time.monotonic() - began,
            }
        }

    def _pages(self, do: str, request: dict[str, Any]) -> Answers:
        _selection(request)  # what is wrong with it is said before any worker is asked
        select, found, silent = request.get("select", {}), 0, []
        for link in tuple(self._console.links):
            try:
                for sessions in _pages_of(link, do, select):
                    found += len(sessions)
                    yield {"sessions": [{**session, "worker": link.pid} for session in sessions]}
            except WorkerGone:
                silent.append(link.pid)
        yield {"done": {"sessions": found, "silent": silent}}


def _pages_of(link: Link, do: str, select: Any) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while after is not None:
        answer = link.ask(do, select=select, after=after)
        if "error" in answer:
            raise WorkerGone(answer["error"])
        after = answer["after"]
        if answer["sessions"]:
            yield answer["sessions"]


def _cap(request: dict[str, Any], name: str) -> float:
    usual, most = TRACE_CAPS[name]
    given = request.get(name, usual)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= most:
        raise RequestError("bad-request", f"{name}: a number is wanted, up to {most}")
    return given


def _selection(request: dict[str, Any]) -> Selection:
    try:
        return selection_from(request.get("select", {}))
    except BadSelection as error:
        raise RequestError("bad-selection", str(error)) from None


def _configuration(state: dict[str, Any]) -> dict[str, Any]:
    """What is in force; ``changed`` is whether the file is newer, None where that cannot be seen."""
    known = {key: state[key] for key in ("file", "generation", "loaded", "refused")}
    try:
        changed = Path(state["file"]).stat().st_mtime > state["loaded"]
    except OSError:
        return {**known, "changed": None}
    return {**known, "changed": changed}


def _worker(link: Link, answers: bool) -> dict[str, Any]:
    counters = overall(link.counters["servers"])
    return {
        **{key: link.hello[key] for key in ("pid", "generation", "started")},
        "draining": link.draining,
        "answers": answers,
        "sessions": link.sessions,
        **{key: counters[key] for key in ("logins", "refused", "bytes_in", "bytes_out")},
    }
