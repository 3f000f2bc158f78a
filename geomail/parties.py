"""What TLS tells of a client: its certificate, the verdict on it, and what a backend may be told."""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass, field
from typing import Literal

VerifyClient = Literal["off", "on", "optional", "optional_no_ca"]

#: OpenSSL's verify results that say no more than: no known CA stands behind it.
_UNTRUSTED = frozenset({18, 19, 20, 21, 27})


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The certificate of a client, as nginx tells it to an auth service; all is empty if it sent none.

    ``error`` is OpenSSL's verify result, 0 if it is good, ``reason`` the same
    in words. Names are RFC 2253's, most specific part first, in ASCII.
    """

    der: bytes = field(default=b"", repr=False)
    error: int = 0
    reason: str = ""
    subject: str = ""
    issuer: str = ""
    serial: str = ""
    fingerprint: str = ""

    @property
    def verify(self) -> str:
        """``SUCCESS``, ``NONE`` or ``FAILED:reason``."""
        if not self.der:
            return "NONE"
        return f"FAILED:{self.reason}" if self.error else "SUCCESS"

    @property
    def pem(self) -> str:
        """The certificate in PEM, with its last line end."""
        lines = textwrap.wrap(base64.b64encode(self.der).decode(), 64)
        return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


def judge_certificate(
    mode: VerifyClient, certificate: ClientCertificate
) -> Literal["certificate error", "no certificate"] | None:
    """What ``ssl_verify_client`` makes of a client's certificate after the handshake; None: it may go on."""
    if mode == "off":
        return None
    if not certificate.der:
        return "no certificate" if mode == "on" else None
    if not certificate.error or (mode == "optional_no_ca" and certificate.error in _UNTRUSTED):
        return None
    return "certificate error"


@dataclass(frozen=True, slots=True)
class TlsDetails:
    """What the PROXY protocol, version 2, tells a backend of a client's TLS.

    ``server_name`` is what the client asked for (SNI), ``alpn`` what was
    agreed on. ``certificate`` says when the client showed one: never, in this
    ``connection``, or in the ``session`` that it resumed. ``verify`` is
    OpenSSL's result, 1 without a certificate. ``signature`` and ``key`` are
    those of geomail's own certificate: ``RSA-SHA256``, ``EC256``.
    """

    version: str
    cipher: str
    server_name: bytes | None
    alpn: bytes | None
    certificate: Literal["none", "connection", "session"]
    verify: int
    common_name: bytes
    signature: str
    key: str


UNAVAILABLE = b"[UNAVAILABLE]"
TEMPUNAVAIL = b"[TEMPUNAVAIL]"


@dataclass(frozen=True, slots=True)
class ProxyAddresses:
    """The addresses that a client's PROXY header carried."""

    source: str
    source_port: int
    destination: str
    destination_port: int


@dataclass(slots=True, init=False)  # compiled, the generated __init__ takes ten times as long
class Client:
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


# -- what a client gives to log in ----------------------------------------------------------------
#
# A mechanism makes one of these types (protocols/sasl.py). From there on only the type counts. They are never
# changed, and hold no CR, LF or NUL. Their __init__ is written by hand for the reason that Client has.

DigestScheme = Literal["apop", "cram-md5"]
TokenMechanism = Literal["oauthbearer", "xoauth2"]
#: The word for credentials in the log and in ``Auth-Method``.
Method = Literal["plain", "apop", "cram-md5", "oauthbearer", "xoauth2", "external", "none"]


@dataclass(slots=True, init=False)
class Password:
    """A user and a password in clear: the only credentials that a backend can be told.

    Like all credentials it has ``method``, and ``secret``: the part that must never be shown.
    """

    user: bytes
    password: bytes = field(repr=False)

    def __init__(self, user: bytes, password: bytes) -> None:
        self.user = user
        self.password = password

    @property
    def method(self) -> Method:
        return "plain"

    @property
    def secret(self) -> bytes:
        return self.password


