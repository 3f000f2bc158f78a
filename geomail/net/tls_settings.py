"""Settings of a listener's TLS, with their files; an error names nginx's directive."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from geomail.errors import TlsSettingError
from geomail.net.openssl import contexts, sessions
from geomail.net.openssl.contexts import ServerContext
from geomail.net.ticket_keys import ChangingKeys, TicketKey
from geomail.parties import VerifyClient

#: Seconds for which a session lives by default, as in OpenSSL.
_OPENSSL_TIMEOUT = 7200.0
#: Names of certificates in a folder, as OpenSSL looks for them: a digest of the subject, and a number.
_HASHED = "[0-9a-f]*.[0-9]*"
#: The most bytes of a passphrase that ``ssl`` takes.
_LONGEST_PASSWORD = 1024
#: OpenSSL's reasons if a key belongs to another certificate, of the same kind or not.
_MISMATCH = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
#: If OpenSSL's reason holds one of these words, the certificate is bad, not the key.
_ABOUT_CERTIFICATES = ("TOO_SMALL", "TOO_WEAK")


def refuse_used(directives: Mapping[str, bool]) -> None:
    """Raise TlsSettingError for the first directive that is in use: they need libssl, which is missing."""
    for directive, used in directives.items():
        if used:
            text = "needs a Python whose ssl module is linked to OpenSSL 3 as a shared library"
            raise TlsSettingError(directive, text)


def set_ciphers(context: ssl.SSLContext, ciphers: str, prefer_server_ciphers: bool) -> None:
    """Apply ``ssl_ciphers`` (up to TLS 1.2) and ``ssl_prefer_server_ciphers``."""
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise TlsSettingError("ssl_ciphers", f"{ciphers!r}: OpenSSL has none of these ciphers") from None
    if prefer_server_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE


def load_certificates(
    context: ssl.SSLContext, pairs: Iterable[tuple[str, str]], password_file: str | None
) -> None:
    """Apply ``ssl_certificate`` and ``…_key`` (also as ``data:…``), with ``ssl_password_file``."""
    passwords = () if password_file is None else _read_passwords(password_file)
    for certificate, key in pairs:
        with (
            _open_as_file("ssl_certificate", certificate) as certificate_file,
            _open_as_file("ssl_certificate_key", key) as key_file,
        ):
            labels = _make_label(certificate), _make_label(key)
            _load(context, certificate_file, key_file, passwords, labels)


def load_dhparam(context: ssl.SSLContext, file: str) -> None:
    """Apply ``ssl_dhparam``: without it, no cipher with DHE can be used."""
    _read("ssl_dhparam", file)
    try:
        context.load_dh_params(file)
    except ssl.SSLError as error:
        text = f"{file!r} holds no usable DH parameters in PEM ({_get_reason(error)})"
        raise TlsSettingError("ssl_dhparam", text) from None


def verify_clients(
    context: ServerContext,
    mode: VerifyClient,
    depth: int | None,
    client_certificate: str | None,
    trusted_certificate: str | None,
    crl: str | None,
) -> list[bytes]:
    """Apply ``ssl_verify_client`` and its companions; return all that a client's result depends on."""
    basis = [mode.encode(), str(depth).encode()]
    if mode != "off":
        if mode != "optional_no_ca" and client_certificate is None and trusted_certificate is None:
            text = "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client"
            raise TlsSettingError("ssl_verify_client", text)
        contexts.ask_for_certificate(context, depth)
        if client_certificate is not None:
            basis.append(_load_authorities(context, "ssl_client_certificate", client_certificate))
            contexts.name_authorities(context, client_certificate)
    if trusted_certificate is not None:
        basis.append(_load_authorities(context, "ssl_trusted_certificate", trusted_certificate))
    if crl is not None:
        basis.append(_read("ssl_crl", crl))
        contexts.load_crl(context, crl)
    return basis


def resume_sessions(
    context: ServerContext, cache: str, timeout: float | None, tickets: bool, ticket_keys: Sequence[str]
) -> None:
    """Apply ``ssl_session_cache``, ``…_timeout``, ``…_tickets`` and ``…_ticket_key``."""
    sessions.set_session_cache(context, cache)
    if timeout is not None:
        sessions.set_session_timeout(context, timeout)
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    if ticket_keys:
        sessions.set_session_ticket_keys(context, _read_ticket_keys(ticket_keys))
    elif tickets:
        life = _OPENSSL_TIMEOUT if timeout is None else timeout
        shared = context.shared_sessions
        keys = ChangingKeys(life) if shared is None else shared.get_ticket_keys(life)
        sessions.change_session_ticket_keys(context, keys)


