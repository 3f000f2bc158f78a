"""One address of a backend, and how the backend is spoken to there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from geomail.backends.routes import address_label
from geomail.net.tls import TlsSide

if TYPE_CHECKING:
    from geomail.config.schema import Address, Backend
    from geomail.net.client_contexts import ContextMaker
    from geomail.net.connect import Address as SocketAddress


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a backend listens and how it is spoken to; ``path`` is a Unix socket's, else empty.

    ``name`` is the configured backend's, empty for an address that only an
    auth service named. ``side`` is None where ``tls`` is off. ``label`` is the
    address as the log shows it, ``192.0.2.1:143``, ``[2001:db8::1]:143`` or
    ``unix:/path``; ``described`` is the same, and the name if it has one:
    ``192.0.2.1:143 (dovecot)``. Both are made once, as every session shows one.
    ``addresses`` are those of the host if it was looked up already: that
    look-up found that the host is not a configured backend, and another
    look-up might find something else.
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
        label = f"unix:{self.path}" if self.path else address_label(self.host, self.port)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "described", f"{label} ({self.name})" if self.name else label)


def configured_endpoint(backend: Backend, address: Address, contexts: ContextMaker) -> Endpoint:
    """Make the endpoint of a configured backend at one of its addresses. Raises OSError for its TLS files."""
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
