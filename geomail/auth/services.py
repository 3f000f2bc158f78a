"""The auth services of a process: each has one pool of connections, which servers share."""

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

    ``note`` gets the mistakes of a service, as incidents. ``contexts`` makes the
    TLS contexts of connections to services.
    """

    def __init__(self, note: Note, contexts: ContextMaker = make_client_context) -> None:
        self.contexts = contexts
        self._note = note
        self._pools: dict[tuple[Any, ...], Pool] = {}

    def get_pool(self, server: Server, name: str) -> Pool:
        """Return the pool of the server's auth service; the log calls that service ``name``.

        If several servers ask one service, the largest ``auth_http_connections`` applies.
        """
        url, most = server.auth_http, server.auth_http_connections
        assert url is not None, "auth = http without auth_http"
        key = (url.scheme, url.host, url.port, url.path, server.auth_http_ca)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(most, partial(self._note_unasked, name))
        pool.most = max(pool.most, most)
        return pool

    def _note_unasked(self, name: str, is_new: bool) -> None:
        text = (
            f"{name} sent bytes that geomail did not ask for: from now on, each connection to it serves one"
            " question; make it answer each question once, with the length of the body in Content-Length"
        )
        self._note("auth_unasked", text if is_new else "")
