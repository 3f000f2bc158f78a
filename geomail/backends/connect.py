"""Connecting to a backend."""

from __future__ import annotations

from _socket import AF_UNIX
from typing import TYPE_CHECKING

from geomail.errors import BackendUnreachable
from geomail.net.connect import connect_first
from geomail.net.resolver import Resolver

if TYPE_CHECKING:
    from geomail.backends.endpoint import Endpoint
    from geomail.config.schema import Server
    from geomail.net.wire import Wire


def connect(endpoint: Endpoint, resolver: Resolver) -> Wire:
    """A connection to the backend, nothing said yet. Raises BackendUnreachable.

    The time for it is the caller's to limit: nginx has one budget for
    connecting and logging in.
    """
    try:
        if endpoint.path:
            return connect_first([(AF_UNIX, endpoint.path)], peer="backend", tls=endpoint.side)
        addresses = endpoint.addresses or resolver.find_addresses(endpoint.host, endpoint.port)
        return connect_first(addresses, peer="backend", tls=endpoint.side)
    except OSError as error:
        raise unreachable(endpoint.label, error) from None


def unreachable(label: str, error: OSError) -> BackendUnreachable:
    """The error about a backend to which no connection can be made."""
    return BackendUnreachable(f"cannot connect to backend {label}: {error.strerror or error}")


def resolver_for(server: Server) -> Resolver:
    """The resolver that a server's ``resolver`` and ``resolver_timeout`` describe."""
    asked = server.resolver
    servers = [(address.host, address.port) for address in asked.servers]
    return Resolver(servers, server.resolver_timeout, valid=asked.valid, ipv4=asked.ipv4, ipv6=asked.ipv6)
