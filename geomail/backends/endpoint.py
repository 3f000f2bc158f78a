"""One address of a backend, and the TLS of connections to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from geomail.backends.routes import format_address
from geomail.net.tls import TlsSide

if TYPE_CHECKING:
    from geomail.config.schema import Address, Backend
    from geomail.net.client_contexts import ContextMaker
    from geomail.net.connect import Address as SocketAddress


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a backend, and the TLS to use there; ``path`` is the path of a Unix socket, else empty.

    ``name`` is the name of the configured backend, empty for an address that
    only an auth service named. ``side`` is None if ``tls`` is off. ``label`` is
    the address as the log shows it: ``192.0.2.1:143``, ``[2001:db8::1]:143`` or
    ``unix:/path``. ``full_label`` adds the name, if there is one:
    ``192.0.2.1:143 (dovecot)``. Both are made once, because every session shows
    one. ``addresses`` are the addresses of the host if geomail has already looked
    it up: that look-up showed that the host is not a configured backend, and
    another look-up might give another result.
    """

    name: str
    host: str
    port: int
    path: str = ""
    tls: Literal["off", "implicit", "starttls"] = "off"
    side: TlsSide | None = None
    addresses: tuple[SocketAddress, ...] = ()
    label: str = field(init=False)
    full_label: str = field(init=False)

    def __post_init__(self) -> None:
        label = f"unix:{self.path}" if self.path else format_address(self.host, self.port)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "full_label", f"{label} ({self.name})" if self.name else label)


def make_endpoint(backend: Backend, address: Address, contexts: ContextMaker) -> Endpoint:
    """Make the endpoint of a backend at one of its addresses. Raises OSError if a TLS file cannot be used."""
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
