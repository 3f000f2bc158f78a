"""Who may log in, and where to: one file per source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geomail.auth.http import HttpSource
from geomail.auth.passthrough import PassthroughSource

if TYPE_CHECKING:
    from geomail.auth.base import Source
    from geomail.backends import Backends
    from geomail.config.schema import Config, Server
    from geomail.net.resolver import Resolver


def source_for(server: Server, config: Config, backends: Backends, resolver: Resolver) -> Source:
    """The source that a server's ``auth`` names."""
    if server.auth == "passthrough":
        return PassthroughSource(config.passthrough, backends)
    return HttpSource(server, backends, resolver)
