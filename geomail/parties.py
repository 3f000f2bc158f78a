"""The parties of a session: the client, its certificate, its login, and the refusal that it may get."""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass, field
from typing import Literal

VerifyClient = Literal["off", "on", "optional", "optional_no_ca"]

#: OpenSSL's verify results that mean no more than: no known CA has signed it.
_UNTRUSTED = frozenset({18, 19, 20, 21, 27})


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client's certificate, with the values that nginx sends to an auth service.

    All is empty if the client sent none. ``error`` is OpenSSL's verify result,
    0 for a valid certificate; ``reason`` is the same in words. Names are in
    ASCII and in the form of RFC 2253, most specific part first.
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
        """The value of ``Auth-SSL-Verify``: ``SUCCESS``, ``NONE`` or ``FAILED:reason``."""
        if not self.der:
            return "NONE"
        return f"FAILED:{self.reason}" if self.error else "SUCCESS"

    @property
    def pem(self) -> str:
        """The certificate in PEM; a line end follows the last line."""
        lines = textwrap.wrap(base64.b64encode(self.der).decode(), 64)
        return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


def judge_certificate(
    mode: VerifyClient, certificate: ClientCertificate
) -> Literal["certificate error", "no certificate"] | None:
    """Tell why ``ssl_verify_client`` rejects a client after the TLS handshake; None if it does not."""
    if mode == "off":
        return None
    if not certificate.der:
        return "no certificate" if mode == "on" else None
    if not certificate.error or (mode == "optional_no_ca" and certificate.error in _UNTRUSTED):
        return None
    return "certificate error"


@dataclass(frozen=True, slots=True)
class TlsDetails:
    """The facts about a client's TLS that a PROXY header, version 2, carries to a backend.

    ``server_name`` is the name that the client asked for (SNI). ``alpn`` is
    the protocol that both sides agreed on. ``certificate`` says when the client
    sent one: never, in this ``connection``, or in the ``session`` that it
    resumed. ``verify`` is OpenSSL's result, 1 without a certificate.
    ``signature`` and ``key`` belong to geomail's own certificate:
    ``RSA-SHA256``, ``EC256``.
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
    """The addresses in a client's PROXY header."""

    source: str
    source_port: int
    destination: str
    destination_port: int


@dataclass(slots=True, init=False)  # compiled, the generated __init__ takes ten times as long
class Client:
    """A client: both ends of its connection, its TLS, and its description of itself.

    ``address`` is an IP address in text (``192.0.2.1``, ``2001:db8::1``,
    ``::ffff:192.0.2.1`` for a mapped one) or ``unix:``. ``local_address`` is
    geomail's end of the connection. ``name`` is the verified host name,
    ``[UNAVAILABLE]`` or ``[TEMPUNAVAIL]`` (SMTP only).
    ``tls`` holds the protocol and the name of the cipher while TLS is active.
    ``certificate`` is None if geomail did not ask for one. ``tls_details`` is
    None unless a PROXY header reports TLS to the backend. ``session`` is the
    session's id if auth services and backends get it (``pass_session_id``),
    else empty. ``client_id`` is the description that an IMAP client sent (ID).
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


# -- credentials ----------------------------------------------------------------------------------
#
# A mechanism makes credentials of one of these types (protocols/sasl.py). After that only the type counts.
# Nothing changes them. They hold no CR, LF or NUL. Each __init__ is written by hand, as Client's is.

DigestScheme = Literal["apop", "cram-md5"]
TokenMechanism = Literal["oauthbearer", "xoauth2"]
#: The word for credentials in the log and in ``Auth-Method``.
Method = Literal["plain", "apop", "cram-md5", "oauthbearer", "xoauth2", "external", "none"]


@dataclass(slots=True, init=False)
class Password:
    """A user and a password in clear: the only credentials that geomail can give to a backend.

    All types of credentials have a ``method``, and a ``secret``, which must
    never be shown; it is empty if there is none.
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
    """A hash over the password and the ``salt`` that geomail sent: only an auth service can verify it."""

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
    """An OAuth 2.0 bearer token (RFC 6750); the same token may serve several logins until it expires."""

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
    """A user's name without a secret (EXTERNAL): an auth service judges by the client's certificate."""

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
    """A mail without a login (SMTP).

    ``mail`` and ``rcpt`` are the client's whole commands, verb included.
    ``user`` is empty unless the auth source names a user.
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
    """One attempt to log in: the credentials, and the facts that its dialogue adds to them.

    Each attempt makes a new one. ``tag`` is IMAP's tag of the command;
    ``helo`` and ``esmtp`` are the name and the kind of SMTP's greeting.
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
        """Return the login with the user and password of the auth source; None changes nothing.

        With a new password, any credentials become a :class:`Password`. A mail
        without a login stays one, as it has no use for a password.
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
    """Return the same credentials for another user."""
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
    """The answer to a client whose login is refused.

    ``reply`` holds whole lines of a backend, which the client gets unchanged.
    Without them, ``neutral`` asks for the protocol's own words, for a
    ``temporary`` refusal or a final one. Otherwise the client gets ``text``,
    the words of the auth source; in SMTP ``code`` is before them, with its
    enhanced code: ``535 5.7.0`` if None.
    """

    text: bytes = b""
    code: bytes | None = None
    reply: tuple[bytes, ...] = ()
    neutral: bool = False
    temporary: bool = False


def drop_zone(address: str) -> str:
    """Return an IP address without the ``%interface`` of a link-local one: no other machine can use it."""
    return address.partition("%")[0]


def choose_name(name: bytes | None, temporary: bool) -> bytes:
    """Return the client's name, or the word that auth services and backends get in its place."""
    return name or (TEMPUNAVAIL if temporary else UNAVAILABLE)
