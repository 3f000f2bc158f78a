"""Routes: the way from a verdict to a backend. Only this folder turns a route into connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NamedRoute:
    """The configured backend of the table ``[backends.NAME]``."""

    name: str


@dataclass(frozen=True, slots=True)
class AddressRoute:
    """The address that an auth service named: an IP address or a host name, and a port.

    ``source`` names the auth service in errors. ``only_configured``: the address
    must be the address of a configured backend (``auth_http_backends``).
    """

    host: str
    port: int
    source: str
    only_configured: bool = False

    @property
    def label(self) -> str:
        """The address as the log shows it."""
        return format_address(self.host, self.port)


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """The Unix socket that the operator names on the command line."""

    path: str


Route = NamedRoute | AddressRoute | SocketRoute


def format_address(host: str, port: int) -> str:
    """Write an address as the log shows it: ``192.0.2.1:143``, ``[2001:db8::1]:143``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
