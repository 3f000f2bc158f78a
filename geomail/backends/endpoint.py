"""Which backend a login goes to, and with what settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from geomail.net.resolver import canonical_host
from geomail.net.tls import TlsSide, client_context

if TYPE_CHECKING:
    from geomail.config.schema import Address, Backend
    from geomail.config.values import ProtocolName
    from geomail.net.client_contexts import MakesContext


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a backend listens and how it is spoken to; ``path`` is a Unix socket's, else empty.

    ``name`` is the configured backend's, empty for an address that only an
    auth service named. ``side`` is None where ``tls`` is off. ``label`` is the
    address as the log shows it, ``192.0.2.1:143``, ``[2001:db8::1]:143`` or
    ``unix:/path``; ``described`` is the same, and the name if it has one:
    ``192.0.2.1:143 (dovecot)``. Both are made once, as every session holds one.
    """

    name: str
    host: str
    port: int
    path: str = ""
    tls: Literal["off", "implicit", "starttls"] = "off"
    side: TlsSide | None = None
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
        contexts: MakesContext = client_context,
    ) -> None:
        self.contexts = contexts
        self._by_name = {
            name: _endpoint(backend, address, contexts)
            for name, backend in configured.items()
            if (address := backend.address_for(protocol))
        }
        self._by_address = {
            (canonical_host(address.host), address.port): _endpoint(backend, address, contexts)
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

    def at(self, host: str, port: int) -> Endpoint:
        """The backend configured at this address; any other address is plaintext, as in nginx."""
        return self._by_address.get((canonical_host(host), port)) or Endpoint("", host, port)


def _endpoint(backend: Backend, address: Address, contexts: MakesContext) -> Endpoint:
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
