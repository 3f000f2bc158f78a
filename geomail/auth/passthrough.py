"""``auth = "passthrough"``: nobody is asked, the backend verifies what the client gave."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from geomail.auth.base import Accepted, Refused, Source, Verdict
from geomail.config.routes import get_domain
from geomail.parties import Refusal

if TYPE_CHECKING:
    from geomail.backends import Backends, Endpoint
    from geomail.config.schema import Passthrough
    from geomail.parties import Client, Login

#: To the client, a user without a route is a user with a wrong password.
_UNKNOWN_USER = Refused(
    Refusal(neutral=True), wait=0.0, close=False, reason="no route leads to a backend of this protocol"
)
_UNKNOWN_DOMAIN = Refused(
    Refusal(text=b"Bad destination system address", code=b"550 5.1.2"), wait=0.0, close=False
)

_QUOTED = rb'"(?:\\.|[^"\\])*"'
_BRACKETED = re.compile(rb'<((?:%b|[^">])*)' % _QUOTED)
_BARE = re.compile(rb'((?:%b|[^" ])*)' % _QUOTED)


class PassthroughSource(Source):
    """Routes by exact user, then by domain, then to the default."""

    passthrough: ClassVar[bool] = True

    def __init__(self, routes: Passthrough, backends: Backends) -> None:
        self._users = _endpoints(routes.users, backends)
        self._domains = _endpoints(routes.domains, backends)
        self._default = _endpoint(routes.default, backends) if routes.default else None

    def check(self, login: Login, client: Client, protocol: str, attempt: int) -> Verdict:
        if login.method == "none":
            backend = self._by_domain(get_domain(recipient(login.rcpt)))
            return Accepted(backend, login.user, None) if backend else _UNKNOWN_DOMAIN
        if login.user in self._users:
            backend = self._users[login.user]
        else:
            backend = self._by_domain(get_domain(login.user))
        return Accepted(backend, login.user, login.password) if backend else _UNKNOWN_USER

    def _by_domain(self, domain: bytes) -> Endpoint | None:
        return self._domains.get(domain, self._default)


def _endpoints(routes: dict[str, str], backends: Backends) -> dict[bytes, Endpoint | None]:
    return {key.encode(): _endpoint(name, backends) for key, name in routes.items()}


def _endpoint(name: str, backends: Backends) -> Endpoint | None:
    """The backend of a route; None where it does not speak the protocol: no other gets these passwords."""
    return backends.named(name) if backends.speaks(name) else None


def recipient(command: bytes) -> bytes:
    """The address in ``RCPT TO:<address> …``, read leniently (no brackets, spaces before it).

    A ``>`` or space in a quoted local part ends nothing (RFC 5321 4.1.2); a
    source route stays in front.
    """
    path = command.partition(b":")[2].lstrip(b" ")
    found = (_BRACKETED if path.startswith(b"<") else _BARE).match(path)
    return found[1] if found else b""
