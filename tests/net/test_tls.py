"""TLS on a wire: good and bad handshakes, bytes that wait in the BIO, and the end."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from geomail.errors import GeomailError, PeerGone, ProtocolViolation, TlsFailed
from geomail.net.tls import TlsSide
from geomail.net.tls_contexts import ServerSettings, make_client_context, make_server_context
from tests.net.support import (
    PATIENCE,
    V12,
    V13,
    PlainPeer,
    TlsPeer,
    listener_context,
    read_all,
    secured_pair,
    speaking,
    wire_pair,
    within,
)
from tests.servers.certificates import Certificates
from tests.servers.support import program

# -- handshakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 65536], ids=["byte by byte", "whole flights"])
@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize("version", [V12, V13])
def test_a_client_shakes_hands(
    version: ssl.TLSVersion, resumed: bool, step: int, server_side: TlsSide, certificates: Certificates
) -> None:
    context = speaking(certificates.client_context(), version)
    session = _session_of(server_side, context) if resumed else None
    wire, sock = wire_pair("client", server_side)
    peer = TlsPeer(sock.sock, context, name="localhost", session=session, step=step)
    shaking = gevent.spawn(peer.handshake)

    wire.start_tls()

    shaking.get(timeout=PATIENCE)
    assert peer.tls.session_reused is resumed
    assert wire.secured
    cipher = peer.tls.cipher()
    assert cipher is not None
    assert wire.tls_version_and_cipher == (peer.tls.version(), cipher[0])
    peer.sendall(b"NOOP\r\n")
    assert wire.read_line(100) == b"NOOP"
    wire.send_line(b"250 OK")
    assert peer.recv(100) == b"250 OK\r\n"

    wire.close()
    peer.close()


def _session_of(side: TlsSide, context: ssl.SSLContext) -> ssl.SSLSession:
    wire, peer = secured_pair(side, context)
    wire.send(b"x")
    assert peer.recv(1) == b"x"
    session = peer.tls.session
    wire.close()
    peer.close()
    assert session is not None
    return session


@pytest.mark.parametrize("step", [1, 65536], ids=["byte by byte", "whole flights"])
@pytest.mark.parametrize("version", [V12, V13])
def test_a_backend_shakes_hands(
    version: ssl.TLSVersion, step: int, client_side: TlsSide, certificates: Certificates
) -> None:
    context = speaking(certificates.server.server_context(), version)
    wire, sock = wire_pair("backend", client_side)
    peer = TlsPeer(sock.sock, context, server=True, step=step)
    shaking = gevent.spawn(peer.handshake, b"220 greeting\r\n")

    wire.start_tls()

    assert within(lambda: wire.read_line(100)) == b"220 greeting"
    wire.send_line(b"EHLO me")
    assert peer.recv(100) == b"EHLO me\r\n"
    shaking.get()
    wire.close()
    peer.close()


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("size", [10, 4096, 40_000, 300_000])
def test_bytes_in_the_last_flight_are_read(
    size: int, version: ssl.TLSVersion, server_side: TlsSide, certificates: Certificates
) -> None:
    wire, sock = wire_pair("client", server_side)
    peer = TlsPeer(sock.sock, speaking(certificates.client_context(), version), name="localhost")
    early = b"x" * (size - 2) + b"\r\n"
    shaking = gevent.spawn(peer.handshake, early)

    wire.start_tls()

    assert within(lambda: wire.read_line(size)) == early[:-2]

    shaking.get()
    wire.close()
    peer.close()


def test_a_client_that_trickles_out_its_records(server_side: TlsSide, certificates: Certificates) -> None:
    wire, peer = secured_pair(server_side, certificates.client_context())
    stream = peer.record(b"a LOGIN {3}\r\n") + peer.record(b"joe") + peer.record(b" secret\r\n")

    def trickle() -> None:
        for byte in stream:
            peer.sock.sendall(bytes([byte]))
            gevent.sleep(0)

    talking = gevent.spawn(trickle)
    assert wire.read_line(100) == b"a LOGIN {3}"
    assert wire.read_exactly(3) == b"joe"
    assert wire.read_line(100) == b" secret"

    talking.join()
    wire.close()
    peer.close()


def test_the_session_ticket_leaves_with_the_first_words(
    server_side: TlsSide, certificates: Certificates
) -> None:
    wire, peer = secured_pair(server_side, speaking(certificates.client_context(), V13))
    gevent.sleep(0.01)
    peer.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.sock.recv(1)
    peer.sock.settimeout(PATIENCE)

    wire.send_line(b"220 hello")

    assert peer.recv(100) == b"220 hello\r\n"
    assert peer.tls.session is not None
    assert peer.tls.session.has_ticket
    wire.close()
    peer.close()


def test_the_protocol_is_agreed_on(server_side: TlsSide, certificates: Certificates) -> None:
    context = certificates.client_context()
    context.set_alpn_protocols(["imap", "smtp"])
    wire, peer = secured_pair(server_side, context)

    assert peer.tls.selected_alpn_protocol() == "smtp"

    wire.close()
    peer.close()


# -- STARTTLS -------------------------------------------------------------------------------------


@pytest.mark.parametrize("injected", [b"x", b"AUTH PLAIN AHUAcA==\r\n", b"\r\n", b"NOOP\r\n" * 2000])
def test_bytes_behind_starttls_in_one_segment_are_a_violation(injected: bytes, server_side: TlsSide) -> None:
    wire, peer = wire_pair("client", server_side)
    peer.sendall(b"STARTTLS\r\n" + injected)
    assert wire.read_line(100) == b"STARTTLS"
    wire.send_line(b"220 go ahead")

    with pytest.raises(ProtocolViolation) as raised:
        wire.start_tls()

    assert raised.value.blame == "client"
    assert not wire.secured
    wire.close()
    assert read_all(peer) == b"220 go ahead\r\n"
    peer.close()


def test_bytes_behind_starttls_in_the_next_segment_never_count_as_sent_under_tls(
    server_side: TlsSide,
) -> None:
    wire, peer = wire_pair("client", server_side)
    peer.sendall(b"STARTTLS\r\n")
    assert wire.read_line(100) == b"STARTTLS"
    peer.sendall(b"AUTH PLAIN AHUAcA==\r\n")
    gevent.sleep(0.01)

    with pytest.raises(TlsFailed):
        wire.start_tls()

    assert not wire.secured
    wire.close()
    peer.close()


def test_a_backend_that_injects_behind_its_reply_is_blamed(client_side: TlsSide) -> None:
    wire, peer = wire_pair("backend", client_side)
    peer.sendall(b"220 go ahead\r\n250 evil\r\n")
    assert wire.read_line(100) == b"220 go ahead"

    with pytest.raises(ProtocolViolation) as raised:
        wire.start_tls()

    assert raised.value.blame == "backend"
    wire.close()
    peer.close()


# -- clients that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        pytest.param(b"EHLO me\r\n", "wrong version number", id="plain text"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: mail\r\n\r\n", "http request", id="an HTTP request"),
        pytest.param(b"\x16\x03\x01\x00\x05\xff\xff\xff\xff\xff", "unexpected message", id="a broken record"),
        pytest.param(b"\x80\x2e\x01\x00\x02" + b"\0" * 60, "TLS: ", id="SSLv2"),
    ],
)
def test_no_handshake_at_all(sent: bytes, reason: str, server_side: TlsSide) -> None:
    wire, peer = wire_pair("client", server_side)
    peer.sendall(sent)

    with pytest.raises(TlsFailed, match=reason) as raised:
        within(wire.start_tls)

    assert raised.value.blame == "client"
    assert not wire.secured
    wire.close()
    peer.close()


@pytest.mark.parametrize(
    ("protocols", "version", "ciphers", "alert"),
    [
        (("TLSv1.3",), V12, "DEFAULT", "TLSV1_ALERT_PROTOCOL_VERSION"),
        (("TLSv1.2",), V13, "DEFAULT", "TLSV1_ALERT_PROTOCOL_VERSION"),
        (("TLSv1.2",), V12, "AES128-SHA", "HANDSHAKE_FAILURE"),
    ],
)
def test_an_alert_tells_a_client_why_it_failed(
    protocols: tuple[str, ...],
    version: ssl.TLSVersion,
    ciphers: str,
    alert: str,
    certificates: Certificates,
) -> None:
    wire, sock = wire_pair("client", TlsSide(listener_context(certificates.server, *protocols), True))
    context = speaking(certificates.client_context(), version)
    context.set_ciphers(ciphers)
    peer = TlsPeer(sock.sock, context, name="localhost")
    shaking = gevent.spawn(_failure_of, peer)

    with pytest.raises(TlsFailed):
        wire.start_tls()
    wire.close()

    assert alert in shaking.get()
    peer.close()


def _failure_of(peer: TlsPeer) -> str:
    with pytest.raises(ssl.SSLError) as raised:
        peer.handshake()
    return str(raised.value)


@pytest.mark.parametrize("leaves", [PlainPeer.close, PlainPeer.reset])
def test_a_client_that_leaves_in_the_handshake(
    leaves: Callable[[PlainPeer], None], server_side: TlsSide
) -> None:
    wire, peer = wire_pair("client", server_side)
    peer.sendall(b"\x16\x03\x01\x02")
    leaving = gevent.spawn_later(0.01, leaves, peer)

    with pytest.raises(PeerGone) as raised:
        wire.start_tls()

    assert raised.value.blame == "client"
    leaving.join()
    wire.close()


# -- backends that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "name", "reason"),
    [
        ("misnamed", "localhost", "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("server", "other_name.test", "Hostname mismatch, certificate is not valid for 'other_name.test'"),
        ("server", "127.0.0.2", "IP address mismatch, certificate is not valid for '127.0.0.2'"),
        ("untrusted", "localhost", "self-signed certificate"),
        ("expired", "localhost", "certificate has expired"),
    ],
)
def test_a_certificate_that_is_refused(
    shown: str, name: str, reason: str, certificates: Certificates
) -> None:
    context = make_client_context(ca=str(certificates.ca.certificate), verify=True)
    wire, sock = wire_pair("backend", TlsSide(context, False, name))
    peer = TlsPeer(sock.sock, getattr(certificates, shown).server_context(), server=True)
    shaking = gevent.spawn(_failure_of, peer)

    with pytest.raises(TlsFailed) as raised:
        wire.start_tls()

    assert str(raised.value).startswith(f"TLS: the certificate was not accepted: {reason}")
    assert raised.value.blame == "backend"
    assert "ALERT" in shaking.get()
    wire.close()
    peer.close()


@pytest.mark.parametrize("name", ["localhost", "mail.example.test", "127.0.0.1", "::1"])
def test_a_certificate_that_is_accepted(name: str, certificates: Certificates) -> None:
    context = make_client_context(ca=str(certificates.ca.certificate), verify=True)
    wire, peer = secured_pair(TlsSide(context, False, name), certificates.server.server_context(), "backend")

    assert wire.secured

    wire.close()
    peer.close()


@pytest.mark.parametrize("shown", ["untrusted", "expired", "misnamed"])
def test_verification_that_was_turned_off(shown: str, certificates: Certificates) -> None:
    side = TlsSide(make_client_context(ca=None, verify=False), False, "localhost")
    wire, peer = secured_pair(side, getattr(certificates, shown).server_context(), "backend")

    assert wire.secured

    wire.close()
    peer.close()


def test_the_systems_authorities(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca.certificate))
    side = TlsSide(make_client_context(ca=None, verify=True), False, "localhost")
    wire, peer = secured_pair(side, certificates.server.server_context(), "backend")

    assert wire.secured

    wire.close()
    peer.close()


def test_the_systems_authorities_do_not_know_ours(certificates: Certificates) -> None:
    side = TlsSide(make_client_context(ca=None, verify=True), False, "localhost")
    wire, sock = wire_pair("backend", side)
    peer = TlsPeer(sock.sock, certificates.server.server_context(), server=True)
    shaking = gevent.spawn(_failure_of, peer)

    with pytest.raises(TlsFailed, match="unable to get local issuer certificate"):
        wire.start_tls()

    shaking.get()
    wire.close()
    peer.close()


def test_a_client_certificate_is_shown(certificates: Certificates) -> None:
    wanting = certificates.server.server_context()
    wanting.verify_mode = ssl.CERT_REQUIRED
    wanting.load_verify_locations(certificates.ca.certificate)
    ours = certificates.client
    context = make_client_context(
        ca=str(certificates.ca.certificate),
        verify=True,
        certificate=str(ours.certificate),
        key=str(ours.key),
    )
    wire, peer = secured_pair(TlsSide(context, False, "localhost"), wanting, "backend")

    shown = peer.tls.getpeercert()
    assert shown is not None
    assert shown["subjectAltName"] == (("DNS", "client.test"),)

    wire.close()
    peer.close()


def test_a_backend_without_tls(client_side: TlsSide) -> None:
    wire, peer = wire_pair("backend", client_side)
    peer.sendall(b"220 plain text\r\n")

    with pytest.raises(TlsFailed, match="wrong version number") as raised:
        wire.start_tls()

    assert raised.value.blame == "backend"
    wire.close()
    peer.close()


WRONG = (OSError, GeomailError)


# -- contexts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "lowest", "highest", "off"),
    [
        (("TLSv1.2", "TLSv1.3"), V12, V13, 0),
        (("TLSv1.3", "TLSv1.2"), V12, V13, 0),
        (("TLSv1.3",), V13, V13, 0),
        (("TLSv1.2",), V12, V12, 0),
        (("TLSv1", "TLSv1.3"), ssl.TLSVersion.TLSv1, V13, ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1_2),
        (("TLSv1.1", "TLSv1.2"), ssl.TLSVersion.TLSv1_1, V12, 0),
    ],
)
def test_protocols(
    named: tuple[str, ...],
    lowest: ssl.TLSVersion,
    highest: ssl.TLSVersion,
    off: int,
    certificates: Certificates,
) -> None:
    context = listener_context(certificates.server, *named)

    assert (context.minimum_version, context.maximum_version) == (lowest, highest)
    assert context.options & (ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1_2) == off


def _server_context(certificate: Path, key: Path, ciphers: str = "HIGH") -> ssl.SSLContext:
    return make_server_context(
        ServerSettings(
            certificates=[(str(certificate), str(key))],
            protocols=("TLSv1.3",),
            ciphers=ciphers,
            alpn="smtp",
        )
    )


def test_wrong_files_and_values(certificates: Certificates, tmp_path: Path) -> None:
    good, other = certificates.server, certificates.misnamed
    with pytest.raises(WRONG, match="No such file"):
        _server_context(tmp_path / "none.crt", good.key)
    with pytest.raises(WRONG, match=r"(?i)key.values.mismatch"):
        _server_context(good.certificate, other.key)
    with pytest.raises(WRONG, match=r"(?i)cipher"):
        _server_context(good.certificate, good.key, "nonsense")
    with pytest.raises(WRONG, match="No such file"):
        make_client_context(ca=str(tmp_path / "none.crt"), verify=True)


def test_openssl_does_not_ask_for_the_password_of_a_key(certificates: Certificates, tmp_path: Path) -> None:
    key = tmp_path / "encrypted.key"
    encrypt = [program("openssl"), "pkey", "-in", str(certificates.server.key), "-aes128"]
    subprocess.run([*encrypt, "-passout", "pass:secret", "-out", str(key)], check=True, capture_output=True)

    with pytest.raises(WRONG, match="the private key is encrypted"):
        _server_context(certificates.server.certificate, key)


def test_the_systems_authorities_are_read_at_once(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, OpenSSL reads a CA of a folder when a peer's certificate names it, which may be too late."""
    (tmp_path / "0a1b2c3d.0").write_bytes(certificates.ca.certificate.read_bytes())
    (tmp_path / "0a1b2c3e.0").write_text("no certificate")
    (tmp_path / "0a1b2c3f.0").symlink_to("gone")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    context = make_client_context(ca=None, verify=True)
    assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "geomail tests: ca"),),)]
