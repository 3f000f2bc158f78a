"""``auth = "passthrough"``: the backend verifies what the client gave."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from geomail.auth.base import Accepted, Refused, Source, Verdict
from geomail.backends.routes import NamedRoute
from geomail.config.routes import get_domain
from geomail.parties import NoLogin, Refusal

if TYPE_CHECKING:
    from geomail.backends import Backends, Route
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
    """A source that routes by exact user, then by domain, then to the default."""

    passthrough: ClassVar[bool] = True

    def __init__(self, routes: Passthrough, backends: Backends, protocol: str) -> None:
        def route(name: str) -> Route | None:
            """Return None for a backend that does not speak the protocol: no other gets these passwords."""
            return NamedRoute(name) if backends.speaks(name, protocol) else None

        self._users = {user.encode(): route(name) for user, name in routes.users.items()}
        self._domains = {domain.encode(): route(name) for domain, name in routes.domains.items()}
        self._default = route(routes.default) if routes.default else None

    def check(self, login: Login, client: Client, protocol: str, attempt: int) -> Verdict:
        if isinstance(login.credentials, NoLogin):
            route = self._by_domain(get_domain(recipient(login.credentials.rcpt)))
            return Accepted(route, login.user, None) if route else _UNKNOWN_DOMAIN
        if login.user in self._users:
            route = self._users[login.user]
        else:
            route = self._by_domain(get_domain(login.user))
        return Accepted(route, login.user, login.password) if route else _UNKNOWN_USER

    def _by_domain(self, domain: bytes) -> Route | None:
        return self._domains.get(domain, self._default)


def recipient(command: bytes) -> bytes:
    """Return the address in ``RCPT TO:<address> …``, read leniently (no brackets, spaces before it).

    A ``>`` or space in a quoted local part does not end it (RFC 5321 4.1.2).
    A source route stays in front.
    """
    path = command.partition(b":")[2].lstrip(b" ")
    found = (_BRACKETED if path.startswith(b"<") else _BARE).match(path)
    return found[1] if found else b""
