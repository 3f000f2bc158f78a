"""The steps before the dialogue: PROXY header, implicit TLS, the client's name, a delayed greeting."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from geomail.errors import EarlyTalker, PeerGone, PeerTimeout, SessionError
from geomail.net.timing import TimeLimit
from geomail.parties import Client, choose_name
from geomail.protocols import proxy_header

if TYPE_CHECKING:
    from geomail.config.schema import Listen
    from geomail.net.wire import Wire
    from geomail.session.service import Service


def run_preface(
    wire: Wire,
    client: Client,
    service: Service,
    listen: Listen,
    remark: Callable[[str], None],
    leave: Callable[[SessionError], object],
) -> None:
    """Do what comes between accept and greeting; ``client`` gets its address and name.

    ``remark`` gets texts for the operator. ``leave`` is called if the client
    leaves while its name is looked up. Raises SessionError.
    """
    server = service.server
    if listen.proxy_protocol or listen.ssl:
        wire.half_said = listen.ssl  # geomail can say nothing before the TLS handshake has ended
        with TimeLimit(server.timeout, blame="client", private="client timed out before the greeting"):
            if listen.proxy_protocol:
                proxy_header.introduce(wire, client, service.trusted)
            if listen.ssl:
                wire.begin_tls()
    facts = service.protocol.facts
    if facts.names_clients:
        service.lookout.begin(wire, leave)
        try:
            _find_name(client, service, remark)
        finally:
            service.lookout.end(wire)
    if facts.greeting_delay_option and (delay := getattr(server, facts.greeting_delay_option)):
        _wait_silently(wire, delay)


def _find_name(client: Client, service: Service, remark: Callable[[str], None]) -> None:
    found = service.resolver.find_client_name(client.address, service.server.timeout)
    client.name = choose_name(found.name, found.temporary)
    if found.problem:
        remark(found.problem)


def _wait_silently(wire: Wire, seconds: float) -> None:
    """Wait, and raise EarlyTalker if the client speaks: only spam engines do not wait (RFC 5321 4.3.1)."""
    try:
        with TimeLimit(seconds, blame="client", private="silent, as it should be"):
            early = wire.receive(512)
    except PeerTimeout:
        return
    if not early:
        raise PeerGone("closed the connection before the greeting", blame="client")
    raise EarlyTalker("client spoke before the greeting", blame="client")
