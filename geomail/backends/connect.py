"""Connecting to a backend."""

from __future__ import annotations

from _socket import AF_UNIX
from typing import TYPE_CHECKING

from geomail.errors import BackendUnreachable
from geomail.net.connect import connect as connect_to

if TYPE_CHECKING:
    from geomail.backends.endpoint import Endpoint
    from geomail.net.resolver import Resolver
    from geomail.net.wire import Wire


def connect(endpoint: Endpoint, resolver: Resolver) -> Wire:
    """A connection to the backend, nothing said yet. Raises BackendUnreachable.

    The time for it is the caller's to limit: nginx has one budget for
    connecting and logging in.
    """
    try:
        if endpoint.path:
            return connect_to([(AF_UNIX, endpoint.path)], peer="backend", tls=endpoint.side)
        addresses = resolver.addresses(endpoint.host, endpoint.port)
        return connect_to(addresses, peer="backend", tls=endpoint.side)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BackendUnreachable(f"cannot connect to backend {endpoint.label}: {reason}") from None
