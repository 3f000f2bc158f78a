"""Dialling: it turns a route into connections to its candidates, one after the other."""

from __future__ import annotations

from _socket import AF_UNIX
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, assert_never

from geomail.backends.configured import ConfiguredBackends
from geomail.backends.endpoint import Endpoint
from geomail.backends.routes import AddressRoute, NamedRoute, Route, SocketRoute
from geomail.errors import AuthUnavailable, BackendUnreachable
from geomail.net.connect import connect_first
from geomail.net.resolver import Resolver
from geomail.net.tls_contexts import make_client_context
from geomail.net.wire import Wire

if TYPE_CHECKING:
    from geomail.config.schema import Backend
    from geomail.net.client_contexts import ContextMaker

#: Addresses from answers of auth services whose endpoints geomail remembers.
_MOST_KNOWN: Final = 4096


class Attempt:
    """One candidate of a route, to be tried by ``with attempt as backend``.

    Entering connects, and raises BackendUnreachable. The caller limits the time,
    because nginx has one limit for connecting and logging in together. If the
    block fails, the connection is closed; otherwise the caller owns it.
    """

    __slots__ = ("_resolver", "_wire", "endpoint")

    def __init__(self, endpoint: Endpoint, resolver: Resolver) -> None:
        self.endpoint = endpoint
        self._resolver = resolver
        self._wire: Wire | None = None

    def __enter__(self) -> Wire:
        self._wire = wire = open_connection(self.endpoint, self._resolver)
        return wire

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._wire is not None:
            self._wire.close()


class Backends:
    """The backends of a process, reached by routes.

    ``contexts`` makes the TLS contexts of connections to them. Raises OSError
    if a file of their TLS cannot be used.
    """

    def __init__(self, tables: Mapping[str, Backend], contexts: ContextMaker = make_client_context) -> None:
        self._configured = ConfiguredBackends(tables, contexts)
        self._known: dict[tuple[str, int, bool], Endpoint] = {}

    def speaks(self, name: str, protocol: str) -> bool:
        """Tell whether a backend of this name has an address for the protocol."""
        return self._configured.find_by_name(name, protocol) is not None

    def dial(self, route: Route, protocol: str, resolver: Resolver) -> Sequence[Attempt]:
        """Return an attempt for each candidate in turn. Raises the errors of :meth:`find_candidates`.

        This is not a generator: a loop that leaves one early raises an exception in it.
        """
        return [Attempt(endpoint, resolver) for endpoint in self.find_candidates(route, protocol, resolver)]

    def find_candidates(self, route: Route, protocol: str, resolver: Resolver) -> tuple[Endpoint, ...]:
        """Return the endpoints of a route, in the order in which geomail tries them.

        Raises BackendUnreachable if a host name has no address, AuthUnavailable
        if an auth service must not name this backend.
        """
        match route:
            case NamedRoute():
                return (self._find_by_name(route.name, protocol),)
            case AddressRoute():
                return (self._find_by_address(route, resolver),)
            case SocketRoute():
                return (Endpoint("", "", 0, route.path),)
            case _:
                assert_never(route)

    def _find_by_name(self, name: str, protocol: str) -> Endpoint:
        found = self._configured.find_by_name(name, protocol)
        if found is None:
            raise BackendUnreachable(f"backend {name} has no address for {protocol}: add one to [backends]")
        return found

    def _find_by_address(self, route: AddressRoute, resolver: Resolver) -> Endpoint:
        key = (route.host, route.port, route.only_configured)
        found = self._known.get(key)
        if found is None:
            found = self._configured.find_without_lookup(
                route.host, route.port, only_configured=route.only_configured
            )
            if found is None:
                return _check_allowed(self._look_up(route, resolver), route)
            _check_allowed(found, route)
            if len(self._known) < _MOST_KNOWN:
                self._known[key] = found
        return found

    def _look_up(self, route: AddressRoute, resolver: Resolver) -> Endpoint:
        only_configured = route.only_configured
        try:
            return self._configured.find_by_address(
                route.host, route.port, resolver.find_addresses, only_configured=only_configured
            )
        except OSError as error:
            raise make_connect_error(route.label, error) from None


def _check_allowed(endpoint: Endpoint, route: AddressRoute) -> Endpoint:
    """Return the endpoint. Raises AuthUnavailable if it must be a configured backend and is not."""
    if route.only_configured and not endpoint.name:
        raise AuthUnavailable(
            f"{route.source} sent {endpoint.label}, which is not the address of a configured backend:"
            ' add it to [backends], or write auth_http_backends = "any"'
        )
    return endpoint


def open_connection(endpoint: Endpoint, resolver: Resolver) -> Wire:
    """Connect to an endpoint, and send nothing yet. Raises BackendUnreachable."""
    try:
        if endpoint.path:
            return connect_first([(AF_UNIX, endpoint.path)], peer="backend", tls=endpoint.side)
        addresses = endpoint.addresses or resolver.find_addresses(endpoint.host, endpoint.port)
        return connect_first(addresses, peer="backend", tls=endpoint.side)
    except OSError as error:
        raise make_connect_error(endpoint.label, error) from None


def make_connect_error(label: str, error: OSError) -> BackendUnreachable:
    """Make the error for a backend that accepts no connection."""
    return BackendUnreachable(f"cannot connect to backend {label}: {error.strerror or error}")
