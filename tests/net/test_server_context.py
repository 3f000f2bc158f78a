"""make_server_context by nginx's directives; sessions and client certificates have files of their own."""

import base64
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from geomail.config.schema.options import INTERMEDIATE_CIPHERS
from geomail.errors import TlsFailed, TlsSettingError
from geomail.net.openssl import binding
from geomail.net.tls import TlsSide
from tests.net.pki import Pair, Pki
from tests.net.support import PATIENCE, TlsPeer, wire_pair, within
from tests.net.tls_support import V12, V13, VERSIONS, client, listening, meet, s_client, serving

Change = Callable[[Pki], dict[str, Any]]


def both(pki: Pki) -> list[tuple[str, str]]:
    return [(pki.rsa.certificate, pki.rsa.key), (pki.ec.certificate, pki.ec.key)]


# -- certificates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("sigalgs", "shown"),
    [("ECDSA+SHA256", "ecdsa"), ("RSA-PSS+SHA256", "rsa"), ("RSA-PSS+SHA256:ECDSA+SHA256", "either")],
)
def test_two_certificates_by_what_the_client_can_verify(
    sigalgs: str, shown: str, version: str, pki: Pki
) -> None:
    with serving(listening(pki.ec, certificates=both(pki))) as (port, _):
        said = s_client(port, version, "-sigalgs", sigalgs)

    [kind] = re.findall(r"Peer signature type: (\S+)", said)
    assert kind.lower().startswith(("ecdsa", "rsa") if shown == "either" else shown)


def test_a_chain_is_sent_as_it_is_in_the_file(pki: Pki) -> None:
    with serving(listening(pki.deep)) as (port, _):
        assert s_client(port, "-showcerts").count("BEGIN CERTIFICATE") == 2


def test_no_chain_is_built_from_the_cas_for_clients(pki: Pki) -> None:
    authorities = pki.file("both-cas.crt", pki.ca.text + pki.intermediate.text)
    lone = pki.file(
        "lone.crt", pki.deep.text.split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    )

    listener = listening(Pair(lone, pki.deep.key), trusted_certificate=authorities)

    with serving(listener) as (port, _):
        assert s_client(port, "-showcerts").count("BEGIN CERTIFICATE") == 1


def test_the_passphrases_of_a_file_are_tried_in_turn(pki: Pki) -> None:
    passwords = pki.file("passwords", "wrong\n\nsecret\r\nother\n")

    met = meet(listening(pki.encrypted(pki.ec, "secret"), password_file=passwords), client(pki))

    assert met.tls.getpeercert() is not None


def test_keys_with_different_passphrases(pki: Pki) -> None:
    pairs = [pki.encrypted(pki.ec, "one"), pki.encrypted(pki.rsa, "two")]

    listening(
        pki.ec,
        certificates=[(pair.certificate, pair.key) for pair in pairs],
        password_file=pki.file("two-passwords", "one\ntwo\n"),
    )


def test_certificates_in_the_configuration_itself(pki: Pki) -> None:
    inline = (f"data:{pki.ec.text}", f"data:{Path(pki.ec.key).read_text()}")

    meet(listening(pki.ec, certificates=[inline]), client(pki))


# -- protocols, ciphers, key exchange -------------------------------------------------------------


def test_nginx_protocols_that_openssl_has_no_more_are_left_out(pki: Pki) -> None:
    context = listening(pki.ec, protocols=("SSLv2", "SSLv3", "TLSv1.2"))

    assert (context.minimum_version, context.maximum_version) == (V12, V12)


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [(False, "ECDHE-ECDSA-AES128-GCM-SHA256"), (True, "ECDHE-ECDSA-AES256-GCM-SHA384")],
)
def test_prefer_server_ciphers(prefer: bool, expected: str, pki: Pki) -> None:
    server = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    visitor = client(pki, V12)
    visitor.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")

    met = meet(listening(pki.ec, ciphers=server, prefer_server_ciphers=prefer), visitor)

    assert met.channel.version_and_cipher == ("TLSv1.2", expected)


@pytest.mark.parametrize(
    ("cipher", "accepted"),
    [
        ("ECDHE-RSA-AES128-GCM-SHA256", True),
        ("ECDHE-RSA-AES256-GCM-SHA384", True),
        ("ECDHE-RSA-CHACHA20-POLY1305", True),
        ("AES256-GCM-SHA384", False),
        ("AES128-SHA", False),
        ("ECDHE-RSA-AES256-SHA", False),
        ("ECDHE-RSA-AES256-SHA384", False),
        ("ECDHE-RSA-CAMELLIA256-SHA384", False),
        ("ECDHE-ARIA256-GCM-SHA384", False),
        ("DHE-RSA-AES256-GCM-SHA384", False),
        ("DHE-RSA-AES256-SHA", False),
    ],
)
def test_by_default_each_key_is_a_fresh_one_and_each_cipher_an_aead(
    cipher: str, accepted: bool, pki: Pki
) -> None:
    with serving(listening(pki.rsa, ciphers=INTERMEDIATE_CIPHERS)) as (port, failures):
        said = s_client(port, "-tls1_2", "-cipher", cipher)

    assert (f"Cipher is {cipher}" in said) is accepted
    assert failures == ([] if accepted else ["TLS: no shared cipher"])


