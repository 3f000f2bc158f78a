"""ssl_verify_client and its companions: each certificate that a client may show, and the result."""

import hashlib
import re
import ssl
from pathlib import Path

import pytest

from geomail.net.wire import Wire
from geomail.parties import ClientCertificate, VerifyClient, judge_certificate
from tests.net.pki import Pair, Pki
from tests.net.tls_support import V12, V13, VERSIONS, client, listening, meet, s_client, serving

REFUSED, MISSING = "certificate error", "no certificate"

#: The certificate that a client shows, OpenSSL's result, and that of `on`, `optional` and `optional_no_ca`.
SHOWN: dict[str | None, tuple[str, int, str | None, str | None, str | None]] = {
    None: ("NONE", 0, MISSING, None, None),
    "good": ("SUCCESS", 0, None, None, None),
    "self_signed": ("FAILED:self-signed certificate", 18, REFUSED, REFUSED, None),
    "stranger": ("FAILED:unable to verify the first certificate", 21, REFUSED, REFUSED, None),
    "expired": ("FAILED:certificate has expired", 10, REFUSED, REFUSED, REFUSED),
    "revoked": ("FAILED:certificate revoked", 23, REFUSED, REFUSED, REFUSED),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["on", "optional", "optional_no_ca"])
@pytest.mark.parametrize("shown", SHOWN)
def test_results_for_certificates(
    shown: str | None, mode: VerifyClient, version: ssl.TLSVersion, pki: Pki
) -> None:
    listener = listening(
        pki.ec,
        verify_client=mode,
        verify_depth=1,
        client_certificate=pki.ca.certificate,
        crl=pki.crl if shown == "revoked" else None,
    )

    certificate = meet(listener, client(pki, version, shown=_pair(pki, shown))).channel.client_certificate

    verify, error, *verdicts = SHOWN[shown]
    assert (certificate.verify, certificate.error) == (verify, error)
    assert judge_certificate(mode, certificate) == verdicts[["on", "optional", "optional_no_ca"].index(mode)]


def _pair(pki: Pki, name: str | None) -> Pair | None:
    return None if name is None else getattr(pki, name)


@pytest.mark.parametrize("version", VERSIONS)
def test_off_asks_for_none(version: ssl.TLSVersion, pki: Pki) -> None:
    listener = listening(pki.ec, client_certificate=pki.ca.certificate)

    met = meet(listener, client(pki, version, shown=pki.good))

    assert met.channel.client_certificate == ClientCertificate()
    assert judge_certificate("off", met.channel.client_certificate) is None


def test_a_certificate_is_described_as_in_nginx(pki: Pki) -> None:
    listener = listening(pki.ec, verify_client="on", client_certificate=pki.ca.certificate)

    certificate = meet(listener, client(pki, shown=pki.good)).channel.client_certificate

    der = ssl.PEM_cert_to_DER_cert(pki.good.text)
    assert certificate.subject == "CN=cli ent.test,O=Ac me,C=US"
    assert certificate.issuer == "CN=test CA"
    assert certificate.serial == pki.openssl("x509", "-in", pki.good.certificate, "-noout", "-serial")[7:-1]
    assert certificate.fingerprint == hashlib.sha1(der).hexdigest()
    assert certificate.pem == pki.openssl("x509", "-in", pki.good.certificate)


@pytest.mark.parametrize(("depth", "verify"), [(0, "FAILED:"), (1, "SUCCESS"), (None, "SUCCESS")])
def test_depth_counts_intermediates(depth: int | None, verify: str, pki: Pki) -> None:
    listener = listening(
        pki.ec, verify_client="on", verify_depth=depth, client_certificate=pki.ca.certificate
    )

    certificate = meet(listener, client(pki, shown=pki.deep)).channel.client_certificate

    assert certificate.verify.startswith(verify)


NO_CRL = "FAILED:unable to get certificate CRL"


@pytest.mark.parametrize(
    ("lists", "shown", "verify"),
    [
        (["crl"], "good", "SUCCESS"),
        (["crl"], "deep", NO_CRL),
        (["intermediate_crl"], "deep", NO_CRL),
        (["crl", "intermediate_crl"], "deep", "SUCCESS"),
    ],
)
def test_the_whole_chain_is_checked_for_revocation(
    lists: list[str], shown: str, verify: str, pki: Pki
) -> None:
    crl = pki.file("lists.crl", "".join(Path(getattr(pki, name)).read_text() for name in lists))
    listener = listening(pki.ec, verify_client="on", client_certificate=pki.ca.certificate, crl=crl)

    assert meet(listener, client(pki, shown=_pair(pki, shown))).channel.client_certificate.verify == verify


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("mode", "sent", "names"),
    [
        ("off", True, None),
        ("on", True, ["CN = test CA"]),
        ("optional", True, ["CN = test CA"]),
        ("optional", False, []),
        ("optional_no_ca", False, []),
    ],
)
def test_the_names_of_cas(
    mode: VerifyClient, sent: bool, names: list[str] | None, version: str, pki: Pki
) -> None:
    directive = "client_certificate" if sent else "trusted_certificate"

    with serving(listening(pki.ec, verify_client=mode, **{directive: pki.ca.certificate})) as (port, _):
        said = s_client(port, version)

    listed = re.search(r"^Acceptable client certificate CA names\n((?:CN = .*\n)*)", said, re.MULTILINE)
    assert (listed[1].splitlines() if listed else []) == (names or [])
    assert ("Requested Signature Algorithms" in said) is (names is not None)


