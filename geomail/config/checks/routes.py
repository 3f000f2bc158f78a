"""Checks of backends, and of the routes to them."""

from __future__ import annotations

from collections.abc import Iterator

from geomail.config.address import Address, is_literal, is_public
from geomail.config.checks.subject import IMPLICIT_TLS_PORTS
from geomail.config.lines import KeyPath
from geomail.config.messages import describe_unknown_backend
from geomail.config.schema import Backend, Config, Passthrough, Users
from geomail.config.source import Source
from geomail.errors import Problem
from geomail.protocols.facts import FACTS


def check_routes(config: Config, source: Source) -> Iterator[Problem]:
    """Report routes to backends that do not exist, and routes that no server uses."""
    backends = source.content.get("backends", {})
    auth_is_sound = not any(path[-1] == "auth" for path in source.broken)
    for kind, routes in (("passthrough", config.passthrough), ("users", config.users)):
        taken = list(_list_routes(("auth", kind), routes))
        for path, name in taken:
            if isinstance(backends, dict) and name not in backends:
                yield source.make_problem(path, describe_unknown_backend(name, backends))
            elif name in config.backends:
                yield from _check_protocols(path, config.backends[name], config, kind, source)
        given = taken or (kind == "users" and config.users.file)
        if given and auth_is_sound and all(server.auth != kind for server in config.servers):
            yield source.make_problem(
                ("auth", kind),
                f'has no effect, as no server has auth = "{kind}"; '
                "add that to a server, or remove this table",
                "warning",
            )


def _check_protocols(
    path: KeyPath, backend: Backend, config: Config, asked: str, source: Source
) -> Iterator[Problem]:
    """Warn of protocols that clients can use here, but that the backend of the route does not speak."""
    asking = {server.protocol for server in config.servers if server.auth == asked}
    spoken = [protocol for protocol in FACTS if protocol in asking]
    missing = [protocol for protocol in spoken if backend.addresses() and not backend.address_for(protocol)]
    if missing:
        text = (
            f"[backends.{backend.name}] has no address for {', '.join(missing)}, so such logins are refused; "
            "add one"
        )
        yield source.make_problem(path, text, "warning")


def _list_routes(base: KeyPath, routes: Passthrough | Users) -> Iterator[tuple[KeyPath, str]]:
    """List every backend that a table names, with its path."""
    if routes.default:
        yield (*base, "default"), routes.default
    for domain, name in routes.domains.items():
        yield (*base, "domains", domain), name
    if isinstance(routes, Passthrough):
        for user, name in routes.users.items():
            yield (*base, "users", user), name


def check_backend(name: str, backend: Backend, source: Source) -> Iterator[Problem]:
    """Report what is wrong or unwise about one backend."""
    base: KeyPath = ("backends", name)
    if any(path[:2] == base for path in source.broken):
        return
    yield from _check_backend_tls(base, backend, source)
    if backend.tls != "off" and not backend.tls_verify:
        yield source.make_problem(
            (*base, "tls_verify"),
            "the backend's certificate is not verified, so an attacker on the way to it can read passwords; "
            "set tls_verify to true",
            "warning",
        )
    if not backend.addresses():
        addresses = ", ".join(FACTS)
        yield source.make_problem(
            base, f'the backend has no address; add address = "host:port", or {addresses}'
        )
    for key, address in backend.addresses().items():
        yield from _check_backend_address((*base, key), address, backend, source)


def _check_backend_address(
    path: KeyPath, address: Address, backend: Backend, source: Source
) -> Iterator[Problem]:
    if address.port in IMPLICIT_TLS_PORTS and backend.tls != "implicit":
        text = (
            f'port {address.port} needs TLS from the start, but tls is "{backend.tls}"; set tls = "implicit"'
        )
        yield source.make_problem(path, text, "warning")
    elif backend.tls == "off" and is_literal(address.host) and is_public(address.host):
        yield source.make_problem(path, f"passwords go to {address.host} in clear text; set tls", "warning")


def _check_backend_tls(base: KeyPath, backend: Backend, source: Source) -> Iterator[Problem]:
    """Report keys about TLS that do not fit together."""
    if backend.tls == "off":
        for key in ("tls_ca", "tls_name", "tls_verify", "tls_certificate", "tls_certificate_key"):
            if source.has((*base, key)):
                yield source.make_problem(
                    (*base, key), "has no effect, as tls is off; set tls, or remove it", "warning"
                )
    elif backend.tls_certificate_key and not backend.tls_certificate:
        yield source.make_problem((*base, "tls_certificate_key"), "needs tls_certificate; add it")
    elif backend.tls_verify and not backend.tls_name and any(a.path for a in backend.addresses().values()):
        yield source.make_problem(
            base, "a Unix socket has no host name to verify a certificate by; add tls_name"
        )
