"""The faces of a protocol: the frontend that clients talk to, and the handshake with a backend."""

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
    """The options of a handshake, from the server and from the backend.

    ``authenticate``: geomail sends SMTP AUTH (``proxy_smtp_auth`` or passthrough).
    ``passthrough``: the backend verifies the client's own credentials. So geomail
    does not vouch for the user (no ``LOGIN=`` in XCLIENT), and the client gets
    the backend's 235. ``tls`` is the backend's.
    """

    server_name: bytes
    xclient: Literal["on", "off", "auto"] = "on"
    authenticate: bool = False
    passthrough: bool = False
    proxy_protocol: Literal["off", "on", "v2"] = "off"
    tls: BackendTls = "off"

    @classmethod
    def of(cls, server: Server, tls: BackendTls, passthrough: bool) -> HandshakeOptions:
        """Return the options of a server's sessions with a backend that has this ``tls``."""
        return cls(
            server_name=server.server_name.encode(),
            xclient=server.xclient,
            authenticate=server.proxy_smtp_auth or passthrough,
            passthrough=passthrough,
            proxy_protocol=server.proxy_protocol,
            tls=tls,
        )


class Frontend(metaclass=ABCMeta):
    """geomail's side of one client's dialogue, until the relay.

    Its owner calls :meth:`greet`, then :meth:`login`. Each login gets one
    answer: :meth:`accept`, after which the relay begins, or :meth:`refuse`,
    after which :meth:`login` may be called again. :meth:`farewell` may end the
    dialogue at any time. Every method may raise a SessionError; then only
    :meth:`farewell` may follow.
    """

    __slots__ = ()

    @abstractmethod
    def greet(self) -> None:
        """Send the greeting."""

    @abstractmethod
    def login(self) -> Login | None:
        """Answer commands until the client gives its credentials, and return the login.

        Return None after the answer to a goodbye (QUIT, LOGOUT).
        """

    @abstractmethod
    def refuse(self, refusal: Refusal) -> None:
        """Tell the client that its last login failed."""

    @abstractmethod
    def accept(self, answer: tuple[bytes, ...]) -> None:
        """Send the client the answer that the handshake returned."""

    @abstractmethod
    def farewell(self, error: SessionError, words: tuple[bytes, ...] = ()) -> None:
        """Send the last words that ``error.farewell`` asks for, in this protocol's form.

        A login that still waits for its answer gets it: the backend's own
        ``words`` if they are given.
        """


class ImaginedBackend(metaclass=ABCMeta):
    """A backend that exists only in a preview: it accepts every handshake that its extensions allow."""

    greeting: ClassVar[bytes]

    @abstractmethod
    def answer(self, line: bytes) -> list[bytes]:
        """Return the lines that answer a line of geomail's."""


class Protocol(metaclass=ABCMeta):
    """The protocol of one ``[[mail.server]]``: made once, shared by all its sessions."""

    facts: ClassVar[ProtocolFacts]

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def name(self) -> str:
        """The name of the protocol."""
        return self.facts.name

    @abstractmethod
    def frontend(self, conversation: Conversation, client: Client) -> Frontend:
        """Make the frontend for a client that has just connected."""

    @abstractmethod
    def handshake(
        self, backend: Conversation, login: Login, client: Client, options: HandshakeOptions
    ) -> tuple[bytes, ...]:
        """Bring a fresh backend to the same state as the client, and return the client's answer.

        Nothing has been said to the backend yet: the PROXY header and implicit
        TLS come first. Raises BackendRefused, BackendGarbage, AuthUnavailable if
        the backend needs a password and the login has none, and the errors of
        the conversation.
        """

    @staticmethod
    @abstractmethod
    def imagine_backend(offers: Sequence[str]) -> ImaginedBackend:
        """Return a fresh backend for a preview, which has the extensions in ``offers``."""


def pass_on(refused: BackendRefused, pass_words: bool) -> Refusal:
    """Return the refusal for a client after a backend refused it; ``pass_words``: in the backend's words."""
    if pass_words:
        return Refusal(reply=refused.reply)
    return Refusal(neutral=True, temporary=refused.temporary)
