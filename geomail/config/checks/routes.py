"""What is wrong or unwise about backends, and about the routes to them."""

from __future__ import annotations

from collections.abc import Iterator

from geomail.config.address import Address, is_literal, is_public
from geomail.config.checks.subject import IMPLICIT_TLS_PORTS
from geomail.config.lines import KeyPath
from geomail.config.messages import no_such_backend
from geomail.config.schema import Backend, Config, Passthrough, Users
from geomail.config.source import Source
from geomail.errors import Problem
from geomail.protocols.facts import FACTS


def broken_routes(config: Config, source: Source) -> Iterator[Problem]:
    """Routes to backends that do not exist, and routes that nobody takes."""
    backends = source.content.get("backends", {})
    auth_is_sound = not any(path[-1] == "auth" for path in source.broken)
    for kind, routes in (("passthrough", config.passthrough), ("users", config.users)):
        taken = list(_routes_of(("auth", kind), routes))
        for path, name in taken:
            if isinstance(backends, dict) and name not in backends:
                yield source.problem(path, no_such_backend(name, backends))
            elif name in config.backends:
                yield from _unspoken(path, config.backends[name], config, kind, source)
        given = taken or (kind == "users" and config.users.file)
        if given and auth_is_sound and all(server.auth != kind for server in config.servers):
            yield source.problem(("auth", kind), f'has no effect: no server has auth = "{kind}"', "warning")


def _unspoken(
    path: KeyPath, backend: Backend, config: Config, asked: str, source: Source
) -> Iterator[Problem]:
    """Protocols that users can log in with here, but not at the backend they are led to."""
    asking = {server.protocol for server in config.servers if server.auth == asked}
    spoken = [protocol for protocol in FACTS if protocol in asking]
    missing = [protocol for protocol in spoken if backend.addresses() and not backend.address_for(protocol)]
    if missing:
        text = f"[backends.{backend.name}] has no address for {', '.join(missing)}: refused there"
        yield source.problem(path, text, "warning")


def _routes_of(base: KeyPath, routes: Passthrough | Users) -> Iterator[tuple[KeyPath, str]]:
    """Every backend that a table names, and where."""
    if routes.default:
        yield (*base, "default"), routes.default
    for domain, name in routes.domains.items():
        yield (*base, "domains", domain), name
    if isinstance(routes, Passthrough):
        for user, name in routes.users.items():
            yield (*base, "users", user), name


def backend_problems(name: str, backend: Backend, source: Source) -> Iterator[Problem]:
    """What is wrong or unwise about one mail server."""
    base: KeyPath = ("backends", name)
    if any(path[:2] == base for path in source.broken):
        return
    yield from _backend_tls_keys(base, backend, source)
    if backend.tls != "off" and not backend.tls_verify:
        yield source.problem(
            (*base, "tls_verify"),
            "its certificate is not verified: anyone in between can read passwords",
            "warning",
        )
    if not backend.addresses():
        yield source.problem(base, f'it has no address: add address = "host:port", or {", ".join(FACTS)}')
    for key, address in backend.addresses().items():
        yield from _backend_address((*base, key), address, backend, source)


def _backend_address(path: KeyPath, address: Address, backend: Backend, source: Source) -> Iterator[Problem]:
    if address.port in IMPLICIT_TLS_PORTS and backend.tls != "implicit":
        text = f'port {address.port} is spoken with TLS from the start; here tls is "{backend.tls}"'
        yield source.problem(path, f'{text}, not "implicit"', "warning")
    elif backend.tls == "off" and is_literal(address.host) and is_public(address.host):
        yield source.problem(path, f"passwords go to {address.host} in clear; see tls", "warning")


def _backend_tls_keys(base: KeyPath, backend: Backend, source: Source) -> Iterator[Problem]:
    """Keys about TLS that do not fit together."""
    if backend.tls == "off":
        for key in ("tls_ca", "tls_name", "tls_verify", "tls_certificate", "tls_certificate_key"):
            if source.has((*base, key)):
                yield source.problem((*base, key), "has no effect: tls is off", "warning")
    elif backend.tls_certificate_key and not backend.tls_certificate:
        yield source.problem((*base, "tls_certificate_key"), "a key without tls_certificate")
    elif backend.tls_verify and not backend.tls_name and any(a.path for a in backend.addresses().values()):
        yield source.problem(
            base, "a unix socket has no name that a certificate could be verified by; add tls_name"
        )
