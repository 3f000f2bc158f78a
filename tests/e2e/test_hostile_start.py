"""Whatever comes before the greeting ends one session at most, soon, with one line that says why."""

import itertools
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import toml

from tests.servers.certificates import Certificates
from tests.servers.geomail import Geomail
from tests.servers.support import LOOPBACK, free_port
from tests.together import together

TIMEOUT = 1.0
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


@dataclass
class Doors:
    """A geomail with a port for TLS, and one for PROXY headers."""

    geomail: Geomail
    tls: int
    header: int


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Doors]:
    ports = free_port(), free_port()
    mail = {
        "auth_http": f"http://{LOOPBACK}:9",
        "timeout": f"{TIMEOUT:g}s",
        "ssl_certificate": str(certificates.server.certificate),
        "ssl_certificate_key": str(certificates.server.key),
        "server": [
            {"protocol": "imap", "listen": f"{LOOPBACK}:{ports[0]} ssl"},
            {"protocol": "imap", "listen": f"{LOOPBACK}:{ports[1]} proxy_protocol"},
        ],
    }
    text = toml.dumps({"workers": 1, "control": {"socket": "off"}, "mail": mail})
    geomail = Geomail(text, tmp_path_factory.mktemp("doors"))
    geomail.log.wait_for("notice started")
    yield Doors(geomail, *ports)
    assert geomail.stop() == 0
    assert "Traceback" not in geomail.log.text, geomail.log.text


def record(kind: int, data: bytes) -> bytes:
    return bytes([kind, 3, 1]) + struct.pack(">H", len(data)) + data


def hello(size: int) -> Iterator[bytes]:
    """The start of a ClientHello that says it has this size, and more than that."""
    yield record(22, b"\x01" + size.to_bytes(3, "big") + b"\x03\x03" + 9000 * b"x")
    yield from itertools.repeat(record(22, 16000 * b"x"), 500)


def said(port: int, pieces: list[bytes]) -> tuple[bytes, int]:
    """The answers until the proxy ends the connection, and the client's port."""
    with socket.create_connection((LOOPBACK, port), 8 * TIMEOUT) as sock:
        heard, origin = b"", sock.getsockname()[1]
        try:
            for piece in pieces:
                sock.sendall(piece)
            while data := sock.recv(4096):
                heard += data
        except ConnectionError:
            pass
        return heard, origin


def end_of(doors: Doors, port: int, pieces: list[bytes]) -> str:
    """The log's only line on this client, once the session that was begun like this has ended."""
    answer, origin = said(port, pieces)
    assert answer[:1] in (b"", b"\x15")  # nothing, or an alert of TLS
    # two clients of different ports may come from the same one
    whose = f" server={LOOPBACK}:{port} client={LOOPBACK} client_port={origin} "
    doors.geomail.log.wait_for(f" imap session .*{whose}")
    (line,) = [line for line in doors.geomail.log.text.splitlines() if whose in line]
    return line


HELLOS: list[tuple[str, list[bytes], str]] = [
    ("HTTP", [b"GET / HTTP/1.0\r\n\r\n"], "tls_failed .*http request"),
    ("a hello of 16 MB", list(hello(0xFFFFFF)), "tls_failed .*excessive message size"),
    ("a hello that does not end", list(hello(0x1FFFF)), "tls_failed .*"),
    ("empty records", 500 * [record(22, b"") * 100], "tls_failed .*"),
    ("alerts", 500 * [record(21, b"\x01\x00") * 100], "tls_failed .*unexpected message"),
    ("changes of cipher", 500 * [record(20, b"\x01") * 100], "tls_failed .*unexpected message"),
    ("half a hello", [record(22, b"\x01\x00\x01\x00\x03\x03" + 40 * b"x")], "timeout .*before the greeting"),
    ("nothing", [], "timeout .*before the greeting"),
]
HEADERS: list[tuple[str, list[bytes], str]] = [
    ("no end of a line", 500 * [b"PROXY TCP4 " * 100], "more than 107 bytes"),
    ("the largest size", [SIGNATURE + b"\x21\x11\xff\xff", *(99 * [1000 * b"x"])], "more than 4096 bytes"),
    ("anything", [100 * b"\0"], "neither version 1 nor 2"),
    ("a terminal's order", [b"PROXY TCP4 1.2.3.4\x1b[2J 5.6.7.8 1 2\r\n"], "not an address of its family"),
    ("half a header", [b"PROXY TCP4 192.0.2.7 "], "timeout .*before the greeting"),
    ("half a signature", [SIGNATURE[:10]], "timeout .*before the greeting"),
]
STARTS = {name: (pieces, reason) for name, pieces, reason in (*HELLOS, *HEADERS)}


def test_every_start_has_one_end(doors: Doors) -> None:
    def ends(port: int, name: str) -> None:
        pieces, reason = STARTS[name]
        line = end_of(doors, port, pieces)
        assert re.search(reason, line), line
        assert line.isprintable()

    before = doors.geomail.log.end
    together(
        ends,
        [*((doors.tls, row[0]) for row in HELLOS), *((doors.header, row[0]) for row in HEADERS)],
    )
    assert len(doors.geomail.log.text[before:].splitlines()) == len(STARTS)
