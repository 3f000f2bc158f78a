"""``auth = "passthrough"``: the backend verifies the client's credentials."""

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

#: The client gets the same answer for a user without a route as for a wrong password.
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
    """The auth source that chooses a route by the exact user, then by the domain, then the default."""

    passthrough: ClassVar[bool] = True

    def __init__(self, routes: Passthrough, backends: Backends, protocol: str) -> None:
        def make_route(name: str) -> Route | None:
            """Return the route to a backend; None if it does not speak the protocol."""
            return NamedRoute(name) if backends.speaks(name, protocol) else None

        self._users = {user.encode(): make_route(name) for user, name in routes.users.items()}
        self._domains = {domain.encode(): make_route(name) for domain, name in routes.domains.items()}
        self._default = make_route(routes.default) if routes.default else None

    def check(self, login: Login, client: Client, protocol: str, attempt: int) -> Verdict:
        if isinstance(login.credentials, NoLogin):
            route = self._find_by_domain(get_domain(get_recipient(login.credentials.rcpt)))
            return Accepted(route, login.user, None) if route else _UNKNOWN_DOMAIN
        if login.user in self._users:
            route = self._users[login.user]
        else:
            route = self._find_by_domain(get_domain(login.user))
        return Accepted(route, login.user, login.password) if route else _UNKNOWN_USER

    def _find_by_domain(self, domain: bytes) -> Route | None:
        return self._domains.get(domain, self._default)


def get_recipient(command: bytes) -> bytes:
    """Return the address in ``RCPT TO:<address> …``; the brackets may be missing, spaces may precede it.

    A ``>`` or a space in a quoted local part does not end the address (RFC 5321
    4.1.2). A source route remains part of it.
    """
    path = command.partition(b":")[2].lstrip(b" ")
    found = (_BRACKETED if path.startswith(b"<") else _BARE).match(path)
    return found[1] if found else b""
