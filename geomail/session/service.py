"""What the sessions of one server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geomail.auth.base import Source
    from geomail.config.schema import Server
    from geomail.events import EventStream
    from geomail.net.crew import Crew
    from geomail.net.lookout import Lookout
    from geomail.net.parking import Parking
    from geomail.net.pipes import Pipes
    from geomail.net.resolver import Resolver
    from geomail.protocols.base import BackendTls, HandshakeOptions, Protocol
    from geomail.protocols.proxy_header import Senders
    from geomail.session.flow import Session
    from geomail.session.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Service:
    """What every session of one ``[[mail.server]]`` shares; ``options`` are for backends of each ``tls``."""

    server: Server
    protocol: Protocol
    source: Source
    options: Mapping[BackendTls, HandshakeOptions]
    resolver: Resolver
    trusted: Senders
    events: EventStream
    crew: Crew
    pipes: Pipes
    parking: Parking[tuple[int, Session]]
    lookout: Lookout
    tracing: Tracing
