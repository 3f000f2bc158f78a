"""What the protocols share: the classes that each of them implements."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from geomail.parties import Refusal
from geomail.protocols.facts import ProtocolFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geomail.config.schema import Server
    from geomail.conversation import Conversation
    from geomail.errors import BackendRefused, SessionError
    from geomail.parties import Client, Login


BackendTls = Literal["off", "implicit", "starttls"]


@dataclass(frozen=True, slots=True)
class HandshakeOptions:
    """How a backend is spoken to: the server's options and the backend's, resolved.

    ``authenticate``: SMTP AUTH is sent (``proxy_smtp_auth`` or passthrough).
    ``passthrough``: the backend verifies what the client gave, so no name is
    vouched for (no ``LOGIN=`` in XCLIENT) and its 235 is the client's.
    ``tls`` is the backend's: off, implicit or starttls.
    """

    server_name: bytes
    xclient: Literal["on", "off", "auto"] = "on"
    authenticate: bool = False
    passthrough: bool = False
    proxy_protocol: Literal["off", "on", "v2"] = "off"
    tls: BackendTls = "off"

    @classmethod
    def of(cls, server: Server, tls: BackendTls, passthrough: bool) -> HandshakeOptions:
        """The options of a server's sessions, towards a backend that wants this ``tls``."""
        return cls(
            server_name=server.server_name.encode(),
            xclient=server.xclient,
            authenticate=server.proxy_smtp_auth or passthrough,
            passthrough=passthrough,
            proxy_protocol=server.proxy_protocol,
            tls=tls,
        )


class Frontend(metaclass=ABCMeta):
    """geomail's side of one client's dialogue, until the relay."""

    __slots__ = ()

    @abstractmethod
    def greet(self) -> None:
        """Send the greeting."""

    @abstractmethod
    def login(self) -> Login | None:
        """Answer commands until the client has identified itself.

        None: it said goodbye (QUIT, LOGOUT) and was answered. Raises
        SessionError; after TooManyErrors nothing more is to be said.
        """

    @abstractmethod
    def refuse(self, refusal: Refusal) -> None:
        """Tell the client that its last login failed; :meth:`login` may follow."""

    @abstractmethod
    def accept(self, answer: tuple[bytes, ...]) -> None:
        """Give the client the answer that the handshake returned."""

    @abstractmethod
    def farewell(self, error: SessionError, words: tuple[bytes, ...] = ()) -> None:
        """Say the last words that ``error.farewell`` asks for, in this protocol's terms.

        A login that still waits for its answer is answered, by the backend's
        own ``words`` where they are given.
        """


class ImaginedBackend(metaclass=ABCMeta):
    """A backend that exists only in a preview: it accepts every handshake that its extensions allow."""

    greeting: ClassVar[bytes]

    @abstractmethod
    def answer(self, line: bytes) -> list[bytes]:
        """Return the lines that answer a line of geomail's."""


class Protocol(metaclass=ABCMeta):
    """What one ``[[mail.server]]`` speaks: made once, shared by its sessions."""

    facts: ClassVar[ProtocolFacts]

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def name(self) -> str:
        """The name of the protocol."""
        return self.facts.name

    @abstractmethod
    def frontend(self, conversation: Conversation, client: Client) -> Frontend:
        """The dialogue with a client that has just connected."""

    @abstractmethod
    def handshake(
        self, backend: Conversation, login: Login, client: Client, options: HandshakeOptions
    ) -> tuple[bytes, ...]:
        """Bring a fresh backend to where the client is; returns the client's answer.

        The first bytes said are the PROXY header, then TLS if it is implicit.
        Raises BackendRefused, BackendGarbage, and what the conversation raises.
        """

    @staticmethod
    @abstractmethod
    def imagine_backend(offers: Sequence[str]) -> ImaginedBackend:
        """Return a fresh backend for a preview, which has the extensions in ``offers``."""


def passed_on(refused: BackendRefused, pass_words: bool) -> Refusal:
    """The refusal that a backend's no about the credentials becomes for the client."""
    if pass_words:
        return Refusal(reply=refused.reply)
    return Refusal(neutral=True, temporary=refused.temporary)
