"""Checks of the TLS of one server."""

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
        yield subject.make_error(
            "ssl_certificate", f"no ssl_certificate is defined, but {cause} needs one; add it"
        )
    for certificate in certificates[len(keys) :]:
        yield subject.make_error(
            "ssl_certificate_key",
            f"no ssl_certificate_key is defined for the certificate {quote(certificate)}; add it",
        )
    if certificates and len(keys) > len(certificates):
        yield subject.make_error(
            "ssl_certificate_key",
            "there are more keys than certificates; each key must belong to one certificate, in order",
        )


@CHECKS.register("ssl_protocols", "ssl_ciphers")
def _check_versions(subject: Subject) -> Iterator[Problem]:
    names = subject.server.ssl_protocols
    gone = [name for name in names if name in ("SSLv2", "SSLv3")]
    old = [name for name in names if name in ("TLSv1", "TLSv1.1")]
    if len(gone) == len(names):
        yield subject.make_error("ssl_protocols", f"OpenSSL no longer has {' and '.join(gone)}; add TLSv1.2")
    elif gone:
        yield subject.make_warning(
            "ssl_protocols", f"{' and '.join(gone)}: no effect, as OpenSSL no longer has it; remove it"
        )
    if old:
        text = f"attackers can break {' and '.join(old)}; use TLSv1.2 or newer"
        if subject.server.ssl_ciphers == INTERMEDIATE_CIPHERS:
            text += " (also, the default ssl_ciphers have none that older clients could use)"
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
            "ssl_trusted_certificate, as no CA is known to verify clients' certificates; add one of them",
        )


@CHECKS.register("listen", "starttls", "ssl_verify_client", *_VERIFYING)
def _check_idle_authorities(subject: Subject) -> Iterator[Problem]:
    """Warn of a CA that verifies nothing: it looks like protection, and protects nothing."""
    if subject.server.has_tls and subject.server.ssl_verify_client == "off":
        for key in _VERIFYING:
            if getattr(subject.server, key) is not None and not _is_used_elsewhere(subject, key):
                yield subject.make_warning(
                    key,
                    "has no effect: ssl_verify_client is off, and geomail asks no client for a certificate; "
                    f"set ssl_verify_client, or remove {key}",
                )


def _is_used_elsewhere(subject: Subject, key: str) -> bool:
    """Tell whether another server takes the option from the same place, and verifies clients."""
    return any(
        server.has_tls
        and server.ssl_verify_client != "off"
        and subject.source.find_origin(index, key) == subject.source.find_origin(subject.index, key)
        for index, server in enumerate(subject.config.servers)
    )
