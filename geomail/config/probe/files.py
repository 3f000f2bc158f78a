"""The TLS files of servers and backends: geomail tries each as ``serve`` will use it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from geomail.config.lines import KeyPath
from geomail.config.schema import Backend, Server
from geomail.config.schema.tables import VERIFYING_FILES
from geomail.config.source import Source
from geomail.config.units import quote
from geomail.errors import Problem, TlsSettingError
from geomail.net.openssl.binding import is_available
from geomail.net.tls_contexts import ServerSettings, make_server_context

#: By option: the restriction, which is not an error, if geomail reaches OpenSSL only through ``ssl``.
_WITHOUT_LIBSSL = {
    "ssl_certificate": "geomail also serves a client whose ALPN names only other protocols",
    "ssl_session_timeout": "this has no effect: OpenSSL uses its own timeout",
    "proxy_protocol": (
        "a header of version 2 names neither the host that the client asked for nor the type of our key"
    ),
}
#: Settings that have a meaning only together.
_FOR_VERIFYING = ("verify_client", "verify_depth", *VERIFYING_FILES)


def probe_server(server: Server, index: int, source: Source) -> Iterator[Problem]:
    """Report problems with the certificates, keys, ciphers and other TLS settings of a server."""

    def at(key: str) -> KeyPath:
        return source.find_origin(index, key) or ("mail", "server", index)

    if server.has_tls:
        broken = list(_probe_certificates(server, at, source))
        yield from broken
        for directive, text in _try_tls_settings(server, certificates=not broken):
            yield source.make_problem(at(directive), text)
        if text := _explain_idle_versions(server):
            yield source.make_problem(at("ssl_protocols"), text, "warning")
        if not is_available():
            yield from _warn_without_libssl(server, index, source)
    elif server.ssl_password_file is not None and (text := explain_unreadable(server.ssl_password_file)):
        yield source.make_problem(at("ssl_password_file"), text)  # nginx reads it in any case
    if server.auth_http_ca is not None:
        yield from _probe_certificate_file(server.auth_http_ca, at("auth_http_ca"), source)


def _warn_without_libssl(server: Server, index: int, source: Source) -> Iterator[Problem]:
    """Warn of settings that do less without libssl; another check reports settings that cannot work."""
    for key, text in _WITHOUT_LIBSSL.items():
        path = source.find_origin(index, key)
        if path and (key != "proxy_protocol" or server.proxy_protocol == "v2"):
            why = "the ssl module of this Python is not linked to OpenSSL 3 as a shared library"
            yield source.make_problem(path, f"{text}, as {why}; use another Python", "warning")


def _probe_certificates(server: Server, at: Callable[[str], KeyPath], source: Source) -> Iterator[Problem]:
    """Report files that are not certificates or keys."""
    keys = server.ssl_certificate_key
    for certificate, key in zip_longest(server.ssl_certificate, keys[: len(server.ssl_certificate)]):
        if not certificate.startswith("data:"):
            yield from _probe_certificate_file(certificate, at("ssl_certificate"), source)
        if key is not None and not key.startswith("data:") and (text := explain_unreadable(key)):
            yield source.make_problem(at("ssl_certificate_key"), text)


def _explain_idle_versions(server: Server) -> str:
    """Explain why old versions of TLS that are switched on do nothing; empty if they work."""
    old = [name for name in server.ssl_protocols if name in ("TLSv1", "TLSv1.1")]
    if not old or ssl.OPENSSL_VERSION_INFO < (3,):
        return ""
    kept = ("protocols", "ciphers", "conf_command")
    settings = {key: value for key, value in server.tls_settings.items() if key in kept}
    try:
        settings_of_server = ServerSettings(certificates=(), alpn=server.facts.alpn, **settings)
        level = make_server_context(settings_of_server).security_level
    except TlsSettingError:
        return ""  # geomail reports that problem by itself
    if level == 0:
        return ""
    return (
        f"{' and '.join(old)}: no client can use it, as OpenSSL 3 allows it only at security level 0, not at "
        f'{level}; add @SECLEVEL=0 to ssl_ciphers ("{server.ssl_ciphers}:@SECLEVEL=0"), or remove it'
    )


def _try_tls_settings(server: Server, certificates: bool) -> Iterator[tuple[str, str]]:
    """Return each directive that OpenSSL refuses when tried alone, with the reason.

    Certificates and their keys are tried only with ``certificates``.
    """
    alone: dict[str, Any] = {
        "certificates": (), "protocols": ("TLSv1.2", "TLSv1.3"), "ciphers": "HIGH", "alpn": server.facts.alpn,
    }  # fmt: skip
    settings = server.tls_settings
    trials = [alone | {key: value} for key, value in settings.items() if key not in _FOR_VERIFYING]
    trials.append(alone | {key: settings[key] for key in _FOR_VERIFYING})
    if certificates:
        pairs = zip(server.ssl_certificate, server.ssl_certificate_key, strict=False)
        trials += [
            alone | {"certificates": [pair], "password_file": server.ssl_password_file} for pair in pairs
        ]
    for trial in trials:
        try:
            make_server_context(ServerSettings(**trial))
        except TlsSettingError as error:
            yield error.directive, error.text


def probe_backend(backend: Backend, base: KeyPath, source: Source) -> Iterator[Problem]:
    """Report problems with the files that a backend's TLS needs."""
    if backend.tls_ca is not None:
        yield from _probe_certificate_file(backend.tls_ca, (*base, "tls_ca"), source)
    if backend.tls_certificate is not None:
        key = backend.tls_certificate_key or backend.tls_certificate
        key_path = (*base, "tls_certificate_key" if backend.tls_certificate_key else "tls_certificate")
        yield from _probe_pair(backend.tls_certificate, key, (*base, "tls_certificate"), key_path, source)


