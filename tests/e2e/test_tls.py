"""TLS through a running geomail: what stock clients see of it, and what a backend is told."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import toml

from geomail.protocols.proxy_header import SIGNATURE, crc32c
from tests.net.pki import Pair, Pki
from tests.servers.auth_http import AuthService, listening
from tests.servers.geomail import Geomail, serving
from tests.servers.support import LOOPBACK, free_port, program

PATIENCE = 10.0
USER = "u"


@dataclass
class Listening:
    """A running geomail: its ports by name, what stands behind it, and the PKI of it all."""

    ports: dict[str, int]
    backend: socket.socket
    pki: Pki
    geomail: Geomail

    def secured(self, name: str, shown: Pair | None = None, **options: Any) -> ssl.SSLSocket:
        """A client's connection after its handshake."""
        context = ssl.create_default_context(cafile=self.pki.ca.certificate)
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        for setting, value in options.items():
            getattr(context, setting)(value)
        plain = socket.create_connection((LOOPBACK, self.ports[name]), PATIENCE)
        return context.wrap_socket(plain, server_hostname="localhost")


@pytest.fixture(scope="module")
def geomail(servers_folder: Path) -> Iterator[Listening]:
    """geomail with two certificates, and a backend that says nothing."""
    folder = servers_folder / "tls"
    (folder / "pki").mkdir(parents=True)
    pki = Pki(folder / "pki")
    names = ("smtps", "imaps", "told", "submission")
    ports = {name: free_port() for name in names}
    auth = AuthService()
    with listening(auth), closing(socket.create_server((LOOPBACK, 0))) as backend:
        backend.settimeout(PATIENCE)
        auth.answers[USER] = {
            "Auth-Status": "OK",
            "Auth-Server": LOOPBACK,
            "Auth-Port": str(backend.getsockname()[1]),
        }
        with serving(configuration(pki, ports, auth.port), folder) as geomail:
            yield Listening(ports, backend, pki, geomail)


def configuration(pki: Pki, ports: dict[str, int], auth: int) -> str:
    def server(name: str, protocol: str, words: str = " ssl", **options: Any) -> dict[str, Any]:
        return {"listen": f"{LOOPBACK}:{ports[name]}{words}", "protocol": protocol, **options}

    return toml.dumps(
        {
            "workers": 1,
            "control": {"socket": "off"},
            "mail": {
                "server_name": "mx.test",
                "auth_http": f"{LOOPBACK}:{auth}",
                "ssl_certificate": [pki.ec.certificate, pki.rsa.certificate],
                "ssl_certificate_key": [pki.ec.key, pki.rsa.key],
                "server": [
                    server("smtps", "smtp"),
                    server("imaps", "imap"),
                    server("submission", "smtp", "", starttls="only"),
                    server(
                        "told",
                        "smtp",
                        proxy_protocol="v2",
                        ssl_verify_client="optional",
                        ssl_client_certificate=pki.ca.certificate,
                    ),
                ],
            },
        }
    )


# -- which certificate -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithms", "kind"), [("RSA+SHA256:RSA-PSS+SHA256", "rsa"), ("ECDSA+SHA256", "ec")]
)
def test_a_client_gets_the_certificate_that_it_can_verify(
    geomail: Listening, algorithms: str, kind: str
) -> None:
    shown = s_client(geomail, "imaps", "-sigalgs", algorithms)
    pair: Pair = getattr(geomail.pki, kind)

    assert pair.text.split("-----")[2].strip() in shown


def s_client(geomail: Listening, name: str, *options: str) -> str:
    """What openssl's client tells of a connection."""
    command = [program("openssl"), "s_client", "-connect", f"{LOOPBACK}:{geomail.ports[name]}", *options]
    result = subprocess.run(command, input="", capture_output=True, text=True, timeout=PATIENCE, check=False)
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        ("imap", "ALPN protocol: imap"),
        ("http/1.1,imap", "ALPN protocol: imap"),
        ("http/1.1", "alert number 120"),
    ],
)
def test_a_client_of_another_protocol_is_sent_away(geomail: Listening, offered: str, said: str) -> None:
    assert said in s_client(geomail, "imaps", "-alpn", offered)


def test_the_log_tells_which_host_the_client_asked_for(geomail: Listening) -> None:
    with geomail.secured("imaps") as client:
        port = client.getsockname()[1]
        client.recv(100)

    geomail.geomail.log.wait_for(rf" client_port={port} .*sni=localhost ")


def test_starttls_with_openssls_client(geomail: Listening) -> None:
    told = s_client(geomail, "submission", "-starttls", "smtp", "-tls1_2")

    assert "Protocol  : TLSv1.2" in told


def test_curl_comes_in(geomail: Listening) -> None:
    url = f"imaps://localhost:{geomail.ports['imaps']}/"
    command = [program("curl"), "-sv", "--cacert", geomail.pki.ca.certificate, "--resolve",
               f"localhost:{geomail.ports['imaps']}:{LOOPBACK}", "-X", "NOOP", url]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert " IMAP4 ready" in result.stderr, result.stderr


# -- what a backend is told ------------------------------------------------------------------------


def told(geomail: Listening, client: ssl.SSLSocket) -> tuple[bytes, dict[int, bytes]]:
    """The fixed part and the TLVs of the header that a backend gets when this client logs in."""
    with client:
        client.sendall(b"AUTH PLAIN AHUAcA==\r\n")
        connection, _ = geomail.backend.accept()
        with connection:
            connection.settimeout(PATIENCE)
            header = connection.recv(65536)
    size = int.from_bytes(header[14:16], "big")
    assert header.startswith(SIGNATURE) and len(header) == 16 + size
    assert crc32c(header[:-4] + bytes(4)) == int.from_bytes(header[-4:], "big")
    return header[12:28], tlvs(header[28:])


def tlvs(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        size = int.from_bytes(data[1:3], "big")
        found[data[0]], data = data[3 : 3 + size], data[3 + size :]
    return found


@pytest.mark.parametrize(
    ("shown", "flags", "verify", "name"), [(None, 1, 1, None), ("good", 7, 0, b"cli ent.test")]
)
def test_the_header_of_version_2_tells_of_a_client_s_tls(
    geomail: Listening, shown: str | None, flags: int, verify: int, name: bytes | None
) -> None:
    pair = None if shown is None else getattr(geomail.pki, shown)
    client = geomail.secured("told", pair, set_alpn_protocols=["smtp"])
    local = client.getsockname()
    fixed, outer = told(geomail, client)

    port = geomail.ports["told"]
    assert fixed[:2] == b"\x21\x11"
    assert fixed[4:] == bytes([127, 0, 0, 1, 127, 0, 0, 1]) + local[1].to_bytes(2) + port.to_bytes(2)
    assert list(outer) == [0x02, 0x01, 0x20, 0x03]
    assert (outer[0x02], outer[0x01]) == (b"localhost", b"smtp")
    assert outer[0x20][:5] == bytes([flags]) + verify.to_bytes(4)
    inner = tlvs(outer[0x20][5:])
    assert inner.get(0x22) == name
    assert {kind: inner[kind] for kind in (0x21, 0x23, 0x24, 0x25)} == {
        0x21: b"TLSv1.3",
        0x23: b"TLS_AES_256_GCM_SHA384",
        0x24: b"ecdsa-with-SHA256",
        0x25: b"EC256",
    }
