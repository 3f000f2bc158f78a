"""A session that must end while its relay gives up its greenlets.

These run on the sources alone: in the compiled build a stand-in cannot take the place of a relay.
"""

from __future__ import annotations

from typing import Any

from gevent import socket

from geomail.config.schema import Config
from geomail.errors import Kicked
from geomail.events import EventStream, SessionClosed
from geomail.net.crew import Crew
from geomail.net.parking import Parking
from geomail.net.tls_contexts import make_client_context
from geomail.net.wire import Wire
from geomail.session.service import Surroundings, make_services
from geomail.session.session import Session
from geomail.session.tracing import Tracing
from tests.net.support import raw
from tests.protocols.support import client_at, server


class SilentRelay:
    """A relay that is about to be parked; ``meanwhile`` happens just before it says so."""

    is_quiet, idle = False, 0.0

    def __init__(self, meanwhile: Any = lambda: None) -> None:
        self._meanwhile = meanwhile

    def run(self) -> None:
        self._meanwhile()


def make_session(closed: list[SessionClosed], client: socket.socket) -> Session:
    configured = server("imap", auth_http="127.0.0.1:9")
    events = EventStream()
    events.subscribe(closed.append, SessionClosed)
    parking: Parking[int] = Parking(lambda *_: None)
    surroundings = Surroundings(
        *(events, Crew(), parking, Tracing(lambda _: None)), tell=lambda *_: None, note=lambda *_: None
    )
    (service,) = make_services(Config(servers=(configured,)), surroundings, make_client_context)
    return Session("s-1", service, configured.listen[0], Wire(raw(client), "client", None), client_at())


def test_a_silent_relay_is_parked_and_its_session_stays_open() -> None:
    closed: list[SessionClosed] = []
    near, far = socket.socketpair()
    with far:
        session = make_session(closed, near)
        relay: Any = SilentRelay()
        session._relay = relay

        assert session.run() is relay
        assert closed == []
        session.end(Kicked("kicked by an operator"))
        assert session.run(session._ending) is None


def test_an_order_to_end_that_meets_a_relay_on_its_way_to_parking_is_not_lost() -> None:
    closed: list[SessionClosed] = []
    near, far = socket.socketpair()
    with far:
        session = make_session(closed, near)
        relay: Any = SilentRelay(lambda: session.end(Kicked("kicked by an operator")))
        session._relay = relay

        assert session.run() is None
        assert [(one.outcome, one.reason) for one in closed] == [("kicked", "kicked by an operator")]
