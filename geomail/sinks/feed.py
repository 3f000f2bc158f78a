"""A worker's connection to the console: events for viewers, counters, and answers to orders.

No session waits for it. When the console reads too slowly, events are dropped
and counted; when the console has gone, the worker connects to the next one.
Without viewers the worker sends its counters only, at most once a second.

Both ends send lines of JSON. The console sends orders, and the worker answers
each by its ``id``; an answer with ``error`` says why there is no result:

    {"order": "kick", "id": 7, "select": {…}, "after": 0}
    {"answer": 7, "sessions": […], "after": null}

The worker also sends ``{"hello": {…}}``, once and first,
``{"status": {…}}``, the fields and rows that have changed, ``{"event": …}``,
and ``{"lost": N}``, a number of dropped events.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import gevent
from gevent import socket
from gevent.event import Event as Signal

from geomail.control.jsonlines import BadLine, Lines, decode, encode
from geomail.errors import GeomailError
from geomail.events import KINDS, Event, EventStream, TraceLine, to_dict

#: Events that wait for the console; further ones are dropped.
MOST_WAITING = 4096
#: Bytes of waiting lines: of one trace, and of all traces.
TRACE_BYTES, TRACES_BYTES = 1024 * 1024, 4 * 1024 * 1024
#: Events that are encoded together.
_BATCH = 128
#: Seconds to wait for more events, so that one write sends many.
_GATHER = 0.02
#: Longest order from the console, in bytes.
LONGEST_ORDER = 128 * 1024
#: Seconds between two reports of the counters.
_STATUS_EVERY = 1.0
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 2.0

#: Bytes of the token by which a worker proves to the console that they have the same master.
TOKEN: Final = 32

#: A function that carries out an order; it returns the fields of the answer.
Handler = Callable[[dict[str, Any]], dict[str, Any]]


class ConsoleAddress(NamedTuple):
    """The address where the console listens for workers, and the token that it must receive first."""

    address: bytes
    token: bytes


class Feed:
    """A connection to the console that listens at an address: to the next one, too, until :meth:`close`.

    ``hello`` describes this worker. ``status`` returns what has changed since
    its last call, or everything. ``orders`` holds a handler for each order;
    handlers must not wait. ``left`` is called when the console has gone.
    """

    def __init__(
        self,
        console: ConsoleAddress,
        events: EventStream,
        hello: Mapping[str, Any],
        status: Callable[[bool], dict[str, Any]],
        orders: Mapping[str, Handler],
        left: Callable[[], None],
    ) -> None:
        self._console = console
        self._events = events
        self._hello = hello
        self._status = status
        self._orders = {"watch": self._watch, "status": self._report, **orders}
        self._left = left
        self._waiting: deque[Event] = deque()
        self._traced: Counter[int] = Counter()
        self._lost = 0
        self._answers: list[bytes] = []
        self._wake = Signal()
        self._kinds: tuple[type[Event], ...] = ()
        self._sending = False
        self._watch({"kinds": list(KINDS)})  # until the console gives an order: it may have viewers
        self._serving = gevent.spawn(self._serve)

    def close(self, seconds: float) -> None:
        """Send the waiting events, for ``seconds`` at most, and disconnect."""
        deadline = time.monotonic() + seconds
        while (self._waiting or self._sending) and time.monotonic() < deadline:
            gevent.sleep(0.01)
        self._serving.kill()

    # -- the connection ---------------------------------------------------------------------------

    def _serve(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(self._console.address)
                    sock.sendall(self._console.token)
                    delay = _FIRST_DELAY
                    self._talk(sock)
            except (OSError, BadLine):
                pass  # the console has gone; the next one gets everything at the start
            finally:
                self._watch({"kinds": []})
                self._waiting.clear()
                self._traced.clear()
                self._lost = 0
                self._left()
            gevent.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    def _talk(self, sock: socket.socket) -> None:
        self._answers = [encode({"hello": self._hello}), encode({"status": self._status(True)})]
        writing = gevent.spawn(self._write, sock)
        try:
            lines = Lines(LONGEST_ORDER)
            while data := sock.recv(65536):
                for line in lines.feed(data):
                    self._carry_out(decode(line))
        finally:
            writing.kill()
            self._sending = False

    def _carry_out(self, order: dict[str, Any]) -> None:
        name = str(order.get("order"))
        handler = self._orders.get(name)
        try:
            answer = handler(order) if handler else {"error": f"unknown order: {name}"}
        except GeomailError as error:
            answer = {"error": str(error)}
        except Exception as bug:  # noqa: BLE001  # it is reported, and the connection goes on
            gevent.get_hub().handle_error(handler, type(bug), bug, bug.__traceback__)
            answer = {"error": "a bug"}
        self._answers.append(encode({"answer": order.get("id"), **answer}))
        self._wake.set()

    # -- what is sent -----------------------------------------------------------------------------

    def _write(self, sock: socket.socket) -> None:
        due = time.monotonic() + _STATUS_EVERY
        try:
            while True:
                if time.monotonic() >= due:
                    due = time.monotonic() + _STATUS_EVERY
                    self._note_status()
                if batch := self._take_batch():
                    self._sending = True
                    sock.sendall(batch)
                    self._sending = False
                    gevent.sleep(0)
                else:
                    self._rest(due - time.monotonic())
        except OSError:
            pass  # the greenlet that reads notices the end, too

    def _rest(self, seconds: float) -> None:
        self._wake.clear()
        if self._wake.wait(seconds) and not self._answers:
            gevent.sleep(_GATHER)

    def _take_batch(self) -> bytes:
        lines, self._answers = self._answers, []
        waiting = self._waiting
        lines += [encode(to_dict(self._take_next())) for _ in range(min(_BATCH, len(waiting)))]
        if self._lost and len(waiting) < MOST_WAITING:
            lines.append(encode({"lost": self._lost}))
            self._lost = 0
        return b"".join(lines)

    def _take_next(self) -> Event:
        event = self._waiting.popleft()
        if isinstance(event, TraceLine):
            self._traced[event.trace] -= _measure(event)
        return event

    def _note_status(self) -> None:
        if changed := self._status(False):
            self._answers.append(encode({"status": changed}))

    def _report(self, _order: dict[str, Any]) -> dict[str, Any]:
        return {"status": self._status(True)}

    # -- events -----------------------------------------------------------------------------------

    def _watch(self, order: dict[str, Any]) -> dict[str, Any]:
        """Subscribe to the kinds of events in an order, instead of those before."""
        self._events.unsubscribe(self.take, *self._kinds)
        self._kinds = tuple(KINDS[kind] for kind in order["kinds"] if kind in KINDS)
        self._events.subscribe(self.take, *self._kinds)
        return {"kinds": [kind.kind for kind in self._kinds]}

    def take(self, event: Event) -> None:
        """Send an event to the console if there is room for it; else drop and count it."""
        if len(self._waiting) >= MOST_WAITING or not self._has_room(event):
            self._lost += 1
            return
        self._waiting.append(event)
        if not self._wake.is_set():
            self._wake.set()

    def _has_room(self, event: Event) -> bool:
        """Tell whether an event may wait; count the bytes of traces, as clients decide their length."""
        if not isinstance(event, TraceLine):
            return True
        size = _measure(event)
        if self._traced[event.trace] + size > TRACE_BYTES or self._traced.total() + size > TRACES_BYTES:
            return False
        self._traced[event.trace] += size
        return True


def _measure(event: TraceLine) -> int:
    return sys.getsizeof(event.line) + sys.getsizeof(event.because)
