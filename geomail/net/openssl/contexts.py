"""Settings of a server's context that ``ssl`` has no word for, each named for nginx's directive."""

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
    errors,
    libssl,
    pointer_to_context,
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
    """A server's context, with what must live as long as it does.

    Where its sessions may be those of other contexts, ``session_id_context``
    tells which: those with the same value. Where the keys of its tickets change,
    those of ``changing_keys`` are good until ``ticket_keys_end``, of
    time.monotonic().
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
    libssl().SSL_CTX_set_alpn_select_cb(pointer_to_context(context), _chooser(protocol.encode()), None)


@functools.cache
def _chooser(protocol: bytes) -> Callable[..., int]:
    name = create_string_buffer(protocol, len(protocol))
    address = addressof(name)
    only = bytes([len(protocol)]) + protocol

    def choose(_connection: int, out: object, size: object, offered: int, length: int, _kept: int) -> int:
        names = string_at(offered, length)
        if names != only and protocol not in _names(names):
            return _ALPN_FATAL
        out[0], size[0] = address, len(name)  # type: ignore[index]
        return _ALPN_SELECTED

    return AlpnCallback(choose)


def _names(data: bytes) -> Iterator[bytes]:
    """The names of an ALPN list, whose form OpenSSL has checked."""
    start = 0
    while start < len(data):
        end = start + 1 + data[start]
        yield data[start + 1 : end]
        start = end


def send_no_foreign_chain(context: ssl.SSLContext) -> None:
    """Send the chain that stands in the certificate's file, not one made up from the CAs for clients."""
    libssl().SSL_CTX_ctrl(pointer_to_context(context), _CTRL_MODE, _MODE_NO_AUTO_CHAIN, None)


def set_ecdh_curve(context: ssl.SSLContext, curves: str) -> None:
    """``ssl_ecdh_curve``: groups for key exchange in order of preference, ``X25519:prime256v1`` say."""
    accepted = libssl().SSL_CTX_ctrl(pointer_to_context(context), _CTRL_GROUPS_LIST, 0, curves.encode())
    if not accepted:
        raise TlsSettingError("ssl_ecdh_curve", f"{curves!r} is refused: {errors()}")


def ask_for_certificate(context: ssl.SSLContext, depth: int | None) -> None:
    """``ssl_verify_client`` and ``ssl_verify_depth``: ask for a certificate and verify it.

    No handshake fails by it: the result is to be had from the connection.
    """
    pointer = pointer_to_context(context)
    libssl().SSL_CTX_set_verify(pointer, _VERIFY_PEER, _go_on)
    if depth is not None:
        libssl().SSL_CTX_set_verify_depth(pointer, depth)


#: Called for each certificate of a chain, good or bad.
_go_on = VerifyCallback(lambda _preverified, _store: 1)


def name_authorities(context: ssl.SSLContext, file: str) -> None:
    """``ssl_client_certificate``: tell clients the names of the CAs in this file, which can be read."""
    names = libssl().SSL_load_client_CA_file(file.encode())
    if not names:
        raise TlsSettingError("ssl_client_certificate", f"{file!r} holds no certificate in PEM ({errors()})")
    libssl().SSL_CTX_set_client_CA_list(pointer_to_context(context), names)
    clear_errors()


def load_crl(context: ssl.SSLContext, file: str) -> None:
    """``ssl_crl``: check the whole chain against the revocation lists in this file, which can be read."""
    library = libssl()
    store = library.SSL_CTX_get_cert_store(pointer_to_context(context))
    lookup = library.X509_STORE_add_lookup(store, library.X509_LOOKUP_file())
    if not (lookup and library.X509_load_crl_file(lookup, file.encode(), _PEM)):
        raise TlsSettingError("ssl_crl", f"{file!r} holds no revocation list in PEM ({errors()})")
    clear_errors()
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def certificates(context: ssl.SSLContext) -> Iterator[bytes]:
    """The server's certificates in DER, one for each kind of key."""
    library, pointer = libssl(), pointer_to_context(context)
    step = _CERT_FIRST
    while library.SSL_CTX_ctrl(pointer, _CTRL_CURRENT_CERT, step, None):
        certificate = library.SSL_CTX_get0_certificate(pointer)
        buffer = create_string_buffer(library.i2d_X509(certificate, None))
        library.i2d_X509(certificate, byref(c_void_p(addressof(buffer))))
        yield buffer.raw
        step = _CERT_NEXT


def run_conf_commands(context: ssl.SSLContext, commands: Iterable[tuple[str, str]]) -> None:
    """``ssl_conf_command``: run commands of SSL_CONF_cmd(3).

    A key that is protected by a password is refused: nobody is asked for it.
    """
    library, pointer = libssl(), pointer_to_context(context)
    library.SSL_CTX_set_default_passwd_cb(pointer, _no_password)
    conf = library.SSL_CONF_CTX_new()
    try:
        library.SSL_CONF_CTX_set_flags(conf, _CONF_FLAGS)
        library.SSL_CONF_CTX_set_ssl_ctx(conf, pointer)
        for name, value in commands:
            if library.SSL_CONF_cmd(conf, name.encode(), value.encode()) <= 0:
                raise TlsSettingError("ssl_conf_command", f"{name!r}, {value!r} is refused: {errors()}")
        if not library.SSL_CONF_CTX_finish(conf):
            raise TlsSettingError("ssl_conf_command", f"cannot be completed: {errors()}")
    finally:
        library.SSL_CONF_CTX_free(conf)
    clear_errors()


#: Without it, OpenSSL would ask at the terminal, and wait.
_no_password = PasswordCallback(lambda _buffer, _size, _writing, _kept: 0)
