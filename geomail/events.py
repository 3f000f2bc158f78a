"""What happens in a session, as frozen values, and the stream that carries them.

Nothing that happens in a session is logged beside this stream. A sink is a
callable; it neither blocks nor raises. An event that nobody reads is not made:
ask :meth:`EventStream.wants` first where making it costs something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, at ``time`` (seconds since the epoch), in session ``session``."""

    time: float
    session: str


@dataclass(frozen=True, slots=True)
class SessionOpened(Event):
    """A client was accepted."""

    server: str
    protocol: str
    client: str


@dataclass(frozen=True, slots=True)
class LoginRefused(Event):
    """A login was refused, by the auth source or by the backend; the client may try again."""

    server: str
    protocol: str
    client: str
    user: str
    method: str
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class RelayStarted(Event):
    """The client is logged in at its backend; bytes are copied from here on."""

    server: str
    protocol: str
    client: str
    user: str
    method: str
    backend: str


@dataclass(frozen=True, slots=True)
class Remark(Event):
    """Something the operator should hear of that ends no session."""

    server: str
    client: str
    user: str
    text: str


@dataclass(frozen=True, slots=True)
class SessionClosed(Event):
    """A session has ended: the one record of it.

    ``outcome`` is how (``done``, ``quit``, ``refused``, ``timeout``, …),
    ``side`` who ended it (client, auth, backend, geomail), ``reason`` the
    private text, ``step`` the step of the backend's handshake it ended in.
    Times are seconds; an absent one is None. ``bytes_in`` counts what came
    from the client, ``bytes_out`` what went to it, as it was on the wire.
    """

    server: str
    protocol: str
    client: str
    client_port: int
    local: str
    local_port: int
    tls: str
    user: str
    method: str
    backend: str
    outcome: str
    side: str
    reason: str
    step: str
    duration: float
    auth_time: float | None
    connect_time: float | None
    login_time: float | None
    bytes_in: int
    bytes_out: int


Sink = Callable[[Event], None]


class EventStream:
    """Carries events to sinks, each of which names the kinds it wants."""

    def __init__(self) -> None:
        self._sinks: dict[type[Event], tuple[Sink, ...]] = {}

    def subscribe(self, sink: Sink, *kinds: type[Event]) -> None:
        """Give ``sink`` every event of these kinds from now on."""
        for kind in kinds:
            self._sinks[kind] = (*self._sinks.get(kind, ()), sink)

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody reads events of this kind."""
        return kind in self._sinks

    def emit(self, event: Event) -> None:
        """Hand the event to those who want its kind, in this greenlet."""
        for sink in self._sinks.get(type(event), ()):
            sink(event)
