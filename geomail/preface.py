"""What happens to a client before the dialogue: PROXY header, implicit TLS, its name, a delayed greeting."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from geomail.errors import EarlyTalker, PeerGone, PeerTimeout, SessionError
from geomail.net.timing import TimeLimit
from geomail.protocols import proxy_header
from geomail.protocols.base import Peer, told_name

if TYPE_CHECKING:
    from geomail.config.schema import Listen
    from geomail.net.wire import Wire
    from geomail.service import Service


def preface(
    client: Wire,
    peer: Peer,
    service: Service,
    listen: Listen,
    remark: Callable[[str], None],
    leave: Callable[[SessionError], object],
) -> None:
    """Bring a client that was just accepted to where it is greeted; ``peer`` learns who it is.

    ``remark`` gets what the operator should hear of, ``leave`` is called where
    the client has gone while its name is looked up. Raises SessionError.
    """
    server = service.server
    if listen.proxy_protocol or listen.ssl:
        client.half_said = listen.ssl  # until its TLS is there, nothing can be said
        with TimeLimit(server.timeout, blame="client", private="client timed out before the greeting"):
            if listen.proxy_protocol:
                proxy_header.introduce(client, peer, service.trusted)
            if listen.ssl:
                client.begin_tls()
    if service.protocol.name == "smtp":
        service.lookout.begin(client, leave)
        try:
            _name(peer, service, remark)
        finally:
            service.lookout.end(client)
        if server.smtp_greeting_delay:
            _wait_silently(client, server.smtp_greeting_delay)


def _name(peer: Peer, service: Service, remark: Callable[[str], None]) -> None:
    found = service.resolver.client_name(peer.address, service.server.timeout)
    peer.name = told_name(found.name, found.temporary)
    if found.problem:
        remark(found.problem)


def _wait_silently(client: Wire, seconds: float) -> None:
    """RFC 5321 4.3.1: a client waits for the greeting; those that do not are spam engines."""
    try:
        with TimeLimit(seconds, blame="client", private="silent, as it should be"):
            early = client.receive(512)
    except PeerTimeout:
        return
    if not early:
        raise PeerGone("closed the connection before the greeting", blame="client")
    raise EarlyTalker("client spoke before the greeting", blame="client")