@dataclass(slots=True, init=False)
class Digest:
    """A hash over the password and the ``salt`` that geomail sent: only the auth source can verify it."""

    user: bytes
    digest: bytes = field(repr=False)
    salt: bytes
    scheme: DigestScheme

    def __init__(self, user: bytes, digest: bytes, salt: bytes, scheme: DigestScheme) -> None:
        self.user = user
        self.digest = digest
        self.salt = salt
        self.scheme: DigestScheme = scheme

    @property
    def method(self) -> Method:
        return self.scheme

    @property
    def secret(self) -> bytes:
        return self.digest


@dataclass(slots=True, init=False)
class Token:
    """An OAuth 2.0 bearer token (RFC 6750), which is good for several logins until it expires."""

    user: bytes
    token: bytes = field(repr=False)
    mechanism: TokenMechanism

    def __init__(self, user: bytes, token: bytes, mechanism: TokenMechanism) -> None:
        self.user = user
        self.token = token
        self.mechanism: TokenMechanism = mechanism

    @property
    def method(self) -> Method:
        return self.mechanism

    @property
    def secret(self) -> bytes:
        return self.token


@dataclass(slots=True, init=False)
class Asserted:
    """A user without a secret (EXTERNAL): the auth source judges by the client's certificate."""

    user: bytes

    def __init__(self, user: bytes) -> None:
        self.user = user

    @property
    def method(self) -> Method:
        return "external"

    @property
    def secret(self) -> bytes:
        return b""


@dataclass(slots=True, init=False)
class NoLogin:
    """A mail without a login (SMTP): ``mail`` and ``rcpt`` are the client's whole commands, verb included.

    ``user`` is empty unless the auth source names one.
    """

    mail: bytes
    rcpt: bytes
    user: bytes

    def __init__(self, mail: bytes, rcpt: bytes, user: bytes = b"") -> None:
        self.mail = mail
        self.rcpt = rcpt
        self.user = user

    @property
    def method(self) -> Method:
        return "none"

    @property
    def secret(self) -> bytes:
        return b""


Credentials = Password | Digest | Token | Asserted | NoLogin


@dataclass(slots=True, init=False)
class Login:
    """One attempt to log in: its credentials, and what the client's dialogue adds to them.

    Each attempt makes its own. ``tag`` is IMAP's; ``helo`` and ``esmtp`` are SMTP's.
    """

    credentials: Credentials
    tag: bytes
    helo: bytes
    esmtp: bool

    def __init__(
        self, credentials: Credentials, tag: bytes = b"", helo: bytes = b"", esmtp: bool = False
    ) -> None:
        self.credentials: Credentials = credentials
        self.tag = tag
        self.helo = helo
        self.esmtp = esmtp

    @property
    def user(self) -> bytes:
        """The name of the user; empty for a mail without a login."""
        return self.credentials.user

    @property
    def password(self) -> bytes | None:
        """The password in clear; None if the credentials hold none."""
        credentials = self.credentials
        return credentials.password if isinstance(credentials, Password) else None

    def rewrite(self, user: bytes | None = None, password: bytes | None = None) -> Login:
        """Return the login as the auth source wants the backend to be told it; None changes nothing.

        Credentials with a new password become a :class:`Password`, the only type that a backend can be
        told. A mail without a login stays one: it has no use for a password.
        """
        old = self.credentials
        if user is None:
            user = old.user
        if password is not None and password != self.password and not isinstance(old, NoLogin):
            new: Credentials = Password(user, password)
        elif user != old.user:
            new = _rename(old, user)
        else:
            return self
        return Login(new, self.tag, self.helo, self.esmtp)


def _rename(credentials: Credentials, user: bytes) -> Credentials:
    """Return the credentials with another user in them."""
    match credentials:
        case Password() as old:
            return Password(user, old.password)
        case Digest() as old:
            return Digest(user, old.digest, old.salt, old.scheme)
        case Token() as old:
            return Token(user, old.token, old.mechanism)
        case Asserted():
            return Asserted(user)
        case NoLogin() as old:
            return NoLogin(old.mail, old.rcpt, user)


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


def choose_name(name: bytes | None, temporary: bool) -> bytes:
    """What an auth service and a backend are told of a client's name, found or not."""
    return name or (TEMPUNAVAIL if temporary else UNAVAILABLE)