def _probe_pair(
    certificate: str, key: str | None, certificate_path: KeyPath, key_path: KeyPath, source: Source
) -> Iterator[Problem]:
    """Check that a certificate and its key can be read, and belong together."""
    problems = list(_probe_certificate_file(certificate, certificate_path, source))
    if key is not None and (text := explain_unreadable(key)):
        problems.append(source.make_problem(key_path, text))
    elif key is not None and not problems:
        text = _explain_mismatch(certificate, key)
        if text:
            problems.append(source.make_problem(key_path, text))
    yield from problems


def _explain_mismatch(certificate: str, key: str) -> str:
    """Explain why OpenSSL refuses the key with the certificate; empty if it accepts it."""
    try:
        # With this password, OpenSSL never asks for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"the key {quote(key)} does not belong to the certificate {quote(certificate)}"
        if b"ENCRYPTED" in Path(key).read_bytes():
            return f"{quote(key)} has a password, but geomail cannot ask for it; use a key without one"
        return f"{quote(key)} is not a private key in PEM, or OpenSSL refuses it{_format_reason(error)}"
    except OSError as error:
        return f"{quote(key)} cannot be read: {error.strerror}"
    return ""


def _probe_certificate_file(file: str, path: KeyPath, source: Source) -> Iterator[Problem]:
    """Check that a file holds certificates in PEM."""
    text = explain_unreadable(file)
    if not text:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except ssl.SSLError as error:
            text = f"{quote(file)} holds no certificate in PEM{_format_reason(error)}"
    if text:
        yield source.make_problem(path, text)


def explain_unreadable(file: str) -> str:
    """Explain why a file cannot be read; empty if it can."""
    try:
        with Path(file).open("rb") as opened:
            opened.read(1)
    except OSError as error:
        return f"{quote(file)} cannot be read: {error.strerror}"
    return ""


def _format_reason(error: ssl.SSLError) -> str:
    return f" ({error.reason.lower().replace('_', ' ')})" if error.reason else ""
