"""What happens in a session, as frozen values, and the stream that carries them.

Nothing that happens in a session is logged beside this stream. A sink is a
callable; it neither blocks nor raises. An event that nobody reads is not made:
ask :meth:`EventStream.wants` first where making it costs something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, dataclass_transform

E = TypeVar("E")
K = TypeVar("K", bound="Event")


@dataclass_transform(frozen_default=True)
def event(kind: type[E]) -> type[E]:
    """A dataclass that is frozen for the type checker; at run time that takes four times as long to make."""
    return dataclass(slots=True)(kind)


@event
class Event:
    """Something that happened, at ``time`` (seconds since the epoch), in session ``session``.

    It is never changed. ``kind`` names it outside this process.
    """

    kind: ClassVar[str]

    time: float
    session: str


@event
class SessionOpened(Event):
    """A client was accepted."""

    kind = "session.opened"

    server: str
    protocol: str
    client: str


@event
class LoginRefused(Event):
    """A login was refused, by the auth source or by the backend; the client may try again."""

    kind = "login.refused"

    server: str
    protocol: str
    client: str
    user: str
    method: str
    backend: str
    reason: str
    by: str


@event
class RelayStarted(Event):
    """The client is logged in at its backend; from here on bytes are copied. Times: see SessionClosed."""

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


@event
class Remark(Event):
    """Something the operator should hear of that ends no session."""

    kind = "remark"

    server: str
    protocol: str
    client: str
    user: str
    text: str


@dataclass(slots=True)
class SessionClosed(Event):  # type: ignore[misc]  # not frozen: it is filled in while the session runs
    """A session has ended: its one record, which was filled in while the session ran.

    ``outcome`` is how (``done``, ``quit``, ``refused``, ``timeout``, …),
    ``side`` who ended it (client, auth, backend, geomail), ``reason`` the
    private text, ``step`` the step of the backend's handshake it ended in.
    ``listener`` is the address of the ``listen`` that the client came in by,
    ``sni`` the host name that it asked for under TLS.
    ``relayed``: whether the client was logged in at its backend; ``refusals``
    counts the logins that were refused.
    Times are seconds; an absent one is None. ``bytes_in`` counts what came
    from the client, ``bytes_out`` what went to it, as it was on the wire.
    ``client_id`` is what an IMAP client has said of itself before its login.
    """

    kind = "session.closed"

    time: float
    session: str
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
    client_id: str = ""


@event
class TraceLine(Event):
    """A line of a dialogue, for the trace with the number ``trace``; not carried by the stream.

    ``leg`` is client, backend or empty, ``direction`` ``>`` (geomail says it),
    ``<`` (geomail hears it) or ``*`` (a note), ``because`` why it is said.
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


#: The kinds of events by their names.
KINDS: dict[str, type[Event]] = {
    kind.kind: kind for kind in (SessionOpened, LoginRefused, RelayStarted, Remark, SessionClosed)
}

Sink = Callable[[Any], object]


_ENCODED: tuple[type[Event], ...] = (*KINDS.values(), TraceLine)
_FIELDS = {kind.kind: ("event", *(field.name for field in fields(kind))) for kind in _ENCODED}
_VALUES: dict[str, Callable[[Event], tuple[Any, ...]]] = {
    kind: attrgetter(*names[1:]) for kind, names in _FIELDS.items()
}


def record(happened: Event) -> dict[str, Any]:
    """Return the event as names and values, for JSON; ``event`` comes first and holds its kind."""
    kind = happened.kind
    return dict(zip(_FIELDS[kind], (kind, *_VALUES[kind](happened)), strict=True))


class EventStream:
    """Carries events to sinks, each of which names the kinds it wants."""

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
        """Whether anybody reads events of this kind now."""
        return kind.kind in self._sinks

    def emit(self, event: Event) -> None:
        """Hand the event to those who want its kind, in this greenlet."""
        for sink in self._sinks.get(event.kind, ()):
            sink(event)