@pytest.mark.parametrize("given", [False, True])
def test_dhe_only_with_parameters(given: bool, pki: Pki) -> None:
    listener = listening(pki.rsa, dhparam=pki.dhparam if given else None)

    with serving(listener) as (port, failures):
        said = s_client(port, "-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256")

    assert ("Server Temp Key: DH, 2048 bits" in said) is given
    assert failures == ([] if given else ["TLS: no shared cipher"])


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("curves", "offered", "agreed"),
    [
        ("auto", "P-256", "ECDH, prime256v1"),
        ("prime256v1", "X25519:P-256", "ECDH, prime256v1"),
        ("X25519:secp384r1", "P-384", "ECDH, secp384r1"),
        ("X25519:secp384r1", "X25519", "X25519"),
        ("secp384r1", "X25519", None),
    ],
)
def test_curves(curves: str, offered: str, agreed: str | None, version: str, pki: Pki) -> None:
    with serving(listening(pki.rsa, ecdh_curve=curves)) as (port, _):
        said = s_client(port, version, "-curves", offered)

    assert re.findall(r"Server Temp Key: ([^,\n]+(?:, [^,\n]*[a-z][^,\n]*)?), \d+ bits", said) == (
        [agreed] if agreed else []
    )


def test_no_renegotiation(pki: Pki) -> None:
    context = listening(pki.ec)

    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


# -- ALPN -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("offered", "agreed"),
    [((), None), (("smtp",), "smtp"), (("http/1.1", "smtp"), "smtp"), (("x" * 255, "smtp", "imap"), "smtp")],
)
def test_alpn(offered: tuple[str, ...], agreed: str | None, version: ssl.TLSVersion, pki: Pki) -> None:
    met = meet(listening(pki.ec), client(pki, version, alpn=offered))

    assert met.tls.selected_alpn_protocol() == agreed
    assert met.channel.details.alpn == (None if agreed is None else agreed.encode())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("offered", [("imap",), ("smtpx", "smt"), ("http/1.1", "h2"), ("SMTP",)])
def test_alpn_without_a_match_gets_a_fatal_alert(
    offered: tuple[str, ...], version: ssl.TLSVersion, pki: Pki
) -> None:
    wire, sock = wire_pair("client", TlsSide(listening(pki.ec), server=True))
    peer = TlsPeer(sock.sock, client(pki, version, alpn=offered), name="localhost")
    shaking = gevent.spawn(peer.handshake)

    with pytest.raises(TlsFailed, match=r"^TLS: no application protocol$"):
        within(wire.start_tls)

    wire.close()
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.no.application.protocol"):
        shaking.get(timeout=PATIENCE)
    peer.close()


def test_the_alert_is_number_120(pki: Pki) -> None:
    with serving(listening(pki.ec)) as (port, failures):
        said = s_client(port, "-alpn", "imap,h2")

    assert "SSL alert number 120" in said
    assert failures == ["TLS: no application protocol"]


# -- ssl_conf_command -----------------------------------------------------------------------------


