"""A worker's line to the console process: events for those who watch, counters, answers to what is asked.

Nothing waits for it. Where the console does not read fast enough, events are
dropped and counted; where it has gone, the worker looks for the next one. With
nobody watching it sends what the counters have come to, once a second at most.
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

#: Events that wait for the console; those beyond are lost.
MOST_WAITING = 4096
#: Bytes of the lines that wait of one trace, and of all of them.
TRACE_BYTES, TRACES_BYTES = 1024 * 1024, 4 * 1024 * 1024
#: Events that are encoded at a stretch.
_BATCH = 128
#: Seconds in which events gather, so that one write carries many.
_GATHER = 0.02
#: Longest order from the console, in bytes.
LONGEST_ORDER = 128 * 1024
#: Seconds between two looks at the counters.
_STATUS_EVERY = 1.0
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 2.0

#: Bytes by which a worker shows the console that they have the same master.
TOKEN: Final = 32

Order = Callable[[dict[str, Any]], dict[str, Any]]


class Way(NamedTuple):
    """The way to the console: the address where it listens, and the token that it must see first."""

    address: bytes
    token: bytes


class Feed:
    """Serves the console that is reached by this ``way``, whichever that is, until :meth:`close`.

    ``hello`` is what this worker says of itself. ``status`` gives what has
    changed since it was called last, or everything. ``orders`` are carried
    out by name, and what they return is the answer; they must not wait.
    ``left`` is called when the console has gone.
    """

    def __init__(
        self,
        way: Way,
        events: EventStream,
        hello: Mapping[str, Any],
        status: Callable[[bool], dict[str, Any]],
        orders: Mapping[str, Order],
        left: Callable[[], None],
    ) -> None:
        self._way = way
        self._events = events
        self._hello = hello
        self._status = status
        self._orders = {
            "watch": self._watch,
            "status": lambda _asked: {"status": self._status(True)},
            **orders,
        }
        self._left = left
        self._waiting: deque[Event] = deque()
        self._traced: Counter[int] = Counter()
        self._lost = 0
        self._answers: list[bytes] = []
        self._wake = Signal()
        self._kinds: tuple[type[Event], ...] = ()
        self._sending = False
        self._watch({"kinds": list(KINDS)})  # until the console says what is watched: it may have viewers
        self._serving = gevent.spawn(self._serve)

    def close(self, seconds: float) -> None:
        """Send what waits, for ``seconds`` at most, and end."""
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
                    sock.connect(self._way.address)
                    sock.sendall(self._way.token)
                    delay = _FIRST_DELAY
                    self._talk(sock)
            except (OSError, BadLine):
                pass  # the next console will know no more of it
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
                    self._obey(decode(line))
        finally:
            writing.kill()
            self._sending = False

    def _obey(self, asked: dict[str, Any]) -> None:
        order = self._orders.get(str(asked.get("do")))
        try:
            answer = order(asked) if order else {"error": "unknown order"}
        except GeomailError as error:
            answer = {"error": str(error)}
        except Exception as bug:  # noqa: BLE001  # told, and no reason to tell the console nothing more
            gevent.get_hub().handle_error(order, type(bug), bug, bug.__traceback__)
            answer = {"error": "a bug"}
        self._answers.append(encode({"answer": asked.get("ask"), **answer}))
        self._wake.set()

    # -- what is sent -----------------------------------------------------------------------------

    def _write(self, sock: socket.socket) -> None:
        due = time.monotonic() + _STATUS_EVERY
        try:
            while True:
                if time.monotonic() >= due:
                    due = time.monotonic() + _STATUS_EVERY
                    self._note_status()
                if batch := self._batch():
                    self._sending = True
                    sock.sendall(batch)
                    self._sending = False
                    gevent.sleep(0)
                else:
                    self._rest(due - time.monotonic())
        except OSError:
            pass  # the reader sees the end too

    def _rest(self, seconds: float) -> None:
        self._wake.clear()
        if self._wake.wait(seconds) and not self._answers:
            gevent.sleep(_GATHER)

    def _batch(self) -> bytes:
        lines, self._answers = self._answers, []
        waiting = self._waiting
        lines += [encode(to_dict(self._next())) for _ in range(min(_BATCH, len(waiting)))]
        if self._lost and len(waiting) < MOST_WAITING:
            lines.append(encode({"lost": self._lost}))
            self._lost = 0
        return b"".join(lines)

    def _next(self) -> Event:
        event = self._waiting.popleft()
        if isinstance(event, TraceLine):
            self._traced[event.trace] -= _size(event)
        return event

    def _note_status(self) -> None:
        if changed := self._status(False):
            self._answers.append(encode({"status": changed}))

    # -- events -----------------------------------------------------------------------------------

    def _watch(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Read the events that the console asks for, instead of those it asked for before."""
        self._events.unsubscribe(self.take, *self._kinds)
        self._kinds = tuple(KINDS[kind] for kind in asked["kinds"] if kind in KINDS)
        self._events.subscribe(self.take, *self._kinds)
        return {"kinds": [kind.kind for kind in self._kinds]}

    def take(self, event: Event) -> None:
        """Send an event to the console, if there is room for it."""
        if len(self._waiting) >= MOST_WAITING or not self._has_room(event):
            self._lost += 1
            return
        self._waiting.append(event)
        if not self._wake.is_set():
            self._wake.set()

    def _has_room(self, event: Event) -> bool:
        """Tell whether an event may wait; count a line of a trace, as clients decide how long it is."""
        if not isinstance(event, TraceLine):
            return True
        size = _size(event)
        if self._traced[event.trace] + size > TRACE_BYTES or self._traced.total() + size > TRACES_BYTES:
            return False
        self._traced[event.trace] += size
        return True


def _size(event: TraceLine) -> int:
    return sys.getsizeof(event.line) + sys.getsizeof(event.because)
