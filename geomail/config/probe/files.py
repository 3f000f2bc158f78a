"""What only this machine can tell: files that can be read, keys that match, names that resolve."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from geomail.config.address import is_literal
from geomail.config.lines import KeyPath
from geomail.config.load import Inspection
from geomail.config.schema import Backend, Config, Server
from geomail.config.schema.tables import VERIFYING_FILES
from geomail.config.source import Source
from geomail.config.units import quoted, shown
from geomail.errors import ConfigError, Problem, TlsSettingError
from geomail.net.tls import server_context

Severity = Literal["error", "warning"]
#: Settings that mean nothing one by one.
_FOR_VERIFYING = ("verify_client", "verify_depth", *VERIFYING_FILES)
#: Seconds for all names together.
RESOLVE_TIME = 3.0


def probe(found: Inspection) -> list[Problem]:
    """What is wrong with the files and names that a configuration points at.

    A configuration with errors is looked at as far as it was understood.
    """
    return [*probe_files(found), *probe_names(found)]


def probe_files(found: Inspection) -> list[Problem]:
    """What is wrong with certificates, keys, CA files, ciphers and the users file; starts no thread."""
    problems: list[Problem] = []
    if found.draft is not None:
        for index, server in enumerate(found.draft.servers):
            problems += _server_files(server, index, found.source)
        for name, backend in found.draft.backends.items():
            problems += _backend_files(backend, ("backends", name), found.source)
        if any(server.auth == "users" for server in found.draft.servers):
            problems += _users_file(found.draft, found.source)
    return list(dict.fromkeys(problems))


def probe_names(found: Inspection) -> list[Problem]:
    """Which host names do not resolve now, within :data:`RESOLVE_TIME`.

    An error where nginx would not start; for backends a warning.
    """
    names: dict[str, tuple[KeyPath, Severity]] = {}
    if found.draft is not None:
        for index, server in enumerate(found.draft.servers):
            for name, path in _names_that_nginx_needs(server, index, found.source):
                names.setdefault(name, (path, "error"))
        for name, backend in found.draft.backends.items():
            for key, address in backend.addresses().items():
                names.setdefault(address.host, (("backends", name, key), "warning"))
    return list(_unresolved(names, found.source))


def _names_that_nginx_needs(server: Server, index: int, source: Source) -> Iterator[tuple[str, KeyPath]]:
    for position, listen in enumerate(server.listen):
        yield listen.host, ("mail", "server", index, "listen", position)
    if server.auth_http is not None and (url := source.origin(index, "auth_http")):
        yield server.auth_http.host, url
    if resolver := source.origin(index, "resolver"):
        yield from ((address.host, resolver) for address in server.resolver.servers)
    if senders := source.origin(index, "set_real_ip_from"):
        words = (word for word in server.set_real_ip_from if word != "unix:" and "/" not in word)
        yield from ((word, senders) for word in words)


def _server_files(server: Server, index: int, source: Source) -> Iterator[Problem]:
    def at(key: str) -> KeyPath:
        return source.origin(index, key) or ("mail", "server", index)

    if server.has_tls:
        broken = list(_server_certificates(server, at, source))
        yield from broken
        for directive, text in _tls_settings(server, certificates=not broken):
            yield source.problem(at(directive), text)
    if server.auth_http_ca is not None:
        yield from _ca(server.auth_http_ca, at("auth_http_ca"), source)


def _server_certificates(server: Server, at: Callable[[str], KeyPath], source: Source) -> Iterator[Problem]:
    """Which certificates and keys are none, each as a file."""
    keys = server.ssl_certificate_key
    for certificate, key in zip_longest(server.ssl_certificate, keys[: len(server.ssl_certificate)]):
        if not certificate.startswith("data:"):
            yield from _ca(certificate, at("ssl_certificate"), source)
        if key is not None and not key.startswith("data:") and (text := _unreadable(key)):
            yield source.problem(at("ssl_certificate_key"), text)


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
            server_context(**trial)
        except TlsSettingError as error:
            yield error.directive, error.text


def _backend_files(backend: Backend, base: KeyPath, source: Source) -> Iterator[Problem]:
    if backend.tls_ca is not None:
        yield from _ca(backend.tls_ca, (*base, "tls_ca"), source)
    if backend.tls_certificate is not None:
        key = backend.tls_certificate_key or backend.tls_certificate
        key_path = (*base, "tls_certificate_key" if backend.tls_certificate_key else "tls_certificate")
        yield from _pair(backend.tls_certificate, key, (*base, "tls_certificate"), key_path, source)


def _users_file(config: Config, source: Source) -> Iterator[Problem]:
    """What is wrong in the users file, line by line, and who may read it."""
    base: KeyPath = ("auth", "users")
    file, backends = config.users.file, source.content.get("backends", {})
    if file is None or not isinstance(backends, dict) or any(path[:2] == base for path in source.broken):
        return
    if text := _unreadable(file):
        yield source.problem((*base, "file"), text)
        return
    from geomail.config.users import read_users  # brings the libraries that hash, which takes a while

    try:
        read_users(config.users, backends)
    except ConfigError as error:
        yield from error.problems
    for text in _access(Path(file), config.user):
        yield source.problem((*base, "file"), text, "warning")


def _access(file: Path, user: str | None) -> Iterator[str]:
    """Who can read a file of secrets and should not, or should and cannot."""
    status = file.stat()
    if status.st_mode & stat.S_IROTH:
        yield f"{quoted(str(file))} can be read by everybody on this machine; its hashes are half a secret"
    if user is not None and os.geteuid() == 0 and not _is_open_to(user, status):
        yield f"{quoted(str(file))} cannot be read by {user}, as whom workers run (user), by its mode"


def _is_open_to(user: str, status: os.stat_result) -> bool:
    """Whether the file's mode lets the user read it; nothing is known of a user that does not exist."""
    name, _, group = user.partition(":")
    try:
        account = pwd.getpwnam(name)
        gid = grp.getgrnam(group).gr_gid if group else account.pw_gid
    except KeyError:
        return True
    if account.pw_uid in (0, status.st_uid):
        return account.pw_uid == 0 or bool(status.st_mode & stat.S_IRUSR)
    if status.st_gid in os.getgrouplist(name, gid):
        return bool(status.st_mode & stat.S_IRGRP)
    return bool(status.st_mode & stat.S_IROTH)


