"""The libssl to which the ``ssl`` module is linked: found, declared, and checked before it is used."""

from __future__ import annotations

import _ssl
import functools
import ssl
import sys
from ctypes import (
    CFUNCTYPE,
    POINTER,
    PyDLL,
    c_char_p,
    c_int,
    c_long,
    c_size_t,
    c_ubyte,
    c_uint,
    c_uint64,
    c_ulong,
    c_void_p,
    create_string_buffer,
    sizeof,
)
from typing import Any

P = c_void_p
#: Bytes of the head of every object, and of a pointer.
_HEAD, _WORD = object.__basicsize__, sizeof(P)
#: ``int (*)(int preverified, X509_STORE_CTX *)``
VerifyCallback = CFUNCTYPE(c_int, c_int, P)
#: ``int (*)(SSL *, unsigned char **out, unsigned char *outlen, unsigned char *in, unsigned inlen, void *)``
AlpnCallback = CFUNCTYPE(c_int, P, POINTER(P), POINTER(c_ubyte), P, c_uint, P)
#: ``int (*)(SSL *, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int encrypt)``
TicketCallback = CFUNCTYPE(c_int, P, P, P, P, P, c_int)
#: ``int (*)(SSL *, SSL_SESSION *)``
NewSessionCallback = CFUNCTYPE(c_int, P, P)
#: ``SSL_SESSION *(*)(SSL *, const unsigned char *id, int idlen, int *copy)``
GetSessionCallback = CFUNCTYPE(P, P, P, c_int, POINTER(c_int))
#: ``int (*)(char *buffer, int size, int writing, void *)``
PasswordCallback = CFUNCTYPE(c_int, P, c_int, c_int, P)

#: Result and arguments of every function that is called.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "ASN1_STRING_print_ex": (c_int, P, P, c_ulong),
    "BIO_ctrl": (c_long, P, c_int, c_long, P),
    "BIO_free": (c_int, P),
    "BIO_new": (P, P),
    "BIO_s_mem": (P,),
    "BUF_MEM_new": (P,),
    "ERR_clear_error": (None,),
    "ERR_error_string_n": (None, c_ulong, P, c_size_t),
    "ERR_get_error": (c_ulong,),
    "EVP_CipherInit_ex": (c_int, P, P, P, P, P, c_int),
    "EVP_MAC_CTX_set_params": (c_int, P, P),
    "EVP_PKEY_get_base_id": (c_int, P),
    "EVP_PKEY_get_bits": (c_int, P),
    "EVP_aes_128_cbc": (P,),
    "EVP_aes_256_cbc": (P,),
    "OBJ_nid2sn": (c_char_p, c_int),
    "RAND_bytes": (c_int, P, c_int),
    "SSL_CONF_CTX_finish": (c_int, P),
    "SSL_CONF_CTX_free": (None, P),
    "SSL_CONF_CTX_new": (P,),
    "SSL_CONF_CTX_set_flags": (c_uint, P, c_uint),
    "SSL_CONF_CTX_set_ssl_ctx": (None, P, P),
    "SSL_CONF_cmd": (c_int, P, c_char_p, c_char_p),
    "SSL_CTX_ctrl": (c_long, P, c_int, c_long, P),
    "SSL_CTX_get0_certificate": (P, P),
    "SSL_CTX_get_cert_store": (P, P),
    "SSL_CTX_get_options": (c_uint64, P),
    "SSL_CTX_remove_session": (c_int, P, P),
    "SSL_CTX_sess_set_get_cb": (None, P, GetSessionCallback),
    "SSL_CTX_sess_set_new_cb": (None, P, NewSessionCallback),
    "SSL_CTX_set_alpn_select_cb": (None, P, AlpnCallback, P),
    "SSL_CTX_set_client_CA_list": (None, P, P),
    "SSL_CTX_set_default_passwd_cb": (None, P, PasswordCallback),
    "SSL_CTX_set_timeout": (c_long, P, c_long),
    "SSL_CTX_set_tlsext_ticket_key_evp_cb": (c_int, P, TicketCallback),
    "SSL_CTX_set_verify": (None, P, c_int, VerifyCallback),
    "SSL_CTX_set_verify_depth": (None, P, c_int),
    "SSL_SESSION_get_id": (P, P, POINTER(c_uint)),
    "SSL_get_SSL_CTX": (P, P),
    "SSL_get_certificate": (P, P),
    "SSL_get_options": (c_uint64, P),
    "SSL_get_rbio": (P, P),
    "SSL_get_servername": (c_char_p, P, c_int),
    "SSL_get_session": (P, P),
    "SSL_get_verify_result": (c_long, P),
    "SSL_get_wbio": (P, P),
    "SSL_load_client_CA_file": (P, c_char_p),
    "SSL_set_session_id_context": (c_int, P, c_char_p, c_uint),
    "SSL_shutdown": (c_int, P),
    "SSL_version": (c_int, P),
    "X509_LOOKUP_file": (P,),
    "X509_NAME_ENTRY_get_data": (P, P),
    "X509_NAME_get_entry": (P, P, c_int),
    "X509_NAME_get_index_by_NID": (c_int, P, c_int, c_int),
    "X509_NAME_print_ex": (c_int, P, P, c_int, c_ulong),
    "X509_STORE_add_lookup": (P, P, P),
    "X509_free": (None, P),
    "X509_get0_pubkey": (P, P),
    "X509_get0_serialNumber": (P, P),
    "X509_get_issuer_name": (P, P),
    "X509_get_signature_nid": (c_int, P),
    "X509_get_subject_name": (P, P),
    "X509_load_crl_file": (c_int, P, c_char_p, c_int),
    "X509_verify_cert_error_string": (c_char_p, c_long),
    "d2i_SSL_SESSION": (P, P, POINTER(P), c_long),
    "d2i_X509": (P, P, POINTER(P), c_long),
    "i2a_ASN1_INTEGER": (c_int, P, P),
    "i2d_SSL_SESSION": (c_int, P, POINTER(P)),
    "i2d_X509": (c_int, P, POINTER(P)),
}


