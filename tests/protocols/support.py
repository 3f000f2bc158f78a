"""Conversations with nobody, for the tests of the dialogues."""

from dataclasses import dataclass, field
from typing import Any

from geomail.config.schema import Server
from geomail.conversation import Rehearsal
from geomail.errors import SessionError
from geomail.parties import Asserted, Client, Credentials, Digest, Login, Refusal, Token
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.registry import PROTOCOLS

NAME = "mx.test"
OPTIONS = HandshakeOptions(server_name=NAME.encode())


def server(protocol: str, **options: Any) -> Server:
    """A server as the configuration makes it, with defaults for what is not given."""
    given = {"listen": "127.0.0.1:2525", "protocol": protocol, "server_name": NAME, **options}
    return Server.model_validate(given)


def client_at(
    address: str = "192.0.2.7", port: int = 41184, local: str = "192.0.2.1", local_port: int = 587
) -> Client:
    return Client(address, port, local, local_port)


#: One of each type that a backend cannot be told, and that is about a user.
WITHOUT_PASSWORD: tuple[Credentials, ...] = (
    Digest(b"u", b"digest", b"<1@x>", "apop"),
    Digest(b"u", b"digest", b"<1@x>", "cram-md5"),
    Token(b"u", b"token", "oauthbearer"),
    Token(b"u", b"token", "xoauth2"),
    Asserted(b"u"),
)


def digest_in(login: Login, scheme: str) -> Digest:
    """Return the digest that a client has logged in with."""
    assert isinstance(login.credentials, Digest)
    assert login.credentials.scheme == scheme
    return login.credentials


@dataclass
class Talk:
    """What a client's script led to: every login is refused with ``no``, until the script ends."""

    client: Rehearsal
    logins: list[Login] = field(default_factory=list)
    #: What ended it: None for a goodbye, PeerGone for the end of the script.
    ended: SessionError | None = None

    @property
    def said(self) -> list[bytes]:
        """The lines that geomail said after its greeting."""
        return self.client.said[1:]

    @property
    def shown(self) -> list[bytes]:
        """The client's lines, as they may be shown."""
        return [step.line for step in self.client.steps if step.sender == "peer"]


def talk(protocol: str, *lines: bytes, secured: bool = False, **options: Any) -> Talk:
    """Let a client say ``lines`` to a frontend, and the frontend have the last word."""
    client = Rehearsal(*lines, peer="client", secured=secured)
    frontend = PROTOCOLS[protocol](server(protocol, **options)).frontend(client, client_at())
    happened = Talk(client)
    try:
        frontend.greet()
        while (login := frontend.login()) is not None:
            happened.logins.append(login)
            frontend.refuse(Refusal(text=b"no"))
    except SessionError as error:
        happened.ended = error
        frontend.farewell(error)
    return happened
