"""The TLS contexts of connections that geomail opens, made before the processes that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from geomail.net.tls_contexts import make_client_context

if TYPE_CHECKING:
    import ssl


class ContextMaker(Protocol):
    """A function that returns the context of a client's side, as ``make_client_context`` does."""

    def __call__(
        self, *, ca: str | None, verify: bool, certificate: str | None = None, key: str | None = None
    ) -> ssl.SSLContext:
        """Return the context. Raises OSError if a file cannot be used."""


class ClientContexts:
    """A store of contexts: callers with the same settings get the same one. After :meth:`seal`, none is made.

    The master makes them: the workers' user may not be able to read the key, and
    a file may have changed when a new worker replaces another one.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str | None, bool, str | None, str | None], ssl.SSLContext] = {}
        self._sealed = False

    def __call__(
        self, *, ca: str | None, verify: bool, certificate: str | None = None, key: str | None = None
    ) -> ssl.SSLContext:
        """Return the context. Raises OSError if a file is bad, KeyError for a new one after :meth:`seal`."""
        asked = ca, verify, certificate, key
        if asked not in self._made and not self._sealed:
            self._made[asked] = make_client_context(ca=ca, verify=verify, certificate=certificate, key=key)
        return self._made[asked]

    def forget(self) -> None:
        """Drop all contexts, in a process that opens no such connections."""
        self._made.clear()

    def seal(self) -> None:
        """Make no more contexts."""
        self._sealed = True
