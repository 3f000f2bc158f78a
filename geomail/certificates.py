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
