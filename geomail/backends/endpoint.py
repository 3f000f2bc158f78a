"""Which backend a login goes to, and with what settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from geomail.net.resolver import canonical_host
from geomail.net.tls import TlsSide, client_context

if TYPE_CHECKING:
    from geomail.config.schema import Backend


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a backend listens and how it is spoken to; ``path`` is a Unix socket's, else empty.

    ``name`` is the configured backend's, empty for an address that only an
    auth service named. ``side`` is None where ``tls`` is off.
    """

    name: str
    host: str
    port: int
    path: str = ""
    tls: Literal["off", "implicit", "starttls"] = "off"
    side: TlsSide | None = None

    @property
    def label(self) -> str:
        """The address as the log shows it: ``192.0.2.1:143``, ``[2001:db8::1]:143``, ``unix:/path``."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def described(self) -> str:
        """The address, and the name if it has one: ``192.0.2.1:143 (dovecot)``."""
        return f"{self.label} ({self.name})" if self.name else self.label


class Backends:
    """The configured backends, by name and by address."""

    def __init__(self, configured: Mapping[str, Backend]) -> None:
        self._by_name = {name: _endpoint(backend) for name, backend in configured.items()}
        self._by_address = {
            (canonical_host(endpoint.host), endpoint.port): endpoint
            for endpoint in self._by_name.values()
            if not endpoint.path
        }

    def named(self, name: str) -> Endpoint:
        """The backend of the table ``[backends.NAME]``. Raises KeyError."""
        return self._by_name[name]

    def at(self, host: str, port: int) -> Endpoint:
        """The backend configured at this address; any other address is plaintext, as in nginx."""
        return self._by_address.get((canonical_host(host), port)) or Endpoint("", host, port)


def _endpoint(backend: Backend) -> Endpoint:
    side = None
    if backend.tls != "off":
        context = client_context(
            ca=backend.tls_ca,
            verify=backend.tls_verify,
            certificate=backend.tls_certificate,
            key=backend.tls_certificate_key,
        )
        side = TlsSide(context, server=False, server_name=backend.tls_name or backend.host or None)
    return Endpoint(backend.name, backend.host, backend.port, backend.path, backend.tls, side)