def _pair(
    certificate: str, key: str | None, certificate_path: KeyPath, key_path: KeyPath, source: Source
) -> Iterator[Problem]:
    """A certificate and its key: each can be read, and they belong together."""
    problems = list(_ca(certificate, certificate_path, source))
    if key is not None and (text := _unreadable(key)):
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
    text = _unreadable(file)
    if not text:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except ssl.SSLError as error:
            text = f"{quoted(file)} holds no certificate in PEM{_reason(error)}"
    if text:
        yield source.problem(path, text)


def _unreadable(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            opened.read(1)
    except OSError as error:
        return f"{quoted(file)} cannot be read: {error.strerror}"
    return ""


def _reason(error: ssl.SSLError) -> str:
    return f" ({error.reason.lower().replace('_', ' ')})" if error.reason else ""


def _unresolved(names: dict[str, tuple[KeyPath, Severity]], source: Source) -> Iterator[Problem]:
    """Host names that do not resolve now; all are asked at once."""
    failures: dict[str, str] = {}
    asking = {
        name: threading.Thread(target=_resolve, args=(name, failures), daemon=True)
        for name in names
        if name and not is_literal(name)
    }
    for thread in asking.values():
        thread.start()
    end = time.monotonic() + RESOLVE_TIME
    for name, thread in asking.items():
        thread.join(max(0.0, end - time.monotonic()))
        reason = f"no answer within {RESOLVE_TIME:g} seconds" if thread.is_alive() else failures.get(name)
        if reason:
            path, severity = names[name]
            yield source.problem(path, f"{shown(name)} cannot be resolved now: {reason}", severity)


def _resolve(name: str, failures: dict[str, str]) -> None:
    try:
        socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        failures[name] = getattr(error, "strerror", None) or str(error)
