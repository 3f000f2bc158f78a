"""The auth services that a process asks: each has one pool of connections for all servers that ask it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from geomail.net.pool import Pool
from geomail.net.tls_contexts import make_client_context

if TYPE_CHECKING:
    from geomail.auth.base import Note
    from geomail.config.schema import Server
    from geomail.net.client_contexts import ContextMaker


class AuthServices:
    """The pools of the ``auth_http`` services.

    ``note`` is called with what a service did wrong. ``contexts`` makes the TLS
    contexts of connections to services.
    """

    def __init__(self, note: Note, contexts: ContextMaker = make_client_context) -> None:
        self.contexts = contexts
        self._note = note
        self._pools: dict[tuple[Any, ...], Pool] = {}

    def pool(self, server: Server, name: str) -> Pool:
        """Return the pool of the server's service, called ``name`` in the log.

        If several servers ask one service, the largest ``auth_http_connections`` counts.
        """
        url, most = server.auth_http, server.auth_http_connections
        assert url is not None, "auth = http without auth_http"
        key = (url.scheme, url.host, url.port, url.path, server.auth_http_ca)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(most, partial(self._speaks_unasked, name))
        pool.most = max(pool.most, most)
        return pool

    def _speaks_unasked(self, name: str, is_new: bool) -> None:
        text = (
            f"{name} said something that it was not asked: its connections are used for one question each"
            " from now on; see that it answers once, and that Content-Length is the length of the body"
        )
        self._note("auth_unasked", text if is_new else "")
