"""The TLS contexts of listeners, and of connections that geomail opens."""

from __future__ import annotations

import errno
import hashlib
import ssl
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from geomail.errors import TlsSettingError
from geomail.net import tls_settings
from geomail.net.openssl import contexts
from geomail.net.openssl.binding import is_available
from geomail.net.openssl.contexts import ServerContext
from geomail.parties import VerifyClient

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """nginx's ``ssl_*`` directives for a listener; None leaves the choice to OpenSSL.

    ``alpn`` is the one protocol that the listener speaks.
    """

    certificates: Iterable[tuple[str, str]]
    protocols: Iterable[str]
    ciphers: str
    alpn: str
    password_file: str | None = None
    prefer_server_ciphers: bool = False
    dhparam: str | None = None
    ecdh_curve: str = "auto"
    session_cache: str = "none"
    session_timeout: float | None = None
    session_tickets: bool = True
    session_ticket_key: Sequence[str] = ()
    verify_client: VerifyClient = "off"
    verify_depth: int | None = None
    client_certificate: str | None = None
    trusted_certificate: str | None = None
    crl: str | None = None
    conf_command: Sequence[tuple[str, str]] = ()


def make_server_context(settings: ServerSettings) -> ssl.SSLContext:
    """Make the context of a listener.

    A client's certificate never makes the handshake fail: ask the channel for
    it afterwards, then :func:`geomail.parties.judge_certificate`.
    Workers that are forked later resume each other's sessions: by tickets, and
    without tickets from a ``shared`` cache (each worker has its own ``builtin`` one).

    Raises TlsSettingError, which names the directive. Without access to libssl
    (:func:`geomail.net.openssl.binding.is_available`), every setting that needs
    it raises that, too; ``session_timeout`` is then OpenSSL's own, and a client
    that offers only other protocols by ALPN is served.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1
    _set_protocols(context, settings.protocols)
    tls_settings.set_ciphers(context, settings.ciphers, settings.prefer_server_ciphers)
    tls_settings.load_certificates(context, settings.certificates, settings.password_file)
    if settings.dhparam is not None:
        tls_settings.load_dhparam(context, settings.dhparam)
    if is_available():
        _set_through_libssl(context, settings)
    else:
        _refuse_what_needs_libssl(settings)
        context.set_alpn_protocols([settings.alpn])
    return context


def _set_through_libssl(context: ServerContext, settings: ServerSettings) -> None:
    """Apply the settings that ``ssl`` does not offer."""
    contexts.choose_protocol(context, settings.alpn)
    contexts.send_only_configured_chain(context)
    if settings.ecdh_curve != "auto":
        contexts.set_ecdh_curve(context, settings.ecdh_curve)
    basis = tls_settings.verify_clients(
        context,
        settings.verify_client,
        settings.verify_depth,
        settings.client_certificate,
        settings.trusted_certificate,
        settings.crl,
    )
    tls_settings.resume_sessions(
        context,
        settings.session_cache,
        settings.session_timeout,
        settings.session_tickets,
        settings.session_ticket_key,
    )
    contexts.run_conf_commands(context, settings.conf_command)
    _limit_resumption(context, settings, basis)


def _limit_resumption(context: ServerContext, settings: ServerSettings, basis: Sequence[bytes]) -> None:
    """Resume only sessions of contexts whose clients get the same result; send no useless ticket."""
    if context.options & ssl.OP_NO_TICKET and settings.session_cache in ("off", "none"):
        context.num_tickets = 0  # the ticket would name a session, and no session is kept
    if settings.session_ticket_key or context.shared_sessions is not None:
        parts = [*basis, settings.alpn.encode(), *contexts.list_certificates(context)]
        context.session_id_context = _digest(parts)


def _refuse_what_needs_libssl(settings: ServerSettings) -> None:
    """Raise TlsSettingError for the first setting that cannot be applied without access to libssl."""
    tls_settings.refuse_used(
        {
            "ssl_ecdh_curve": settings.ecdh_curve != "auto",
            "ssl_session_cache": settings.session_cache != "none",
            "ssl_session_tickets": not settings.session_tickets,
            "ssl_session_ticket_key": bool(settings.session_ticket_key),
            "ssl_verify_client": settings.verify_client != "off",
            "ssl_crl": settings.crl is not None,
            "ssl_conf_command": bool(settings.conf_command),
        }
    )


def _digest(parts: Iterable[bytes]) -> bytes:
    """Return a digest of the parts that also depends on where each part ends."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def _set_protocols(context: ssl.SSLContext, protocols: Iterable[str]) -> None:
    """Allow exactly these ``ssl_protocols`` (names as nginx writes them) that OpenSSL knows.

    OpenSSL takes a range; versions inside it that are not named are switched off.
    """
    names = set(protocols)
    allowed = [version for name, version in _VERSIONS.items() if name in names]
    if not allowed:
        raise TlsSettingError("ssl_protocols", f"OpenSSL has none of {', '.join(sorted(names))}")
    with warnings.catch_warnings():  # old versions are the operator's choice; check-config warns of them
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = allowed[0], allowed[-1]
        for name, version in _VERSIONS.items():
            if allowed[0] < version < allowed[-1] and name not in names:
                context.options |= getattr(ssl, "OP_NO_" + name.replace(".", "_"))


def make_client_context(
    *, ca: str | None, verify: bool, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """Make the context for a backend or an auth service, whose certificate is verified if ``verify`` is true.

    ``ca`` None trusts the system's authorities. Raises OSError if a file cannot be used.
    """
    # not create_default_context: from 3.13 on it refuses authorities that all other versions accept
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        tls_settings.load_system_authorities(context)
    else:
        context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key, _refuse_password)
    return context


def _refuse_password() -> str:
    """Raise OSError: without this callback, OpenSSL would ask at the terminal, and wait."""
    raise OSError(errno.ENOKEY, "the private key is encrypted")
