"""The events of a session, and the stream that carries them to the sinks.

A session reports what happens in it through this stream alone. A sink is a
callable that takes an event; it must neither block nor raise. Call
:meth:`EventStream.wants` before you make an event that is expensive to make.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar, TypeVar

K = TypeVar("K", bound="Event")

# Each __init__ is written by hand: compiled, a generated one takes ten times as long.


@dataclass(slots=True, init=False)
class Event:
    """Something that happened in the session with the id ``session``.

    ``time`` is in seconds since the epoch. ``kind`` is the event's name in the
    log and on the control socket. An event must not be changed.
    """

    kind: ClassVar[str]

    time: float
    session: str

    def __init__(self, time: float, session: str) -> None:
        self.time = time
        self.session = session


@dataclass(slots=True, init=False)
class SessionOpened(Event):
    """A client was accepted."""

    kind = "session.opened"

    server: str
    protocol: str
    client: str

    def __init__(
        self,
        time: float,
        session: str,
        server: str,
        protocol: str,
        client: str,
    ) -> None:
        Event.__init__(self, time, session)  # super() knows the class without slots
        self.server = server
        self.protocol = protocol
        self.client = client


@dataclass(slots=True, init=False)
class LoginRefused(Event):
    """A login was refused; the client may try again.

    ``side`` is the side that refused it: auth or backend.
    """

    kind = "login.refused"

    server: str
    protocol: str
    client: str
    user: str
    method: str
    backend: str
    reason: str
    side: str

    def __init__(
        self,
        time: float,
        session: str,
        server: str,
        protocol: str,
        client: str,
        user: str,
        method: str,
        backend: str,
        reason: str,
        side: str,
    ) -> None:
        Event.__init__(self, time, session)  # super() knows the class without slots
        self.server = server
        self.protocol = protocol
        self.client = client
        self.user = user
        self.method = method
        self.backend = backend
        self.reason = reason
        self.side = side


@dataclass(slots=True, init=False)
class RelayStarted(Event):
    """The client is logged in at its backend; geomail copies bytes from now on.

    :class:`SessionClosed` describes the times.
    """

    kind = "relay.started"

    server: str
    protocol: str
    client: str
    user: str
    method: str
    backend: str
    auth_time: float | None
    connect_time: float | None
    login_time: float | None

    def __init__(
        self,
        time: float,
        session: str,
        server: str,
        protocol: str,
        client: str,
        user: str,
        method: str,
        backend: str,
        auth_time: float | None,
        connect_time: float | None,
        login_time: float | None,
    ) -> None:
        Event.__init__(self, time, session)  # super() knows the class without slots
        self.server = server
        self.protocol = protocol
        self.client = client
        self.user = user
        self.method = method
        self.backend = backend
        self.auth_time = auth_time
        self.connect_time = connect_time
        self.login_time = login_time


@dataclass(slots=True, init=False)
class Remark(Event):
    """Something that the operator should know, and that does not end the session."""

    kind = "remark"

    server: str
    protocol: str
    client: str
    user: str
    text: str

    def __init__(
        self,
        time: float,
        session: str,
        server: str,
        protocol: str,
        client: str,
        user: str,
        text: str,
    ) -> None:
        Event.__init__(self, time, session)  # super() knows the class without slots
        self.server = server
        self.protocol = protocol
        self.client = client
        self.user = user
        self.text = text


@dataclass(slots=True, init=False)
class SessionClosed(Event):
    """A session has ended: its one record, which was filled in while the session ran.

    - ``outcome``: how it ended (``done``, ``quit``, ``refused``, ``timeout``, …)
    - ``side``: which side ended it (client, auth, backend, geomail)
    - ``reason``: why, in words for the operator that the client never sees
    - ``step``: the step of the backend's handshake in which it ended
    - ``listener``: the address of the ``listen`` to which the client connected
    - ``sni``: the host name that the client asked for under TLS
    - ``relayed``: whether the client was logged in at its backend
    - ``refusals``: how many logins were refused
    - ``duration``, ``auth_time``, ``connect_time``, ``login_time``: seconds;
      None for a step that the session did not reach
    - ``bytes_in``, ``bytes_out``: bytes from the client and bytes to it, as on the wire
    - ``client_id``: what an IMAP client said about itself before its login
    """

    kind = "session.closed"

    server: str
    protocol: str
    client: str
    client_port: int
    local: str
    local_port: int
    listener: str
    tls: str
    sni: str
    user: str
    method: str
    backend: str
    outcome: str
    side: str
    reason: str
    step: str
    relayed: bool
    refusals: int
    duration: float
    auth_time: float | None
    connect_time: float | None
    login_time: float | None
    bytes_in: int
    bytes_out: int
    client_id: str

    def __init__(self, time: float, session: str) -> None:
        Event.__init__(self, time, session)  # super() knows the class without slots
        self.server = self.protocol = self.client = self.local = self.listener = ""
        self.tls = self.sni = self.user = self.method = self.backend = self.client_id = ""
        self.outcome, self.side, self.reason, self.step = "shutdown", "geomail", "", ""
        self.client_port = self.local_port = self.refusals = self.bytes_in = self.bytes_out = 0
        self.auth_time = self.connect_time = self.login_time = None
        self.relayed = False
        self.duration = 0.0


@dataclass(slots=True, init=False)
class TraceLine(Event):
    """A line of a dialogue, for the trace with the number ``trace``; the stream does not carry it.

    ``leg`` is client, backend or empty. ``direction`` is ``>`` (geomail sent
    the line), ``<`` (geomail received it) or ``*`` (a note). ``because`` is the
    option or rule for which geomail sent it.
    """

    kind = "trace.line"

    trace: int
    server: str
    protocol: str
    client: str
    user: str
    leg: str
    direction: str
    line: str
    because: str

    def __init__(
        self,
        time: float,
        session: str,
        trace: int,
        server: str,
        protocol: str,
        client: str,
        user: str,
        leg: str,
        direction: str,
        line: str,
        because: str,
    ) -> None:
        Event.__init__(self, time, session)  # super() knows the class without slots
        self.trace = trace
        self.server = server
        self.protocol = protocol
        self.client = client
        self.user = user
        self.leg = leg
        self.direction = direction
        self.line = line
        self.because = because


#: The kinds of events by their names.
KINDS: dict[str, type[Event]] = {
    kind.kind: kind for kind in (SessionOpened, LoginRefused, RelayStarted, Remark, SessionClosed)
}

Sink = Callable[[Any], object]

#: The fields of each kind of event, by the names that logs, control socket and manuals use.
FIELD_NAMES: dict[str, tuple[str, ...]] = {
    name: tuple(field.name for field in fields(kind) if field.name != "kind")  # one, if it is compiled
    for name, kind in {**KINDS, TraceLine.kind: TraceLine}.items()
}
_KEYS = {kind: ("event", *names) for kind, names in FIELD_NAMES.items()}
_READERS: dict[str, Callable[[Event], tuple[Any, ...]]] = {
    kind: attrgetter(*names) for kind, names in FIELD_NAMES.items()
}


def to_dict(event: Event) -> dict[str, Any]:
    """Return the event as names and values, for JSON; ``event`` comes first and holds its kind."""
    kind = event.kind
    return dict(zip(_KEYS[kind], (kind, *_READERS[kind](event)), strict=True))


class EventStream:
    """Carries events to sinks; each sink names the kinds that it wants."""

    def __init__(self) -> None:
        self._sinks: dict[str, tuple[Sink, ...]] = {}

    def subscribe(self, sink: Callable[[K], object], *kinds: type[K]) -> None:
        """Give ``sink`` every event of these kinds from now on."""
        for kind in kinds:
            self._sinks[kind.kind] = (*self._sinks.get(kind.kind, ()), sink)

    def unsubscribe(self, sink: Callable[[K], object], *kinds: type[K]) -> None:
        """Give ``sink`` no more events of these kinds."""
        for kind in kinds:
            left = tuple(other for other in self._sinks.get(kind.kind, ()) if other != sink)
            if left:
                self._sinks[kind.kind] = left
            else:
                self._sinks.pop(kind.kind, None)

    def wants(self, kind: type[Event]) -> bool:
        """Tell whether any sink reads events of this kind now."""
        return kind.kind in self._sinks

    def emit(self, event: Event) -> None:
        """Give the event to each sink that wants its kind, in this greenlet."""
        for sink in self._sinks.get(event.kind, ()):
            sink(event)