def test_conf_commands_come_last(pki: Pki) -> None:
    commands = [("MaxProtocol", "TLSv1.2"), ("CipherString", "ECDHE-ECDSA-AES128-GCM-SHA256")]
    context = listening(pki.ec, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384", conf_command=commands)

    assert meet(context, client(pki)).channel.version_and_cipher == (
        "TLSv1.2",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    )


def test_conf_commands_of_both_sides_are_accepted(pki: Pki) -> None:
    context = listening(pki.ec, conf_command=[("VerifyMode", "Peer"), ("RequestCAPath", str(pki.folder))])

    assert context.verify_mode == ssl.CERT_OPTIONAL


def test_conf_commands_replace_the_certificate(pki: Pki) -> None:
    commands = [("Certificate", pki.ec.certificate), ("PrivateKey", pki.ec.key)]

    listener = listening(pki.self_signed, conf_command=commands)

    assert meet(listener, client(pki)).tls.getpeercert(True) == ssl.PEM_cert_to_DER_cert(pki.ec.text)


# -- errors ---------------------------------------------------------------------------------------

#: The directive, the message about it, and the settings.
WRONG: list[tuple[str, str, Change]] = [
    ("ssl_protocols", "none of SSLv2, SSLv3", lambda pki: {"protocols": ("SSLv3", "SSLv2")}),
    ("ssl_ciphers", "'nonsense': OpenSSL has none of these ciphers", lambda pki: {"ciphers": "nonsense"}),
    (
        "ssl_certificate",
        "'/none.crt' cannot be read: No such file",
        lambda pki: {"certificates": [("/none.crt", pki.ec.key)]},
    ),
    (
        "ssl_certificate",
        "cannot be read: embedded null",
        lambda pki: {"certificates": [("a\0b", pki.ec.key)]},
    ),
    (
        "ssl_certificate",
        "cannot load certificate '.*/ec.key': no certificate",
        lambda pki: {"certificates": [(pki.ec.key, pki.ec.key)]},
    ),
    (
        "ssl_certificate",
        "cannot load certificate '.*/weak.crt': ee key too small",
        lambda pki: {"certificates": [weak(pki)]},
    ),
    (
        "ssl_certificate_key",
        "'/none.key' cannot be read: No such file",
        lambda pki: {"certificates": [(pki.ec.certificate, "/none.key")]},
    ),
    (
        "ssl_certificate_key",
        "cannot load key '.*/ec.crt'",
        lambda pki: {"certificates": [(pki.ec.certificate, pki.ec.certificate)]},
    ),
    (
        "ssl_certificate_key",
        "key '.*/good.key' does not belong to the certificate '.*/ec.crt' .*key values mismatch",
        lambda pki: {"certificates": [(pki.ec.certificate, pki.good.key)]},
    ),
    (
        "ssl_certificate_key",
        "key '.*/rsa.key' does not belong to the certificate '.*/ec.crt'",
        lambda pki: {"certificates": [(pki.ec.certificate, pki.rsa.key)]},
    ),
    (
        "ssl_certificate_key",
        "'.*/ec.encrypted.key': the private key is encrypted; add ssl_password_file",
        lambda pki: {"certificates": [protected(pki)]},
    ),
    (
        "ssl_certificate_key",
        "no line of ssl_password_file is the passphrase of '.*/ec.encrypted.key'",
        lambda pki: {"certificates": [protected(pki)], "password_file": pki.file("few", "a\nb\n")},
    ),
    (
        "ssl_certificate_key",
        "key '.*/ec.encrypted.key' does not belong",
        lambda pki: {
            "certificates": [(pki.good.certificate, protected(pki)[1])],
            "password_file": pki.file("right", "other\nsecret\n"),
        },
    ),
    (
        "ssl_certificate_key",
        "engine: is not supported",
        lambda pki: {"certificates": [(pki.ec.certificate, "engine:pkcs11:id")]},
    ),
    (
        "ssl_certificate_key",
        "cannot load key data:…",
        lambda pki: {"certificates": [(pki.ec.certificate, "data:secret words")]},
    ),
    ("ssl_password_file", "'/none' cannot be read", lambda pki: {"password_file": "/none"}),
    (
        "ssl_password_file",
        "too long line in '.*/long'",
        lambda pki: {"password_file": pki.file("long", "x" * 1025)},
    ),
    ("ssl_dhparam", "'/none' cannot be read", lambda pki: {"dhparam": "/none"}),
    ("ssl_dhparam", "'.*/ec.crt' holds no usable DH parameters", lambda pki: {"dhparam": pki.ec.certificate}),
    ("ssl_ecdh_curve", "'X25519:nonsense' is refused", lambda pki: {"ecdh_curve": "X25519:nonsense"}),
    *(
        (
            "ssl_session_cache",
            f"invalid session cache '{word}'",
            lambda pki, text=text: {"session_cache": text},
        )
        for text, word in [
            ("", ""),
            ("on", "on"),
            ("off builtin", "off"),
            ("builtin:0", "builtin:0"),
            ("builtin:x", "builtin:x"),
            ("shared:a", "shared:a"),
            ("shared:a:10g", "shared:a:10g"),
            ("shared:a:1m shared:b:1m", "shared:b:1m"),
        ]
    ),
    ("ssl_session_cache", "'shared:a:31k' is too small", lambda pki: {"session_cache": "shared:a:31k"}),
    ("ssl_session_ticket_key", "'/none' cannot be read", lambda pki: {"session_ticket_key": ["/none"]}),
    (
        "ssl_session_ticket_key",
        "'.*/short' must be 48 or 80 bytes",
        lambda pki: {"session_ticket_key": [pki.file("short", "x" * 79)]},
    ),
    *(
        (
            "ssl_verify_client",
            "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client",
            lambda pki, mode=mode: {"verify_client": mode},
        )
        for mode in ("on", "optional")
    ),
    (
        "ssl_client_certificate",
        "'/none' cannot be read",
        lambda pki: {"verify_client": "on", "client_certificate": "/none"},
    ),
    (
        "ssl_client_certificate",
        "'.*/ec.key' holds no certificate",
        lambda pki: {"verify_client": "on", "client_certificate": pki.ec.key},
    ),
    (
        "ssl_client_certificate",
        "'.*/ca.crl' holds no certificate",
        lambda pki: {"verify_client": "on", "client_certificate": pki.crl},
    ),
    ("ssl_trusted_certificate", "'.*/ec.key' holds no cert", lambda pki: {"trusted_certificate": pki.ec.key}),
    ("ssl_crl", "'/none' cannot be read", lambda pki: {"crl": "/none"}),
    ("ssl_crl", "'.*/ca.crt' holds no revocation list", lambda pki: {"crl": pki.ca.certificate}),
    ("ssl_conf_command", "'Nonsense', 'x' is refused", lambda pki: {"conf_command": [("Nonsense", "x")]}),
    (
        "ssl_conf_command",
        "'Options', 'Nonsense' is refused",
        lambda pki: {"conf_command": [("Options", "Nonsense")]},
    ),
    (
        "ssl_conf_command",
        "'Certificate', '/none' is refused by OpenSSL: .*No such file",
        lambda pki: {"conf_command": [("Certificate", "/none")]},
    ),
    (
        "ssl_conf_command",
        "'PrivateKey', '.*/ec.encrypted.key' is refused",
        lambda pki: {"conf_command": [("PrivateKey", protected(pki)[1])]},
    ),
]


def protected(pki: Pki) -> tuple[str, str]:
    pair = pki.encrypted(pki.ec, "secret")
    return pair.certificate, pair.key


def weak(pki: Pki) -> tuple[str, str]:
    pair = pki.weak()
    return pair.certificate, pair.key


@pytest.mark.parametrize(
    ("directive", "text", "change"), [pytest.param(*row, id=f"{row[0]}: {row[1]}") for row in WRONG]
)
def test_errors_name_the_directive(directive: str, text: str, change: Change, pki: Pki) -> None:
    with pytest.raises(TlsSettingError, match=text) as raised:
        listening(pki.ec, **change(pki))

    assert raised.value.directive == directive
    assert str(raised.value) == f"{directive}: {raised.value.text}"
    assert str(raised.value).isprintable()
    listening(pki.ec)  # OpenSSL's queue of errors is empty again
    meet(listening(pki.ec), client(pki))


def test_a_key_in_the_configuration_is_not_shown(pki: Pki) -> None:
    secret = base64.b64encode(b"not to be seen").decode()

    with pytest.raises(TlsSettingError) as raised:
        listening(pki.ec, certificates=[(pki.ec.certificate, f"data:{secret}")])

    assert secret not in str(raised.value)


def test_a_name_cannot_control_a_terminal(pki: Pki) -> None:
    with pytest.raises(TlsSettingError) as raised:
        listening(pki.ec, certificates=[("/\x1b[2J", pki.ec.key)])

    assert str(raised.value).isprintable()


# -- without libssl -------------------------------------------------------------------------------


@pytest.fixture
def _no_libssl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "_load", lambda: None)


