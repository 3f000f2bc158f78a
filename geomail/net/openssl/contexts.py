"""Settings of a server's context that ``ssl`` does not offer, each named after nginx's directive."""

from __future__ import annotations

import functools
import math
import ssl
from collections.abc import Callable, Iterable, Iterator
from ctypes import addressof, byref, c_void_p, create_string_buffer, string_at
from typing import TYPE_CHECKING

from geomail.errors import TlsSettingError
from geomail.net.openssl.binding import (
    AlpnCallback,
    PasswordCallback,
    VerifyCallback,
    clear_errors,
    get_context_pointer,
    libssl,
    take_errors,
)

if TYPE_CHECKING:
    from geomail.net.session_cache import SessionCache
    from geomail.net.ticket_keys import ChangingKeys

_VERIFY_PEER = 1
_PEM = 1
_CERT_FIRST, _CERT_NEXT = 1, 2
_MODE_NO_AUTO_CHAIN = 8
_CONF_FLAGS = 0x2 | 0x4 | 0x8 | 0x10 | 0x20  # file syntax, client, server, show errors, certificates
_ALPN_SELECTED, _ALPN_FATAL = 0, 2
_CTRL_MODE, _CTRL_GROUPS_LIST, _CTRL_CURRENT_CERT = 33, 92, 117


class ServerContext(ssl.SSLContext):
    """A server's context, with the objects that must live as long as it does.

    Contexts with the same ``session_id_context`` resume each other's sessions;
    empty: the context resumes only its own. If the keys of its tickets change,
    they come from ``changing_keys``, and the present ones are valid until
    ``ticket_keys_end``, of time.monotonic().
    """

    session_id_context: bytes = b""
    shared_sessions: SessionCache | None = None
    ticket_callback: object = None
    changing_keys: ChangingKeys | None = None
    ticket_keys_end: float = math.inf


def choose_protocol(context: ssl.SSLContext, protocol: str) -> None:
    """Speak this one protocol (ALPN); a client that offers only others gets alert no_application_protocol.

    A client that offers none is served. RFC 7301, 3.2.
    """
    libssl().SSL_CTX_set_alpn_select_cb(get_context_pointer(context), _make_chooser(protocol.encode()), None)


@functools.cache
def _make_chooser(protocol: bytes) -> Callable[..., int]:
    name = create_string_buffer(protocol, len(protocol))
    address = addressof(name)
    only = bytes([len(protocol)]) + protocol

    def choose(_connection: int, out: object, size: object, offered: int, length: int, _kept: int) -> int:
        names = string_at(offered, length)
        if names != only and protocol not in _split_names(names):
            return _ALPN_FATAL
        out[0], size[0] = address, len(name)  # type: ignore[index]
        return _ALPN_SELECTED

    return AlpnCallback(choose)


def _split_names(data: bytes) -> Iterator[bytes]:
    """Yield the names of an ALPN list; OpenSSL has checked its form."""
    start = 0
    while start < len(data):
        end = start + 1 + data[start]
        yield data[start + 1 : end]
        start = end


def send_only_configured_chain(context: ssl.SSLContext) -> None:
    """Send the chain of the certificate's file, not one that OpenSSL builds from the CAs for clients."""
    libssl().SSL_CTX_ctrl(get_context_pointer(context), _CTRL_MODE, _MODE_NO_AUTO_CHAIN, None)


def set_ecdh_curve(context: ssl.SSLContext, curves: str) -> None:
    """Apply ``ssl_ecdh_curve``: key exchange groups in order of preference (``X25519:prime256v1``)."""
    accepted = libssl().SSL_CTX_ctrl(get_context_pointer(context), _CTRL_GROUPS_LIST, 0, curves.encode())
    if not accepted:
        raise TlsSettingError("ssl_ecdh_curve", f"{curves!r} is refused by OpenSSL: {take_errors()}")


def ask_for_certificate(context: ssl.SSLContext, depth: int | None) -> None:
    """Apply ``ssl_verify_client`` and ``ssl_verify_depth``: ask for a certificate and verify it.

    A bad certificate does not make the handshake fail: ask the connection for the result.
    """
    pointer = get_context_pointer(context)
    libssl().SSL_CTX_set_verify(pointer, _VERIFY_PEER, _go_on)
    if depth is not None:
        libssl().SSL_CTX_set_verify_depth(pointer, depth)


#: OpenSSL calls it for each certificate of a chain, good or bad.
_go_on = VerifyCallback(lambda _preverified, _store: 1)


def name_authorities(context: ssl.SSLContext, file: str) -> None:
    """Apply ``ssl_client_certificate``: tell clients the names of the CAs in this readable file."""
    names = libssl().SSL_load_client_CA_file(file.encode())
    if not names:
        raise TlsSettingError(
            "ssl_client_certificate", f"{file!r} holds no certificate in PEM ({take_errors()})"
        )
    libssl().SSL_CTX_set_client_CA_list(get_context_pointer(context), names)
    clear_errors()


def load_crl(context: ssl.SSLContext, file: str) -> None:
    """Apply ``ssl_crl``: check the whole chain against the revocation lists in this readable file."""
    library = libssl()
    store = library.SSL_CTX_get_cert_store(get_context_pointer(context))
    lookup = library.X509_STORE_add_lookup(store, library.X509_LOOKUP_file())
    if not (lookup and library.X509_load_crl_file(lookup, file.encode(), _PEM)):
        raise TlsSettingError("ssl_crl", f"{file!r} holds no revocation list in PEM ({take_errors()})")
    clear_errors()
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def list_certificates(context: ssl.SSLContext) -> Iterator[bytes]:
    """Yield the server's certificates in DER, one for each kind of key."""
    library, pointer = libssl(), get_context_pointer(context)
    step = _CERT_FIRST
    while library.SSL_CTX_ctrl(pointer, _CTRL_CURRENT_CERT, step, None):
        certificate = library.SSL_CTX_get0_certificate(pointer)
        buffer = create_string_buffer(library.i2d_X509(certificate, None))
        library.i2d_X509(certificate, byref(c_void_p(addressof(buffer))))
        yield buffer.raw
        step = _CERT_NEXT


def run_conf_commands(context: ssl.SSLContext, commands: Iterable[tuple[str, str]]) -> None:
    """Apply ``ssl_conf_command``: run commands of SSL_CONF_cmd(3).

    A key with a password is refused: OpenSSL must not ask for the password.
    """
    library, pointer = libssl(), get_context_pointer(context)
    library.SSL_CTX_set_default_passwd_cb(pointer, _no_password)
    conf = library.SSL_CONF_CTX_new()
    try:
        library.SSL_CONF_CTX_set_flags(conf, _CONF_FLAGS)
        library.SSL_CONF_CTX_set_ssl_ctx(conf, pointer)
        for name, value in commands:
            if library.SSL_CONF_cmd(conf, name.encode(), value.encode()) <= 0:
                raise TlsSettingError(
                    "ssl_conf_command", f"{name!r}, {value!r} is refused by OpenSSL: {take_errors()}"
                )
        if not library.SSL_CONF_CTX_finish(conf):
            raise TlsSettingError("ssl_conf_command", f"OpenSSL cannot apply the commands: {take_errors()}")
    finally:
        library.SSL_CONF_CTX_free(conf)
    clear_errors()


#: Without this callback, OpenSSL would ask at the terminal, and wait.
_no_password = PasswordCallback(lambda _buffer, _size, _writing, _kept: 0)
