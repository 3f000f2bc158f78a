"""The configured backends, and how to find one by its name or by any spelling of its address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, get_args

from geomail.backends.endpoint import Endpoint, make_endpoint
from geomail.config.schema import ProtocolName
from geomail.net.resolver import get_ip_family, normalise_host

if TYPE_CHECKING:
    from geomail.config.schema import Backend
    from geomail.net.client_contexts import ContextMaker
    from geomail.net.connect import Address as SocketAddress

#: Returns the addresses of a host and a port. Raises OSError.
Resolve = Callable[[str, int], "Sequence[SocketAddress]"]
#: The address that a connection to an unspecified address reaches.
_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class ConfiguredBackends:
    """The endpoints of the ``[backends]`` tables; ``contexts`` makes their TLS contexts. Raises OSError."""

    def __init__(self, tables: Mapping[str, Backend], contexts: ContextMaker) -> None:
        self._by_name = {
            (name, protocol): make_endpoint(backend, address, contexts)
            for name, backend in tables.items()
            for protocol in get_args(ProtocolName)
            if (address := backend.address_for(protocol))
        }
        self._by_address = {
            (_normalise(address.host), address.port): make_endpoint(backend, address, contexts)
            for backend in tables.values()
            for address in backend.addresses().values()
            if not address.path
        }

    def find_by_name(self, name: str, protocol: str) -> Endpoint | None:
        """Return the endpoint of a backend for a protocol; None if the backend has no address for it."""
        return self._by_name.get((name, protocol))

    def find_by_address(
        self, host: str, port: int, resolve: Resolve, *, only_configured: bool = False
    ) -> Endpoint:
        """Return the backend configured at this address, in any spelling.

        Another address gives an endpoint without TLS, as in nginx. Host names are
        compared by their addresses if the result may depend on it: if a backend
        has TLS, or with ``only_configured``. Raises OSError if a host name that
        must be compared has no address: any address may then be that of a backend
        with TLS.
        """
        found = self.find_without_lookup(host, port, only_configured=only_configured)
        return found or self._look_up(host, port, resolve, only_configured)

    def find_without_lookup(self, host: str, port: int, *, only_configured: bool = False) -> Endpoint | None:
        """Return the endpoint of :meth:`find_by_address`; None if geomail must look up a host name for it."""
        found = self._by_address.get((_normalise(host), port))
        if found is not None:
            return found
        others = self._find_comparable(port, only_configured)
        is_settled = not others or all(_is_literal(one) for one in (host, *(other.host for other in others)))
        return Endpoint("", host, port) if is_settled else None

    def _look_up(self, host: str, port: int, resolve: Resolve, only_configured: bool) -> Endpoint:
        addresses = tuple(resolve(host, port))
        places = {_normalise(address[0]) for _, address in addresses}
        unknown: OSError | None = None
        for other in self._find_comparable(port, only_configured):
            try:
                is_other = places & _find_places(other, resolve)
            except OSError as error:
                unknown = error
                continue
            if is_other and not (_is_literal(host) and _is_literal(other.host)):
                return other
        if unknown is not None and not only_configured:
            raise unknown  # without the TLS of that backend, the password might be exposed
        return Endpoint("", host, port, addresses=addresses)

    def _find_comparable(self, port: int, only_configured: bool) -> list[Endpoint]:
        """Return the backends on this port whose settings differ from the settings of an unknown address."""
        return [
            endpoint
            for (_, at), endpoint in self._by_address.items()
            if at == port and (only_configured or endpoint.side is not None)
        ]


def _normalise(host: str) -> str:
    canonical = normalise_host(host)
    return _UNSPECIFIED.get(canonical, canonical)


def _is_literal(host: str) -> bool:
    return get_ip_family(host) is not None


def _find_places(endpoint: Endpoint, resolve: Resolve) -> set[str]:
    return {_normalise(address[0]) for _, address in resolve(endpoint.host, endpoint.port)}
