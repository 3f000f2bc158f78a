"""IMAP (RFC 9051): ``frontend``, ``arguments`` and ``identity`` serve clients, ``handshake`` backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geomail.conversation import Conversation
from geomail.parties import Client, Login
from geomail.protocols.base import HandshakeOptions, Protocol
from geomail.protocols.facts import IMAP
from geomail.protocols.imap.frontend import ImapFrontend, ImapReplies
from geomail.protocols.imap.handshake import handshake
from geomail.protocols.imap.imagined import ImaginedImapBackend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geomail.config.schema import Server

__all__ = ["ImapFrontend", "ImapProtocol", "ImapReplies", "handshake"]


class ImapProtocol(Protocol):
    """The protocol of a server with ``protocol = "imap"``."""

    facts = IMAP

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._replies = ImapReplies(server)

    def frontend(self, conversation: Conversation, client: Client) -> ImapFrontend:
        return ImapFrontend(conversation, client, self._replies)

    def handshake(
        self, backend: Conversation, login: Login, client: Client, options: HandshakeOptions
    ) -> tuple[bytes, ...]:
        return handshake(backend, login, client, options)

    @staticmethod
    def imagine_backend(offers: Sequence[str]) -> ImaginedImapBackend:
        return ImaginedImapBackend()
