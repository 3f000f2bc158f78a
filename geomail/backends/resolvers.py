"""The resolver of a server's sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geomail.net.resolver import Resolver

if TYPE_CHECKING:
    from geomail.config.schema import Server


def make_resolver(server: Server) -> Resolver:
    """Make the resolver that a server's ``resolver`` and ``resolver_timeout`` describe."""
    asked = server.resolver
    servers = [(address.host, address.port) for address in asked.servers]
    return Resolver(servers, server.resolver_timeout, valid=asked.valid, ipv4=asked.ipv4, ipv6=asked.ipv6)
