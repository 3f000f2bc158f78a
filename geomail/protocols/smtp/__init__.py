"""SMTP (RFC 5321, RFC 4954): ``frontend`` serves clients, ``handshake`` and ``xclient`` backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geomail.conversation import Conversation
from geomail.parties import Client, Login
from geomail.protocols.base import HandshakeOptions, Protocol
from geomail.protocols.facts import SMTP
from geomail.protocols.smtp.frontend import SmtpFrontend, SmtpReplies
from geomail.protocols.smtp.handshake import handshake
from geomail.protocols.smtp.imagined import ImaginedSmtpBackend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geomail.config.schema import Server

__all__ = ["SmtpFrontend", "SmtpProtocol", "SmtpReplies", "handshake"]


class SmtpProtocol(Protocol):
    """The protocol of a server with ``protocol = "smtp"``."""

    facts = SMTP

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._replies = SmtpReplies(server)

    def frontend(self, conversation: Conversation, client: Client) -> SmtpFrontend:
        return SmtpFrontend(conversation, self._replies)

    def handshake(
        self, backend: Conversation, login: Login, client: Client, options: HandshakeOptions
    ) -> tuple[bytes, ...]:
        return handshake(backend, login, client, options)

    @staticmethod
    def imagine_backend(offers: Sequence[str]) -> ImaginedSmtpBackend:
        return ImaginedSmtpBackend(offers)