@pytest.mark.usefixtures("_no_libssl")
def test_without_libssl_the_defaults_work(pki: Pki) -> None:
    context = listening(
        pki.ec,
        certificates=both(pki),
        dhparam=pki.dhparam,
        password_file=pki.file("pw", "x"),
        trusted_certificate=pki.ca.certificate,
        session_timeout=300.0,
        verify_depth=1,
    )

    met = meet(context, client(pki, V13, alpn=("smtp",)))

    assert met.channel.details.alpn == b"smtp"
    assert met.channel.client_certificate.verify == "NONE"
    met.channel.forget_session()
    assert meet(context, client(pki, alpn=("imap",))).channel.details.alpn is None


@pytest.mark.usefixtures("_no_libssl")
@pytest.mark.parametrize(
    ("directive", "change"),
    [
        ("ssl_ecdh_curve", lambda pki: {"ecdh_curve": "X25519"}),
        ("ssl_session_cache", lambda pki: {"session_cache": "off"}),
        ("ssl_session_tickets", lambda pki: {"session_tickets": False}),
        ("ssl_session_ticket_key", lambda pki: {"session_ticket_key": ["/any"]}),
        ("ssl_verify_client", lambda pki: {"verify_client": "optional_no_ca"}),
        ("ssl_crl", lambda pki: {"crl": pki.crl}),
        ("ssl_conf_command", lambda pki: {"conf_command": [("MaxProtocol", "TLSv1.2")]}),
    ],
)
def test_without_libssl_directives_that_need_it_are_refused_by_name(
    directive: str, change: Change, pki: Pki
) -> None:
    with pytest.raises(TlsSettingError, match="OpenSSL 3 as a shared library") as raised:
        listening(pki.ec, **change(pki))

    assert raised.value.directive == directive
