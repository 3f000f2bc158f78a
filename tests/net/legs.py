"""A relay with both its legs, and the peers at their other ends."""

from __future__ import annotations

from dataclasses import dataclass

import gevent
from gevent.event import AsyncResult

from geomail.errors import Side
from geomail.net.crew import Crew
from geomail.net.parking import Parking
from geomail.net.pipes import Pipes
from geomail.net.relay import Relay
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire
from tests.net.support import PATIENCE, Peer, PlainPeer, TlsPeer, asked_of, raw, tcp_pair
from tests.servers.certificates import Certificates


@dataclass
class Leg:
    """A wire, the reads of its socket since it was made, and its other end."""

    peer: Peer
    wire: Wire
    asked: list[int]


def leg(side: Side, tls: TlsSide | None, certificates: Certificates) -> Leg:
    """Make a leg, with TLS active or without TLS."""
    near, far = tcp_pair()
    wire = Wire(raw(near), side, tls)
    asked = asked_of(wire)
    if tls is None:
        return Leg(PlainPeer(far), wire, asked)
    if tls.server:
        peer = TlsPeer(far, certificates.client_context(), name="localhost")
    else:
        peer = TlsPeer(far, certificates.server.server_context(), server=True)
    shaking = gevent.spawn(peer.handshake)
    wire.start_tls()
    shaking.get(timeout=PATIENCE)
    asked.clear()
    return Leg(peer, wire, asked)


class Legs:
    """Two legs, and the session that relays between them."""

    def __init__(self, client: Leg, backend: Leg) -> None:
        self.client, self.client_wire, self.client_asked = client.peer, client.wire, client.asked
        self.backend, self.backend_wire, self.backend_asked = backend.peer, backend.wire, backend.asked
        self.crew = Crew()
        self.pipes = Pipes()
        self.parking: Parking[AsyncResult[BaseException | None]] = Parking(AsyncResult.set)
        self.times_parked = 0
        self._session: gevent.Greenlet[..., str] | None = None

    def relay(self, buffer: int | None = None, idle: float = 30.0) -> None:
        """Relay between them, and close both wires at the end, as a session does."""
        relay = self.relaying = Relay(
            self.client_wire,
            self.backend_wire,
            self.crew,
            self.pipes,
            self.parking,
            buffer=buffer,
            idle=idle,
        )
        self._session = gevent.spawn(self._run, relay)

    def _run(self, relay: Relay) -> str:
        try:
            while (ended_by := relay.run()) is None:
                self.times_parked += 1
                woken: AsyncResult[BaseException | None] = AsyncResult()
                self.parking.hold(relay, woken)
                if (error := woken.get()) is not None:
                    raise error
            return ended_by
        finally:
            self.parking.close()
            self.client_wire.close()
            self.backend_wire.close()
            self.pipes.close()

    @property
    def session(self) -> gevent.Greenlet[..., str]:
        assert self._session is not None
        return self._session

    def ended_by(self) -> str:
        """Return the side that ended the relay, which must be soon."""
        return self.session.get(timeout=PATIENCE)

    def leave(self) -> None:
        """Close both peers, and wait until the session has ended."""
        self.client.close()
        self.backend.close()
        self.session.join(timeout=PATIENCE)
        assert self.session.dead