def is_available() -> bool:
    """Tell whether libssl can be called.

    It can if ``ssl`` links OpenSSL 3 as a shared library, and its objects have the
    known layout. Otherwise nothing else of this package may be called.
    """
    return _load() is not None


def libssl() -> PyDLL:
    """Return the library, its functions declared; calls keep the interpreter's lock, as none takes long."""
    library = _load()
    assert library is not None, "libssl is not available"
    return library


def get_context_pointer(context: ssl.SSLContext) -> int:
    """Return the ``SSL_CTX *`` of a context; it is valid while the context lives."""
    return _read_word(context, 0)


def get_connection_pointer(connection: ssl.SSLObject) -> int:
    """Return the ``SSL *`` of a connection; it is valid while the connection lives."""
    return _read_word(_get_inner(connection), 1)


def clear_errors() -> None:
    """Clear OpenSSL's queue of errors: ``ssl`` would take them for the failure of its own next call."""
    libssl().ERR_clear_error()


def take_errors() -> str:
    """Return why the last call failed, in OpenSSL's words, and clear OpenSSL's queue of errors."""
    library = libssl()
    buffer = create_string_buffer(256)
    reasons: list[str] = []
    while code := library.ERR_get_error():
        library.ERR_error_string_n(code, buffer, len(buffer))
        reason = buffer.value.decode("ascii", "replace").rpartition(":")[2]
        if reason not in reasons:
            reasons.append(reason)
    return ", ".join(reasons) or "no reason given"


@functools.cache
def _load() -> PyDLL | None:
    try:
        library = PyDLL(_ssl.__file__)
        for name, (result, *arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (AttributeError, OSError):
        return None  # linked in statically, or older than OpenSSL 3
    return library if _has_known_layout(library) else None


def _has_known_layout(library: PyDLL) -> bool:
    """Tell whether objects hold their pointers in the known places; follow no pointer before."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    connection = _get_inner(context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True))
    if sys.implementation.name != "cpython" or _count_words(connection) < 3 or _count_words(context) < 1:
        return False
    socket, pointer, owner = _read_words(connection, 3)
    if socket is not None or pointer is None or owner != id(context):
        return False
    found = library.SSL_get_SSL_CTX(pointer)
    return found == _read_words(context, 1)[0] and all(
        _have_same_options(library, context, found, options)
        for options in (context.options | ssl.OP_NO_TICKET, context.options & ~ssl.OP_NO_TICKET)
    )


def _have_same_options(library: PyDLL, context: ssl.SSLContext, pointer: int, options: int) -> bool:
    context.options = ssl.Options(options)
    found: int = library.SSL_CTX_get_options(pointer)
    return found == context.options


def _get_inner(connection: ssl.SSLObject) -> object:
    return connection._sslobj  # type: ignore[attr-defined]


def _count_words(instance: object) -> int:
    """Return the number of words that an object holds behind its head."""
    return (type(instance).__basicsize__ - _HEAD) // _WORD


def _read_word(instance: object, number: int) -> int:
    """Return one of :func:`_read_words`, which is faster than to read them all."""
    pointer = P.from_address(id(instance) + _HEAD + number * _WORD).value
    assert pointer is not None
    return pointer


def _read_words(instance: object, count: int) -> list[int | None]:
    """Return the first words of an object behind its head, as pointers."""
    return list((P * count).from_address(id(instance) + _HEAD))
