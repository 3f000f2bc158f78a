"""IMAP (RFC 9051): the client's side in ``frontend`` and ``arguments``, the backend's in ``handshake``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geomail.conversation import Conversation
from geomail.protocols.base import HandshakeOptions, Login, Peer, Protocol
from geomail.protocols.imap.frontend import ImapFrontend, ImapReplies
from geomail.protocols.imap.handshake import handshake

if TYPE_CHECKING:
    from geomail.config.schema import Server

__all__ = ["ImapFrontend", "ImapProtocol", "ImapReplies", "handshake"]


class ImapProtocol(Protocol):
    """What a server with ``protocol = "imap"`` speaks."""

    name = "imap"

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._replies = ImapReplies(server)

    def frontend(self, client: Conversation, peer: Peer) -> ImapFrontend:
        return ImapFrontend(client, peer, self._replies)

    def handshake(
        self, backend: Conversation, login: Login, peer: Peer, options: HandshakeOptions
    ) -> tuple[bytes, ...]:
        return handshake(backend, login, peer, options)
