"""Files of TLS: those of servers and those of backends, each tried as ``serve`` will use it."""

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
from geomail.config.units import quoted
from geomail.errors import Problem, TlsSettingError
from geomail.net.openssl.binding import is_available
from geomail.net.tls_contexts import ServerSettings, make_server_context

#: What an OpenSSL that only ``ssl`` can reach does not do, and does not refuse either, by the option.
_WITHOUT_LIBSSL = {
    "ssl_certificate": "a client whose ALPN names other protocols only is served",
    "ssl_session_timeout": "it has no effect, OpenSSL's own is used",
    "proxy_protocol": "a header of version 2 names neither the host that the client asked for nor our key",
}
#: Settings that mean nothing one by one.
_FOR_VERIFYING = ("verify_client", "verify_depth", *VERIFYING_FILES)


def server_problems(server: Server, index: int, source: Source) -> Iterator[Problem]:
    """What is wrong with the certificates, keys, ciphers and other TLS settings of a server."""

    def at(key: str) -> KeyPath:
        return source.origin(index, key) or ("mail", "server", index)

    if server.has_tls:
        broken = list(_server_certificates(server, at, source))
        yield from broken
        for directive, text in _tls_settings(server, certificates=not broken):
            yield source.problem(at(directive), text)
        if text := _idle_protocols(server):
            yield source.problem(at("ssl_protocols"), text, "warning")
        if not is_available():
            yield from _done_without(server, index, source)
    elif server.ssl_password_file is not None and (text := unreadable(server.ssl_password_file)):
        yield source.problem(at("ssl_password_file"), text)  # nginx reads it in any case
    if server.auth_http_ca is not None:
        yield from _ca(server.auth_http_ca, at("auth_http_ca"), source)


def _done_without(server: Server, index: int, source: Source) -> Iterator[Problem]:
    """What is not as it was asked for where libssl is out of reach; what cannot be at all is refused."""
    for key, text in _WITHOUT_LIBSSL.items():
        path = source.origin(index, key)
        if path and (key != "proxy_protocol" or server.proxy_protocol == "v2"):
            why = "with a Python whose ssl module is not linked to OpenSSL 3 as a shared library"
            yield source.problem(path, f"{why}, {text}", "warning")


def _server_certificates(server: Server, at: Callable[[str], KeyPath], source: Source) -> Iterator[Problem]:
    """Which certificates and keys are none, each as a file."""
    keys = server.ssl_certificate_key
    for certificate, key in zip_longest(server.ssl_certificate, keys[: len(server.ssl_certificate)]):
        if not certificate.startswith("data:"):
            yield from _ca(certificate, at("ssl_certificate"), source)
        if key is not None and not key.startswith("data:") and (text := unreadable(key)):
            yield source.problem(at("ssl_certificate_key"), text)


def _idle_protocols(server: Server) -> str:
    """Say why the old versions of TLS that are switched on do nothing; empty if they work, or none is on."""
    old = [name for name in server.ssl_protocols if name in ("TLSv1", "TLSv1.1")]
    if not old or ssl.OPENSSL_VERSION_INFO < (3,):
        return ""
    kept = ("protocols", "ciphers", "conf_command")
    settings = {key: value for key, value in server.tls_settings.items() if key in kept}
    try:
        level = make_server_context(
            ServerSettings(certificates=(), alpn=server.protocol, **settings)
        ).security_level
    except TlsSettingError:
        return ""  # that is a problem of its own
    if level == 0:
        return ""
    return (
        f"{' and '.join(old)}: no client can use it, as OpenSSL 3 has it at security level 0 alone, not at "
        f'{level}; add @SECLEVEL=0 to ssl_ciphers ("{server.ssl_ciphers}:@SECLEVEL=0"), or leave it out'
    )


def _tls_settings(server: Server, certificates: bool) -> Iterator[tuple[str, str]]:
    """Directives that OpenSSL refuses, each tried alone, and why; ``certificates``: these are tried too."""
    alone: dict[str, Any] = {
        "certificates": (), "protocols": ("TLSv1.2", "TLSv1.3"), "ciphers": "HIGH", "alpn": server.protocol,
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


def backend_problems(backend: Backend, base: KeyPath, source: Source) -> Iterator[Problem]:
    """What is wrong with the files that a backend's TLS needs."""
    if backend.tls_ca is not None:
        yield from _ca(backend.tls_ca, (*base, "tls_ca"), source)
    if backend.tls_certificate is not None:
        key = backend.tls_certificate_key or backend.tls_certificate
        key_path = (*base, "tls_certificate_key" if backend.tls_certificate_key else "tls_certificate")
        yield from _pair(backend.tls_certificate, key, (*base, "tls_certificate"), key_path, source)


def _pair(
    certificate: str, key: str | None, certificate_path: KeyPath, key_path: KeyPath, source: Source
) -> Iterator[Problem]:
    """A certificate and its key: each can be read, and they belong together."""
    problems = list(_ca(certificate, certificate_path, source))
    if key is not None and (text := unreadable(key)):
        problems.append(source.problem(key_path, text))
    elif key is not None and not problems:
        text = _mismatch(certificate, key)
        if text:
            problems.append(source.problem(key_path, text))
    yield from problems


def _mismatch(certificate: str, key: str) -> str:
    """Why OpenSSL does not take the key with the certificate; empty if it does."""
    try:
        # The password is given so that OpenSSL never asks for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"the key {quoted(key)} does not belong to the certificate {quoted(certificate)}"
        if b"ENCRYPTED" in Path(key).read_bytes():
            return f"{quoted(key)} is protected by a password, which nobody can type in when geomail starts"
        return f"{quoted(key)} is not a private key in PEM, or OpenSSL refuses it{_reason(error)}"
    except OSError as error:
        return f"{quoted(key)} cannot be read: {error.strerror}"
    return ""


def _ca(file: str, path: KeyPath, source: Source) -> Iterator[Problem]:
    """A file that must hold certificates in PEM."""
    text = unreadable(file)
    if not text:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except ssl.SSLError as error:
            text = f"{quoted(file)} holds no certificate in PEM{_reason(error)}"
    if text:
        yield source.problem(path, text)


def unreadable(file: str) -> str:
    """Why a file cannot be read; empty if it can."""
    try:
        with Path(file).open("rb") as opened:
            opened.read(1)
    except OSError as error:
        return f"{quoted(file)} cannot be read: {error.strerror}"
    return ""


def _reason(error: ssl.SSLError) -> str:
    return f" ({error.reason.lower().replace('_', ' ')})" if error.reason else ""