def load_system_authorities(context: ssl.SSLContext) -> None:
    """Trust the system's authorities, and read each of them now.

    By itself, OpenSSL reads an authority in a folder only when a peer's certificate names it.
    """
    places = ssl.get_default_verify_paths()
    if places.cafile is not None:
        context.load_verify_locations(cafile=places.cafile)
    folder: str | None = places.capath
    for file in sorted(Path(folder).glob(_HASHED)) if folder is not None else ():
        try:
            context.load_verify_locations(cafile=file)
        except (OSError, ssl.SSLError):
            continue  # OpenSSL could not use it either: a broken link, or a file without a certificate


def _get_reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason, in words."""
    return (error.reason or str(error)).lower().replace("_", " ")


def _read(directive: str, file: str) -> bytes:
    """Return the content of a directive's file."""
    try:
        return Path(file).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: NUL in a name
        reason = getattr(error, "strerror", None) or str(error)
        raise TlsSettingError(directive, f"{file!r} cannot be read: {reason}") from None


def _load_authorities(context: ssl.SSLContext, directive: str, file: str) -> bytes:
    """Trust the CAs in a file, and return its content."""
    content = _read(directive, file)
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        text = f"{file!r} holds no certificate in PEM ({_get_reason(error)})"
        raise TlsSettingError(directive, text) from None
    return content


def _read_ticket_keys(files: Sequence[str]) -> list[TicketKey]:
    """Read ``ssl_session_ticket_key``: one key in each file; the first is the one in use."""
    keys = []
    for file in files:
        key = TicketKey.parse(_read("ssl_session_ticket_key", file))
        if key is None:
            text = f"{file!r} must be 48 or 80 bytes: make it with openssl rand -out FILE 80"
            raise TlsSettingError("ssl_session_ticket_key", text)
        keys.append(key)
    return keys


def _read_passwords(file: str) -> tuple[bytes, ...]:
    """Read the passwords, one on each line; empty lines are skipped."""
    lines = [line.removesuffix(b"\r") for line in _read("ssl_password_file", file).split(b"\n")]
    if any(len(line) > _LONGEST_PASSWORD for line in lines):
        text = f"too long line in {file!r}: a password has at most {_LONGEST_PASSWORD} bytes"
        raise TlsSettingError("ssl_password_file", text)

    return tuple(line for line in lines if line)


def _make_label(value: str) -> str:
    """Return the name of a file for messages; the text after ``data:`` is hidden, as it may be a key."""
    return "data:…" if value.startswith("data:") else repr(value)


@contextmanager
def _open_as_file(directive: str, value: str) -> Iterator[str]:
    """Give the name of a file that holds the directive's certificate or key."""
    if value.startswith(("engine:", "store:")):
        raise TlsSettingError(directive, f"{value.partition(':')[0]}: is not supported; name a file")
    if not value.startswith("data:"):
        _read(directive, value)
        yield value
        return
    descriptor = os.memfd_create("geomail")
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        file.write(value.removeprefix("data:").encode())
        yield f"/proc/self/fd/{descriptor}"


def _load(
    context: ssl.SSLContext, certificate: str, key: str, passwords: Sequence[bytes], labels: tuple[str, str]
) -> None:
    """Load a certificate and its key, trying each password; OpenSSL must not ask for one at the terminal."""
    asked = False

    def answer(password: bytes | None) -> Callable[[], bytes]:
        def give() -> bytes:
            nonlocal asked
            asked = True
            if password is None:
                text = f"{labels[1]}: the private key is encrypted; add ssl_password_file with its passphrase"
                raise TlsSettingError("ssl_certificate_key", text)
            return password

        return give

    for password in passwords or (None,):
        try:
            context.load_cert_chain(certificate, key, answer(password))
            return
        except ssl.SSLError as error:
            if not asked or error.reason in _MISMATCH:
                raise _explain(error, certificate, labels) from None
    text = f"no line of ssl_password_file is the passphrase of {labels[1]}"
    raise TlsSettingError("ssl_certificate_key", text)


def _explain(error: ssl.SSLError, certificate: str, labels: tuple[str, str]) -> TlsSettingError:
    """Find out which of the two files OpenSSL means, and what is wrong with it."""
    if error.reason in _MISMATCH:
        text = f"the key {labels[1]} does not belong to the certificate {labels[0]} (key values mismatch)"
        return TlsSettingError("ssl_certificate_key", text)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cafile=certificate)
    except ssl.SSLError as closer:
        return _blame_certificate(closer, labels)
    if any(word in (error.reason or "") for word in _ABOUT_CERTIFICATES):
        return _blame_certificate(error, labels)
    reason = _get_reason(error) if error.reason else "it holds no private key in PEM"  # OpenSSL: "PEM lib"
    return TlsSettingError("ssl_certificate_key", f"cannot load key {labels[1]}: {reason}")


def _blame_certificate(error: ssl.SSLError, labels: tuple[str, str]) -> TlsSettingError:
    return TlsSettingError("ssl_certificate", f"cannot load certificate {labels[0]}: {_get_reason(error)}")
