"""What one connection tells: the result for its certificate, names, keys. Computed when asked."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from ctypes import addressof, byref, c_void_p, create_string_buffer, string_at
from dataclasses import dataclass

from geomail.net.openssl.binding import clear_errors, libssl, pointer_to_connection

_HOST_NAME = 0
_BIO_INFO = 3
_COMMON_NAME = 13
_RFC_2253 = 0x01110317  # XN_FLAG_RFC2253
_AS_UTF8 = 0x10  # ASN1_STRFLGS_UTF8_CONVERT
_KEY_KINDS = {6: "RSA", 116: "DSA", 408: "EC", 912: "RSA-PSS", 1087: "ED25519", 1088: "ED448"}


@dataclass(frozen=True, slots=True)
class Described:
    """What stands in a certificate, as nginx writes it; ``common_name`` is the subject's first."""

    subject: str
    issuer: str
    serial: str
    common_name: bytes


def verify_result(connection: ssl.SSLObject) -> int:
    """OpenSSL's result for the peer's certificate, of this handshake or of the one that began the session.

    0 is good; it also is where there is no certificate.
    """
    result: int = libssl().SSL_get_verify_result(pointer_to_connection(connection))
    return result


def verify_reason(result: int) -> str:
    """A verify result in OpenSSL's words."""
    text: bytes = libssl().X509_verify_cert_error_string(result)
    return text.decode("ascii", "replace")


def requested_name(connection: ssl.SSLObject) -> bytes | None:
    """The host name that a client asked for (SNI)."""
    name: bytes | None = libssl().SSL_get_servername(pointer_to_connection(connection), _HOST_NAME)
    return name


def own_certificate(connection: ssl.SSLObject) -> tuple[str, str]:
    """Signature algorithm and key of the certificate in use on this side: ``("RSA-SHA256", "EC256")``."""
    library = libssl()
    certificate = library.SSL_get_certificate(pointer_to_connection(connection))
    if not certificate:
        return "", ""
    algorithm: bytes = library.OBJ_nid2sn(library.X509_get_signature_nid(certificate))
    key = library.X509_get0_pubkey(certificate)
    kind = _KEY_KINDS.get(library.EVP_PKEY_get_base_id(key), "")
    return algorithm.decode("ascii", "replace"), f"{kind}{library.EVP_PKEY_get_bits(key)}"


def describe(der: bytes) -> Described:
    """Read a certificate that OpenSSL has parsed before."""
    library = libssl()
    buffer = create_string_buffer(der, len(der))
    certificate = library.d2i_X509(None, byref(c_void_p(addressof(buffer))), len(der))
    try:
        subject = library.X509_get_subject_name(certificate)
        return Described(
            subject=_name(subject),
            issuer=_name(library.X509_get_issuer_name(certificate)),
            serial=_serial(library.X509_get0_serialNumber(certificate)),
            common_name=_first_common_name(subject),
        )
    finally:
        library.X509_free(certificate)
        clear_errors()


def _name(name: int) -> str:
    return _printed(lambda bio: libssl().X509_NAME_print_ex(bio, name, 0, _RFC_2253)).decode("ascii")


def _serial(number: int) -> str:
    """In upper-case hex; OpenSSL folds a long one over lines, which no header may have."""
    printed = _printed(lambda bio: libssl().i2a_ASN1_INTEGER(bio, number))
    return printed.replace(b"\\\n", b"").decode("ascii")


def _first_common_name(name: int) -> bytes:
    library = libssl()
    index = library.X509_NAME_get_index_by_NID(name, _COMMON_NAME, -1)
    if index < 0:
        return b""
    value = library.X509_NAME_ENTRY_get_data(library.X509_NAME_get_entry(name, index))
    return _printed(lambda bio: library.ASN1_STRING_print_ex(bio, value, _AS_UTF8))


def _printed(write: Callable[[int], object]) -> bytes:
    """What an OpenSSL function writes."""
    library = libssl()
    bio = library.BIO_new(library.BIO_s_mem())
    try:
        write(bio)
        start = c_void_p()
        size = library.BIO_ctrl(bio, _BIO_INFO, 0, byref(start))
        return string_at(start, size) if size > 0 else b""
    finally:
        library.BIO_free(bio)
