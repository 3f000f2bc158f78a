"""The last words to a client whose session fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geomail.errors import BackendRefused, Farewell, GeomailError, SessionError
from geomail.net.timing import TimeLimit

if TYPE_CHECKING:
    from geomail.net.relay import Relay
    from geomail.net.wire import Wire
    from geomail.parties import Client
    from geomail.protocols.base import Frontend
    from geomail.session.service import Service

#: Seconds for the last words to a client that does not read them.
_SECONDS = 5.0


class Interruption(BaseException):
    """An exception that ends a session with ``error``, from another greenlet; no other code catches it."""

    def __init__(self, error: SessionError) -> None:
        super().__init__(str(error))
        self.error = error


def say_farewell(
    error: SessionError,
    service: Service,
    wire: Wire,
    client: Client,
    frontend: Frontend | None,
    relay: Relay | None,
) -> None:
    """Tell the client why its session ends, if it was greeted or must know why there is no greeting.

    Say nothing where the client could misunderstand it: within a line that is
    half sent, or in a relay that is not quiet.
    """
    if wire.half_said or (relay is not None and not relay.is_quiet):
        return
    if error.farewell is Farewell.GOODBYE and frontend is None and relay is None:
        return
    words: tuple[bytes, ...] = ()
    if isinstance(error, BackendRefused) and service.server.proxy_pass_error_message:
        words = error.reply
    try:
        with TimeLimit(_SECONDS, blame="client", private="client does not read"):
            (frontend or service.protocol.frontend(wire, client)).farewell(error, words)
    except (GeomailError, Interruption):
        pass  # the client has already left, or does not read
