"""What the three protocols share: the parties of a session, and their faces."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from geomail.certificates import ClientCertificate, TlsDetails
    from geomail.config.schema import Server
    from geomail.conversation import Conversation
    from geomail.errors import BackendRefused, SessionError

UNAVAILABLE = b"[UNAVAILABLE]"
TEMPUNAVAIL = b"[TEMPUNAVAIL]"

Method = Literal["plain", "apop", "cram-md5", "external", "none"]
BackendTls = Literal["off", "implicit", "starttls"]


@dataclass(frozen=True, slots=True)
class ProxyAddresses:
    """The addresses that a client's PROXY header carried."""

    source: str
    source_port: int
    destination: str
    destination_port: int


@dataclass(slots=True, init=False)  # compiled, the generated __init__ takes ten times as long
class Peer:
    """A client: where it comes from and where it came in.

    ``address`` is an IP address in text (``192.0.2.1``, ``2001:db8::1``,
    ``::ffff:192.0.2.1`` for a mapped one) or ``unix:``; ``local_address`` is
    geomail's end of the connection. ``name`` is the verified host name,
    ``[UNAVAILABLE]`` or ``[TEMPUNAVAIL]`` (SMTP only).
    ``tls`` holds protocol and cipher name while TLS is active; ``certificate``
    is what the client showed, None where it was not asked for one;
    ``tls_details`` is for a backend that is told of them in a PROXY header.
    ``session`` is the session's id, for those who are told it
    (``pass_session_id``); else it is empty. ``client_id`` is what an IMAP
    client has said of itself.
    """

    address: str
    port: int
    local_address: str
    local_port: int
    name: bytes
    proxy: ProxyAddresses | None
    tls: tuple[str, str] | None
    certificate: ClientCertificate | None
    tls_details: TlsDetails | None
    session: bytes
    client_id: str

    def __init__(
        self,
        address: str,
        port: int,
        local_address: str,
        local_port: int,
        name: bytes = UNAVAILABLE,
        proxy: ProxyAddresses | None = None,
        tls: tuple[str, str] | None = None,
        certificate: ClientCertificate | None = None,
        tls_details: TlsDetails | None = None,
        session: bytes = b"",
        client_id: str = "",
    ) -> None:
        self.address = address
        self.port = port
        self.local_address = local_address
        self.local_port = local_port
        self.name = name
        self.proxy = proxy
        self.tls = tls
        self.certificate = certificate
        self.tls_details = tls_details
        self.session = session
        self.client_id = client_id


@dataclass(slots=True, init=False)  # as for Peer
class Login:
    """What one attempt to log in gave: made anew for each, nothing is carried over.

    ``password`` is the APOP or CRAM-MD5 digest for those methods, which also
    fill ``salt``. ``tag`` is IMAP's. ``helo``, ``esmtp``, ``mail`` and
    ``rcpt`` are SMTP's; the latter two are whole commands, verb included, and
    only set for method ``none``. ``user`` and ``password`` never hold CR, LF
    or NUL.
    """

    method: Method
    user: bytes
    password: bytes = field(repr=False)
    salt: bytes
    tag: bytes
    helo: bytes
    esmtp: bool
    mail: bytes
    rcpt: bytes

    def __init__(
        self,
        method: Method,
        user: bytes = b"",
        password: bytes = b"",
        salt: bytes = b"",
        tag: bytes = b"",
        helo: bytes = b"",
        esmtp: bool = False,
        mail: bytes = b"",
        rcpt: bytes = b"",
    ) -> None:
        self.method: Method = method
        self.user = user
        self.password = password
        self.salt = salt
        self.tag = tag
        self.helo = helo
        self.esmtp = esmtp
        self.mail = mail
        self.rcpt = rcpt

    def rewritten(self, user: bytes | None = None, password: bytes | None = None) -> Login:
        """The login as the auth source wants it said to the backend; None changes nothing.

        A password makes the method ``plain``, the only one that has a password
        to give to a backend (a digest is none). ``none`` stays what it is.
        """
        method: Method = "plain" if password is not None and self.method != "none" else self.method
        user = self.user if user is None else user
        password = self.password if password is None else password
        if (method, user, password) == (self.method, self.user, self.password):
            return self  # replace() costs more than the rest of a login's bookkeeping
        return replace(self, method=method, user=user, password=password)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A login was refused, in words meant for the client.

    ``text`` is what the auth source said. ``code`` is SMTP's reply code with
    its enhanced code, ``535 5.7.0`` if None. ``reply`` holds whole lines that
    a backend said, to be passed on as they are. ``temporary`` and ``neutral``
    ask for the protocol's own words (passthrough).
    """

    text: bytes = b""
    code: bytes | None = None
    reply: tuple[bytes, ...] = ()
    neutral: bool = False
    temporary: bool = False


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


class Protocol(metaclass=ABCMeta):
    """What one ``[[mail.server]]`` speaks: made once, shared by its sessions."""

    name: ClassVar[Literal["smtp", "imap", "pop3"]]

    def __init__(self, server: Server) -> None:
        self.server = server

    @abstractmethod
    def frontend(self, client: Conversation, peer: Peer) -> Frontend:
        """The dialogue with a client that has just connected."""

    @abstractmethod
    def handshake(
        self, backend: Conversation, login: Login, peer: Peer, options: HandshakeOptions
    ) -> tuple[bytes, ...]:
        """Bring a fresh backend to where the client is; returns the client's answer.

        The first bytes said are the PROXY header, then TLS if it is implicit.
        Raises BackendRefused, BackendGarbage, and what the conversation raises.
        """


def passed_on(refused: BackendRefused, pass_words: bool) -> Refusal:
    """The refusal that a backend's no about the credentials becomes for the client."""
    if pass_words:
        return Refusal(reply=refused.reply)
    return Refusal(neutral=True, temporary=refused.temporary)


def told_name(name: bytes | None, temporary: bool) -> bytes:
    """What an auth service and a backend are told of a client's name, found or not."""
    return name or (TEMPUNAVAIL if temporary else UNAVAILABLE)
