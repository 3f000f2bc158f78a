"""What contradicts itself or is unwise in the TLS of one server."""

from __future__ import annotations

from collections.abc import Iterator

from geomail.config.checks.subject import Checks, Subject
from geomail.config.schema.options import INTERMEDIATE_CIPHERS
from geomail.config.schema.tables import VERIFYING_FILES
from geomail.config.units import quote
from geomail.errors import Problem

CHECKS = Checks()
_VERIFYING = tuple(f"ssl_{key}" for key in VERIFYING_FILES)


@CHECKS.register("listen", "starttls", "ssl_certificate", "ssl_certificate_key")
def _check_certificates(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    secured = [listen.label for listen in server.listen if listen.ssl]
    if secured:
        cause = f'listen = "{secured[0]} ssl"'
    elif server.starttls != "off":
        cause = f'starttls = "{server.starttls}"'
    else:
        return
    certificates, keys = server.ssl_certificate, server.ssl_certificate_key
    if not certificates:
        yield subject.make_error("ssl_certificate", f"no ssl_certificate is defined, which {cause} needs")
    for certificate in certificates[len(keys) :]:
        yield subject.make_error(
            "ssl_certificate_key",
            f"no ssl_certificate_key is defined for the certificate {quote(certificate)}",
        )
    if certificates and len(keys) > len(certificates):
        yield subject.make_error(
            "ssl_certificate_key", "more keys than certificates: each key belongs to one, in order"
        )


@CHECKS.register("ssl_protocols", "ssl_ciphers")
def _check_versions(subject: Subject) -> Iterator[Problem]:
    names = subject.server.ssl_protocols
    gone = [name for name in names if name in ("SSLv2", "SSLv3")]
    old = [name for name in names if name in ("TLSv1", "TLSv1.1")]
    if len(gone) == len(names):
        yield subject.make_error(
            "ssl_protocols", f"OpenSSL has no {' and no '.join(gone)} any more; add TLSv1.2"
        )
    elif gone:
        yield subject.make_warning(
            "ssl_protocols", f"{' and '.join(gone)}: no effect, OpenSSL has it no more"
        )
    if old:
        text = f"{' and '.join(old)} can be broken by attackers; TLSv1.2 is the least"
        if subject.server.ssl_ciphers == INTERMEDIATE_CIPHERS:
            text += "; the default ssl_ciphers hold none that older clients could use"
        yield subject.make_warning("ssl_protocols", text)


@CHECKS.register(
    "listen", "starttls", "ssl_verify_client", "ssl_client_certificate", "ssl_trusted_certificate"
)
def _check_authorities(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    with_ca = server.ssl_client_certificate or server.ssl_trusted_certificate
    if server.has_tls and server.ssl_verify_client in ("on", "optional") and not with_ca:
        yield subject.make_error(
            "ssl_verify_client",
            f'ssl_verify_client = "{server.ssl_verify_client}" needs ssl_client_certificate or '
            "ssl_trusted_certificate: no CA is known that clients' certificates could be of",
        )


@CHECKS.register("listen", "starttls", "ssl_verify_client", *_VERIFYING)
def _check_idle_authorities(subject: Subject) -> Iterator[Problem]:
    """A CA without the demand for a certificate looks like protection, and is none."""
    if subject.server.has_tls and subject.server.ssl_verify_client == "off":
        for key in _VERIFYING:
            if getattr(subject.server, key) is not None and not _is_used_elsewhere(subject, key):
                yield subject.make_warning(
                    key, "has no effect: ssl_verify_client is off, no client is asked for a certificate"
                )


def _is_used_elsewhere(subject: Subject, key: str) -> bool:
    """Whether another server takes the option from the same place, and verifies clients."""
    return any(
        server.has_tls
        and server.ssl_verify_client != "off"
        and subject.source.find_origin(index, key) == subject.source.find_origin(subject.index, key)
        for index, server in enumerate(subject.config.servers)
    )
