"""Facts of one connection: the result for its certificate, names, keys. Each is computed on request."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from ctypes import addressof, byref, c_void_p, create_string_buffer, string_at
from dataclasses import dataclass

from geomail.net.openssl.binding import clear_errors, get_connection_pointer, libssl

_HOST_NAME = 0
_BIO_INFO = 3
_COMMON_NAME = 13
_RFC_2253 = 0x01110317  # XN_FLAG_RFC2253
_AS_UTF8 = 0x10  # ASN1_STRFLGS_UTF8_CONVERT
_KEY_KINDS = {6: "RSA", 116: "DSA", 408: "EC", 912: "RSA-PSS", 1087: "ED25519", 1088: "ED448"}


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """The main fields of a certificate, as nginx writes them; ``common_name`` is the subject's first."""

    subject: str
    issuer: str
    serial: str
    common_name: bytes


def get_verify_result(connection: ssl.SSLObject) -> int:
    """Return OpenSSL's result for the peer's certificate.

    It is from this handshake, or from the handshake that began the session. 0 means
    that the certificate is good, or that there is none.
    """
    result: int = libssl().SSL_get_verify_result(get_connection_pointer(connection))
    return result


def explain_verify_result(result: int) -> str:
    """Return a verify result in OpenSSL's words."""
    text: bytes = libssl().X509_verify_cert_error_string(result)
    return text.decode("ascii", "replace")


def get_requested_name(connection: ssl.SSLObject) -> bytes | None:
    """Return the host name that the client asked for (SNI); None if it asked for none."""
    name: bytes | None = libssl().SSL_get_servername(get_connection_pointer(connection), _HOST_NAME)
    return name


def describe_own_certificate(connection: ssl.SSLObject) -> tuple[str, str]:
    """Return signature algorithm and key of this side's certificate: ``("RSA-SHA256", "EC256")``."""
    library = libssl()
    certificate = library.SSL_get_certificate(get_connection_pointer(connection))
    if not certificate:
        return "", ""
    algorithm: bytes = library.OBJ_nid2sn(library.X509_get_signature_nid(certificate))
    key = library.X509_get0_pubkey(certificate)
    kind = _KEY_KINDS.get(library.EVP_PKEY_get_base_id(key), "")
    return algorithm.decode("ascii", "replace"), f"{kind}{library.EVP_PKEY_get_bits(key)}"


def describe_certificate(der: bytes) -> CertificateSummary:
    """Read the main fields of a certificate that OpenSSL has parsed before."""
    library = libssl()
    buffer = create_string_buffer(der, len(der))
    certificate = library.d2i_X509(None, byref(c_void_p(addressof(buffer))), len(der))
    try:
        subject = library.X509_get_subject_name(certificate)
        return CertificateSummary(
            subject=_print_name(subject),
            issuer=_print_name(library.X509_get_issuer_name(certificate)),
            serial=_print_serial(library.X509_get0_serialNumber(certificate)),
            common_name=_find_common_name(subject),
        )
    finally:
        library.X509_free(certificate)
        clear_errors()


def _print_name(name: int) -> str:
    return _print(lambda bio: libssl().X509_NAME_print_ex(bio, name, 0, _RFC_2253)).decode("ascii")


def _print_serial(number: int) -> str:
    """Return a serial number in upper-case hex, on one line: OpenSSL breaks a long one into several."""
    printed = _print(lambda bio: libssl().i2a_ASN1_INTEGER(bio, number))
    return printed.replace(b"\\\n", b"").decode("ascii")


def _find_common_name(name: int) -> bytes:
    library = libssl()
    index = library.X509_NAME_get_index_by_NID(name, _COMMON_NAME, -1)
    if index < 0:
        return b""
    value = library.X509_NAME_ENTRY_get_data(library.X509_NAME_get_entry(name, index))
    return _print(lambda bio: library.ASN1_STRING_print_ex(bio, value, _AS_UTF8))


def _print(write: Callable[[int], object]) -> bytes:
    """Return the bytes that an OpenSSL function writes to a BIO."""
    library = libssl()
    bio = library.BIO_new(library.BIO_s_mem())
    try:
        write(bio)
        start = c_void_p()
        size = library.BIO_ctrl(bio, _BIO_INFO, 0, byref(start))
        return string_at(start, size) if size > 0 else b""
    finally:
        library.BIO_free(bio)
