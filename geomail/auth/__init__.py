"""Auth sources, one file each: they accept or refuse a login, and choose its route."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geomail.auth.http import HttpSource, make_tls_side
from geomail.auth.passthrough import PassthroughSource
from geomail.auth.services import AuthServices
from geomail.backends import Backends
from geomail.errors import GeomailError
from geomail.net.client_contexts import ClientContexts

if TYPE_CHECKING:
    from geomail.auth.base import Source
    from geomail.auth.users import Directory, Tell
    from geomail.config.schema import Config, Server
    from geomail.net.resolver import Resolver


class UnusableTls(GeomailError):
    """An error in the TLS settings of connections that geomail opens; the text names the connections."""


def make_client_contexts(config: Config) -> ClientContexts:
    """Make the TLS contexts of all connections to backends and auth services. Raises UnusableTls."""
    contexts = ClientContexts()
    try:
        Backends(config.backends, contexts)
    except OSError as error:
        raise UnusableTls(f"TLS of the backends: {error}") from None
    for server in config.servers:
        try:
            if server.auth == "http" and server.auth_http is not None:
                make_tls_side(server.auth_http, server.auth_http_ca, contexts)
        except OSError as error:
            raise UnusableTls(f"TLS of the auth service of server {server.name}: {error}") from None
    contexts.seal()
    return contexts


def make_directory(config: Config, tell: Tell) -> Directory | None:
    """Return the users file that the servers of a process share; None if no server has ``auth = "users"``."""
    if all(server.auth != "users" for server in config.servers):
        return None
    from geomail.auth.users import Directory  # it imports the hashing libraries, which few servers need

    return Directory(config.users, config.backends, tell)


def make_source(
    server: Server,
    config: Config,
    backends: Backends,
    resolver: Resolver,
    directory: Directory | None = None,
    services: AuthServices | None = None,
) -> Source:
    """Make the source that a server's ``auth`` names.

    ``directory`` is the users file, and ``services`` are the auth services, if servers share them.
    """
    if server.auth == "passthrough":
        return PassthroughSource(config.passthrough, backends, server.protocol)
    if server.auth == "users":
        from geomail.auth.users import Directory, UsersSource

        directory = directory or Directory(config.users, config.backends, lambda *_: None)
        return UsersSource(directory, backends, server.timeout)
    return HttpSource(server, backends, resolver, services or AuthServices(lambda *_: None))
