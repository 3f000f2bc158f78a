"""The objects that the sessions of one server share, made from the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from geomail.auth import make_directory, make_source
from geomail.auth.services import AuthServices
from geomail.backends import Backends
from geomail.backends.resolvers import make_resolver
from geomail.net.lookout import Lookout
from geomail.net.pipes import Pipes
from geomail.protocols.base import BackendTls, HandshakeOptions
from geomail.protocols.proxy_header import Senders
from geomail.protocols.registry import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geomail.auth.base import Note, Source
    from geomail.auth.users import Tell
    from geomail.config.schema import Config, Server
    from geomail.events import EventStream
    from geomail.net.client_contexts import ContextMaker
    from geomail.net.crew import Crew
    from geomail.net.parking import Parking
    from geomail.net.resolver import Resolver
    from geomail.protocols.base import Protocol
    from geomail.session.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The objects that all sessions of a process share.

    ``tell`` writes to the log, ``note`` notes an incident.
    """

    events: EventStream
    crew: Crew
    parking: Parking[int]
    tracing: Tracing
    tell: Tell
    note: Note
    pipes: Pipes = field(default_factory=Pipes)
    lookout: Lookout = field(default_factory=Lookout)


@dataclass(frozen=True, slots=True)
class Service:
    """The objects that the sessions of a ``[[mail.server]]`` share; ``options`` has one for each ``tls``."""

    server: Server
    protocol: Protocol
    source: Source
    backends: Backends
    options: Mapping[BackendTls, HandshakeOptions]
    resolver: Resolver
    trusted: Senders
    events: EventStream
    crew: Crew
    pipes: Pipes
    parking: Parking[int]
    lookout: Lookout
    tracing: Tracing


def make_services(config: Config, surroundings: Surroundings, contexts: ContextMaker) -> list[Service]:
    """Make the service of each server, in their order. Raises OSError if a TLS file cannot be used."""
    backends = Backends(config.backends, contexts)
    directory = make_directory(config, surroundings.tell)
    auth_services = AuthServices(surroundings.note, contexts)
    resolvers: dict[Any, Resolver] = {}
    services = []
    for server in config.servers:
        asked = (server.resolver, server.resolver_timeout)
        resolver = resolvers.setdefault(asked, make_resolver(server))
        source = make_source(server, config, backends, resolver, directory, auth_services)
        services.append(_make_service(server, source, backends, resolver, surroundings))
    return services


def _make_service(
    server: Server, source: Source, backends: Backends, resolver: Resolver, surroundings: Surroundings
) -> Service:
    return Service(
        server=server,
        protocol=PROTOCOLS[server.protocol](server),
        source=source,
        backends=backends,
        options={tls: HandshakeOptions.of(server, tls, source.passthrough) for tls in get_args(BackendTls)},
        resolver=resolver,
        trusted=Senders(server.set_real_ip_from),
        events=surroundings.events,
        crew=surroundings.crew,
        pipes=surroundings.pipes,
        parking=surroundings.parking,
        lookout=surroundings.lookout,
        tracing=surroundings.tracing,
    )
