"""Which backend a login goes to, and with what settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from geomail.net.resolver import get_ip_family, normalise_host
from geomail.net.tls import TlsSide
from geomail.net.tls_contexts import make_client_context

if TYPE_CHECKING:
    from geomail.config.schema import Address, Backend
    from geomail.config.values import ProtocolName
    from geomail.net.client_contexts import ContextMaker
    from geomail.net.connect import Address as SocketAddress

#: Gives the addresses of a host and a port. Raises OSError.
Resolve = Callable[[str, int], "Sequence[SocketAddress]"]
#: Where a connection to no address in particular comes out.
_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a backend listens and how it is spoken to; ``path`` is a Unix socket's, else empty.

    ``name`` is the configured backend's, empty for an address that only an
    auth service named. ``side`` is None where ``tls`` is off. ``label`` is the
    address as the log shows it, ``192.0.2.1:143``, ``[2001:db8::1]:143`` or
    ``unix:/path``; ``described`` is the same, and the name if it has one:
    ``192.0.2.1:143 (dovecot)``. Both are made once, as every session holds one.
    ``addresses`` are those of its host where it was looked up already: that
    look-up said that the host is not a configured backend, another might not.
    """

    name: str
    host: str
    port: int
    path: str = ""
    tls: Literal["off", "implicit", "starttls"] = "off"
    side: TlsSide | None = None
    addresses: tuple[SocketAddress, ...] = ()
    label: str = field(init=False)
    described: str = field(init=False)

    def __post_init__(self) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        label = f"unix:{self.path}" if self.path else f"{host}:{self.port}"
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "described", f"{label} ({self.name})" if self.name else label)


class Backends:
    """The configured backends as one protocol sees them, by name and by address.

    ``contexts`` gives the TLS contexts of connections to them, and to whom is asked about them.
    """

    def __init__(
        self,
        configured: Mapping[str, Backend],
        protocol: ProtocolName,
        contexts: ContextMaker = make_client_context,
    ) -> None:
        self.contexts = contexts
        self._by_name = {
            name: _endpoint(backend, address, contexts)
            for name, backend in configured.items()
            if (address := backend.address_for(protocol))
        }
        self._by_address = {
            (_place(address.host), address.port): _endpoint(backend, address, contexts)
            for backend in configured.values()
            for address in backend.addresses().values()
            if not address.path
        }

    def named(self, name: str) -> Endpoint:
        """The backend of the table ``[backends.NAME]``; KeyError without one that speaks the protocol."""
        return self._by_name[name]

    def speaks(self, name: str) -> bool:
        """Whether this backend has an address for the protocol."""
        return name in self._by_name

    def at(self, host: str, port: int, resolve: Resolve, *, only_configured: bool = False) -> Endpoint:
        """The backend configured at this address, in any spelling; another one is plaintext, as in nginx.

        Host names are compared by their addresses wherever that makes a
        difference: to TLS, or if ``only_configured`` backends count. Raises
        OSError where a host name that must be compared has no address: while
        a backend with TLS has none, any other address may be that backend's.
        """
        return self.written(host, port, only_configured=only_configured) or self._resolved(
            host, port, resolve, only_configured
        )

    def written(self, host: str, port: int, *, only_configured: bool = False) -> Endpoint | None:
        """Return what :meth:`at` gives where that needs no host name resolved, else None."""
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
            raise unknown  # that backend may be meant: without its TLS the password would be exposed
        return Endpoint("", host, port, addresses=addresses)

    def _comparable(self, port: int, only_configured: bool) -> list[Endpoint]:
        """The backends on this port whose settings are others than those of an unknown address."""
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


def _endpoint(backend: Backend, address: Address, contexts: ContextMaker) -> Endpoint:
    side = None
    if backend.tls != "off":
        context = contexts(
            ca=backend.tls_ca,
            verify=backend.tls_verify,
            certificate=backend.tls_certificate,
            key=backend.tls_certificate_key,
        )
        side = TlsSide(context, server=False, server_name=backend.tls_name or address.host or None)
    return Endpoint(backend.name, address.host, address.port, address.path, backend.tls, side)