def test_a_ca_whose_name_is_not_sent_is_trusted_too(pki: Pki) -> None:
    listener = listening(pki.ec, verify_client="on", trusted_certificate=pki.ca.certificate)

    assert meet(listener, client(pki, shown=pki.good)).channel.client_certificate.verify == "SUCCESS"


def test_both_ca_files_count(pki: Pki) -> None:
    listener = listening(
        pki.ec,
        verify_client="on",
        client_certificate=pki.ca.certificate,
        trusted_certificate=pki.other_ca.certificate,
    )

    for pair in (pki.good, pki.stranger):
        assert meet(listener, client(pki, shown=pair)).channel.client_certificate.verify == "SUCCESS"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_all_lines_of_openssls_client_are_read(version: str, pki: Pki) -> None:
    def tell(wire: Wire) -> bytes:
        assert wire.channel is not None
        certificate = wire.channel.client_certificate
        return f"{certificate.verify} {certificate.subject}\r\n".encode()

    listener = listening(pki.ec, verify_client="on", client_certificate=pki.ca.certificate)
    with serving(listener, tell) as (port, failures):
        shown = s_client(port, version, "-cert", pki.self_signed.certificate, "-key", pki.self_signed.key)
        none = s_client(port, version)

    assert "FAILED:self-signed certificate CN=self-signed" in shown
    assert "NONE" in none
    assert failures == []


# -- in resumed sessions --------------------------------------------------------------------------


@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shown", SHOWN)
def test_a_resumed_session_keeps_its_first_result(
    shown: str | None, version: ssl.TLSVersion, tickets: bool, pki: Pki
) -> None:
    listener = listening(
        pki.ec,
        verify_client="optional",
        client_certificate=pki.ca.certificate,
        crl=pki.crl if shown == "revoked" else None,
        session_cache="none" if tickets else "builtin",
        session_tickets=tickets,
    )
    visitor = client(pki, version, shown=_pair(pki, shown))

    first = meet(listener, visitor)
    again = meet(listener, visitor, first.session)

    assert again.resumed
    assert again.channel.client_certificate == first.channel.client_certificate
    assert again.channel.client_certificate.verify == SHOWN[shown][0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cache", ["builtin", "shared:forgotten:64k", "builtin shared:both:64k"])
def test_the_session_of_a_rejected_client_is_forgotten(cache: str, version: ssl.TLSVersion, pki: Pki) -> None:
    listener = listening(
        pki.ec,
        verify_client="on",
        client_certificate=pki.ca.certificate,
        session_cache=cache,
        session_tickets=False,
    )
    visitor = client(pki, version)

    first = meet(listener, visitor)
    assert meet(listener, visitor, first.session).resumed
    first.channel.forget_session()

    assert not meet(listener, visitor, first.session).resumed


# -- for the PROXY protocol -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "cipher"),
    [(V12, "ECDHE-RSA-AES256-GCM-SHA384"), (V13, "TLS_AES_256_GCM_SHA384")],
)
def test_details(version: ssl.TLSVersion, cipher: str, pki: Pki) -> None:
    listener = listening(pki.rsa, verify_client="optional", client_certificate=pki.ca.certificate)
    visitor = client(pki, version, shown=pki.good, alpn=("smtp",))

    first = meet(listener, visitor)
    details, again = first.channel.details, meet(listener, visitor, first.session).channel.details

    assert (details.version, details.cipher) == (version.name.replace("_", "."), cipher)
    assert (details.server_name, details.alpn) == (b"localhost", b"smtp")
    assert (details.certificate, again.certificate) == ("connection", "session")
    assert (details.verify, again.verify) == (0, 0)
    assert (details.common_name, again.common_name) == (b"cli ent.test", b"cli ent.test")
    assert (details.signature, details.key) == ("ecdsa-with-SHA256", "RSA2048")


def test_details_of_a_client_that_tells_little(pki: Pki) -> None:
    visitor = client(pki)
    visitor.check_hostname = False

    details = meet(listening(pki.ec), visitor, name="127.0.0.1").channel.details  # no SNI for an address

    assert (details.server_name, details.alpn) == (None, None)
    assert (details.certificate, details.verify, details.common_name) == ("none", 1, b"")
    assert details.key == "EC256"


def test_details_of_a_bad_certificate(pki: Pki) -> None:
    listener = listening(pki.ec, verify_client="optional_no_ca")

    details = meet(listener, client(pki, shown=pki.self_signed)).channel.details

    assert (details.certificate, details.verify, details.common_name) == ("connection", 18, b"self-signed")
