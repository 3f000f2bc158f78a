"""The record of a session: made at accept, completed step by step, logged at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from geomail.events import SessionClosed
from geomail.net.timing import now
from geomail.parties import Client

if TYPE_CHECKING:
    from geomail.errors import SessionError
    from geomail.net.wire import Wire
    from geomail.parties import Login

#: The facts that ``who`` shows, under the names of the closing event.
_SHOWN = (
    *("session", "server", "protocol", "state", "client", "client_port", "local", "local_port"),
    *("tls", "user", "method", "backend", "bytes_in", "bytes_out"),
)


class SessionRecord(SessionClosed):
    """All facts of one session, and the event at its end; SessionClosed describes the fields.

    ``state`` is login, backend (geomail logs in at the backend) or relay.
    ``time`` is the ``time.time()`` of the accept until the session ends.
    """

    __slots__ = ("_began", "state")

    def __init__(self, session: str, server: str, protocol: str, listener: str) -> None:
        SessionClosed.__init__(self, time.time(), session)  # super() knows the class without slots
        self.server, self.protocol, self.listener = server, protocol, listener
        self.state: Literal["login", "backend", "relay"] = "login"
        self._began = now()

    def meet(self, client: Client) -> None:
        """Note the addresses of the client that are known now."""
        self.client, self.client_port = client.address, client.port
        self.local, self.local_port = client.local_address, client.local_port

    def note_login(self, login: Login) -> None:
        """Note the user and the method: the client's, or the auth source's in their place."""
        self.user, self.method = login.user.decode("utf-8", "backslashreplace"), login.credentials.method

    def end(self, outcome: str, side: str) -> None:
        """Note the outcome of the session, and the side that ends it."""
        self.outcome, self.side = outcome, side

    def fail(self, error: SessionError) -> None:
        """Note the error that ends the session."""
        self.outcome, self.side, self.step = error.outcome, error.blame, error.step
        self.reason = f"{error}; {error.hint}" if error.hint else str(error)

    def count(self, wire: Wire) -> None:
        """Note the TLS of the client's connection, and its bytes so far."""
        self.tls = " ".join(wire.tls_version_and_cipher or ())
        self.bytes_in, self.bytes_out = wire.received, wire.sent

    def make_client(self) -> Client:
        """Make a client of the addresses that are known."""
        return Client(self.client, self.client_port, self.local, self.local_port)

    def close(self, wire: Wire) -> None:
        """Note the facts that are known at the end."""
        self.count(wire)
        self.sni = wire.channel.server_name if wire.channel is not None else ""
        self.time = time.time()
        self.duration = now() - self._began

    def make_row(self, idle: float | None) -> dict[str, Any]:
        """Return the facts of a live session that ``who`` shows, by name.

        ``idle`` is the number of seconds since the relay copied bytes, None before the relay.
        """
        return {**{name: getattr(self, name) for name in _SHOWN}, "started": self.time, "idle": idle}

    def make_heading(self) -> tuple[float, str, str, str, str]:
        """Return the fields with which each event of the session begins."""
        return time.time(), self.session, self.server, self.protocol, self.client
