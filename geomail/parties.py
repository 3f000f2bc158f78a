"""What TLS tells of a client: its certificate, the verdict on it, and what a backend may be told."""

from __future__ import annotations

import base64
import textwrap
from dataclasses import dataclass, field, replace
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


def verdict(
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

Method = Literal["plain", "apop", "cram-md5", "external", "none"]


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


def told_name(name: bytes | None, temporary: bool) -> bytes:
    """What an auth service and a backend are told of a client's name, found or not."""
    return name or (TEMPUNAVAIL if temporary else UNAVAILABLE)
