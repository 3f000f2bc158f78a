"""The TLS contexts of connections that geomail opens, made before the processes that use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from geomail.net.tls import client_context

if TYPE_CHECKING:
    import ssl


class MakesContext(Protocol):
    """Gives the context of a client's side, as :func:`geomail.net.tls.client_context` does."""

    def __call__(
        self, *, ca: str | None, verify: bool, certificate: str | None = None, key: str | None = None
    ) -> ssl.SSLContext:
        """The context. Raises OSError where a file is wrong."""


class ClientContexts:
    """One context for all callers that ask for the same, kept; none is made after :meth:`seal`.

    The master makes them: the user of the workers may not be able to read the
    key, and a file may have changed when a worker is started in place of another.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str | None, bool, str | None, str | None], ssl.SSLContext] = {}
        self._sealed = False

    def __call__(
        self, *, ca: str | None, verify: bool, certificate: str | None = None, key: str | None = None
    ) -> ssl.SSLContext:
        """The context. Raises OSError where a file is wrong, KeyError where it was not made in time."""
        asked = ca, verify, certificate, key
        if asked not in self._made and not self._sealed:
            self._made[asked] = client_context(ca=ca, verify=verify, certificate=certificate, key=key)
        return self._made[asked]

    def forget(self) -> None:
        """Let go of all, for a process that opens no such connections."""
        self._made.clear()

    def seal(self) -> None:
        """Make no more."""
        self._sealed = True
