import ssl

import pytest

from geomail.errors import CertificateError, Farewell, NoCertificate
from geomail.parties import ClientCertificate, VerifyClient, verdict

NONE = ClientCertificate()
VALID = ClientCertificate(der=b"x")
REFUSED, MISSING = Farewell.CERTIFICATE_ERROR.value, Farewell.NO_CERTIFICATE.value


def bad(error: int) -> ClientCertificate:
    return ClientCertificate(der=b"x", error=error, reason="why")


@pytest.mark.parametrize(
    ("mode", "certificate", "expected"),
    [
        ("off", NONE, None),
        ("off", VALID, None),
        ("off", bad(18), None),
        ("on", NONE, MISSING),
        ("on", VALID, None),
        *(("on", bad(error), REFUSED) for error in (10, 18, 19, 20, 21, 23, 27)),
        ("optional", NONE, None),
        ("optional", VALID, None),
        *(("optional", bad(error), REFUSED) for error in (10, 18, 19, 20, 21, 23, 27)),
        ("optional_no_ca", NONE, None),
        ("optional_no_ca", VALID, None),
        *(("optional_no_ca", bad(error), None) for error in (18, 19, 20, 21, 27)),
        *(("optional_no_ca", bad(error), REFUSED) for error in (1, 3, 7, 9, 10, 22, 23, 24, 26, 28)),
    ],
)
def test_verdict(mode: VerifyClient, certificate: ClientCertificate, expected: str | None) -> None:
    assert verdict(mode, certificate) == expected


@pytest.mark.parametrize(
    ("certificate", "expected"), [(NONE, "NONE"), (VALID, "SUCCESS"), (bad(10), "FAILED:why")]
)
def test_the_words_for_an_auth_service(certificate: ClientCertificate, expected: str) -> None:
    assert certificate.verify == expected


@pytest.mark.parametrize("size", [1, 47, 48, 49, 1000])
def test_pem_is_as_openssl_writes_it(size: int) -> None:
    der = bytes(range(256)) * 4

    assert ClientCertificate(der=der[:size]).pem == ssl.DER_cert_to_PEM_cert(der[:size])


def test_a_certificate_does_not_fill_the_log() -> None:
    assert "der" not in repr(VALID)


@pytest.mark.parametrize(
    ("error", "text", "farewell"),
    [
        (
            CertificateError(18, "self-signed certificate"),
            "client SSL certificate verify error: (18:self-signed certificate)",
            Farewell.CERTIFICATE_ERROR,
        ),
        (NoCertificate(), "client sent no required SSL certificate", Farewell.NO_CERTIFICATE),
    ],
)
def test_what_is_logged(error: CertificateError | NoCertificate, text: str, farewell: Farewell) -> None:
    assert (str(error), error.farewell, error.blame) == (text, farewell, "client")
