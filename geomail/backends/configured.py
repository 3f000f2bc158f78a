"""The configured backends, found by their name or by any spelling of their address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from geomail.backends.endpoint import Endpoint, configured_endpoint
from geomail.config.schema import ProtocolName
from geomail.net.resolver import get_ip_family, normalise_host

if TYPE_CHECKING:
    from geomail.config.schema import Backend
    from geomail.net.client_contexts import ContextMaker
    from geomail.net.connect import Address as SocketAddress

#: Gives the addresses of a host and a port. Raises OSError.
Resolve = Callable[[str, int], "Sequence[SocketAddress]"]
#: The address that a connection to "no address in particular" reaches.
_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class ConfiguredBackends:
    """The endpoints of the ``[backends]`` tables; ``contexts`` makes their TLS contexts. Raises OSError."""

    def __init__(self, tables: Mapping[str, Backend], contexts: ContextMaker) -> None:
        self._by_name = {
            (name, protocol): configured_endpoint(backend, address, contexts)
            for name, backend in tables.items()
            for protocol in get_args(ProtocolName)
            if (address := backend.address_for(protocol))
        }
        self._by_address = {
            (_place(address.host), address.port): configured_endpoint(backend, address, contexts)
            for backend in tables.values()
            for address in backend.addresses().values()
            if not address.path
        }

    def named(self, name: str, protocol: str) -> Endpoint | None:
        """Return the endpoint of a backend for a protocol; None if it has no address for that."""
        return self._by_name.get((name, protocol))

    def at(self, host: str, port: int, resolve: Resolve, *, only_configured: bool = False) -> Endpoint:
        """Return the backend configured at this address, in any spelling.

        Another address is plaintext, as in nginx. Host names are compared by
        their addresses wherever that makes a difference: to TLS, or if ``only_configured``
        backends count. Raises OSError if a host name that must be compared has
        no address: while a backend with TLS has none, any other address may be
        that backend's.
        """
        return self.written(host, port, only_configured=only_configured) or self._resolved(
            host, port, resolve, only_configured
        )

    def written(self, host: str, port: int, *, only_configured: bool = False) -> Endpoint | None:
        """Return what :meth:`at` gives if that needs no host name resolved, else None."""
        found = self._by_address.get((_place(host), port))
        if found is not None:
            return found
        others = self._comparable(port, only_configured)
        is_settled = not others or all(_is_literal(one) for one in (host, *(other.host for other in others)))
        return Endpoint("", host, port) if is_settled else None

    def _resolved(self, host: str, port: int, resolve: Resolve, only_configured: bool) -> Endpoint:
        addresses = tuple(resolve(host, port))
        places = {_place(address[0]) for _, address in addresses}
        unknown: OSError | None = None
        for other in self._comparable(port, only_configured):
            try:
                is_other = places & _places(other, resolve)
            except OSError as error:
                unknown = error
                continue
            if is_other and not (_is_literal(host) and _is_literal(other.host)):
                return other
        if unknown is not None and not only_configured:
            raise unknown  # the route may mean that backend: without its TLS the password would be exposed
        return Endpoint("", host, port, addresses=addresses)

    def _comparable(self, port: int, only_configured: bool) -> list[Endpoint]:
        """Return the backends on this port whose settings differ from those of an unknown address."""
        return [
            endpoint
            for (_, at), endpoint in self._by_address.items()
            if at == port and (only_configured or endpoint.side is not None)
        ]


def _place(host: str) -> str:
    canonical = normalise_host(host)
    return _UNSPECIFIED.get(canonical, canonical)


def _is_literal(host: str) -> bool:
    return get_ip_family(host) is not None


def _places(endpoint: Endpoint, resolve: Resolve) -> set[str]:
    return {_place(address[0]) for _, address in resolve(endpoint.host, endpoint.port)}
