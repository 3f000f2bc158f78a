import ast
import ssl
from pathlib import Path

import pytest

from geomail.errors import CertificateError, Farewell, NoCertificate
from geomail.parties import (
    Asserted,
    ClientCertificate,
    Credentials,
    Digest,
    Login,
    Method,
    NoLogin,
    Password,
    Token,
    VerifyClient,
    judge_certificate,
)

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
    assert judge_certificate(mode, certificate) == expected


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


# -- credentials ----------------------------------------------------------------------------------

SALT = b"<1@x>"
MAIL, RCPT = b"MAIL FROM:<a>", b"RCPT TO:<b>"
PASSWORD = Password(b"u", b"s3cret")
APOP = Digest(b"u", b"s3cret", SALT, "apop")
CRAM = Digest(b"u", b"s3cret", SALT, "cram-md5")
BEARER = Token(b"u", b"s3cret", "oauthbearer")
XOAUTH2 = Token(b"u", b"s3cret", "xoauth2")
ASSERTED = Asserted(b"u")
NO_LOGIN = NoLogin(MAIL, RCPT)


@pytest.mark.parametrize(
    ("credentials", "method", "secret"),
    [
        (PASSWORD, "plain", b"s3cret"),
        (APOP, "apop", b"s3cret"),
        (CRAM, "cram-md5", b"s3cret"),
        (BEARER, "oauthbearer", b"s3cret"),
        (XOAUTH2, "xoauth2", b"s3cret"),
        (ASSERTED, "external", b""),
        (NO_LOGIN, "none", b""),
    ],
)
def test_credentials_know_their_method_and_secret(
    credentials: Credentials, method: Method, secret: bytes
) -> None:
    login = Login(credentials, tag=b"a1", helo=b"me", esmtp=True)

    assert (credentials.method, credentials.secret) == (method, secret)
    assert login.user == (b"" if credentials is NO_LOGIN else b"u")
    assert login.password == (b"s3cret" if credentials is PASSWORD else None)
    assert "s3cret" not in repr(login)


@pytest.mark.parametrize(
    ("old", "user", "password", "new"),
    [
        (PASSWORD, None, b"q", Password(b"u", b"q")),
        (PASSWORD, b"v", None, Password(b"v", b"s3cret")),
        (PASSWORD, b"v", b"s3cret", Password(b"v", b"s3cret")),
        (PASSWORD, b"v", b"", Password(b"v", b"")),
        (PASSWORD, b"", None, Password(b"", b"s3cret")),
        (APOP, b"v", None, Digest(b"v", b"s3cret", SALT, "apop")),
        (CRAM, b"v", b"q", Password(b"v", b"q")),
        (CRAM, None, b"s3cret", PASSWORD),
        (XOAUTH2, b"v", None, Token(b"v", b"s3cret", "xoauth2")),
        (BEARER, None, b"q", Password(b"u", b"q")),
        (ASSERTED, b"v", None, Asserted(b"v")),
        (ASSERTED, None, b"", Password(b"u", b"")),
        (NO_LOGIN, b"v", None, NoLogin(MAIL, RCPT, b"v")),
        (NO_LOGIN, b"v", b"q", NoLogin(MAIL, RCPT, b"v")),
    ],
)
def test_an_auth_source_replaces_user_and_password(
    old: Credentials, user: bytes | None, password: bytes | None, new: Credentials
) -> None:
    login = Login(old, tag=b"a1", helo=b"me", esmtp=True)

    assert login.rewrite(user, password) == Login(new, tag=b"a1", helo=b"me", esmtp=True)
    assert login.credentials is old


@pytest.mark.parametrize("credentials", [PASSWORD, APOP, XOAUTH2, ASSERTED, NO_LOGIN])
def test_what_changes_nothing_makes_no_other_login(credentials: Credentials) -> None:
    login = Login(credentials)

    assert login.rewrite(None, None) is login
    assert login.rewrite(login.user, login.password) is login
    if credentials is NO_LOGIN:
        assert login.rewrite(b"", b"q") is login


def test_types_decide_and_not_the_names_of_methods() -> None:
    def is_method(node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == "method"

    compared = [
        f"{path}:{node.lineno}"
        for path in sorted((Path(__file__).parents[1] / "geomail").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Compare) and any(map(is_method, [node.left, *node.comparators])))
        or (isinstance(node, ast.Match) and is_method(node.subject))
    ]

    assert compared == []
