"""The PROXY header: written byte for byte as nginx writes it, read whatever the pieces it comes in."""

import contextlib
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geomail.conversation import Rehearsal
from geomail.errors import PeerGone, ProxyHeaderError
from geomail.parties import Client, ProxyAddresses, TlsDetails
from geomail.protocols import proxy_header
from tests.protocols.support import client_at

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
V4, V6 = "192.0.2.7", "2001:db8::7"
V4_BLOCK = bytes([192, 0, 2, 7, 192, 0, 2, 1]) + bytes.fromhex("A0E0 024B")
V4_TOLD = ProxyAddresses(V4, 41184, "192.0.2.1", 587)


def sent(data: bytes) -> Rehearsal:
    """A client that sent these bytes and waits."""
    client = Rehearsal(peer="client")
    client._unread = data
    return client


def v2(command: int, family: int, block: bytes, size: int | None = None) -> bytes:
    length = len(block) if size is None else size
    return SIGNATURE + bytes((command, family)) + length.to_bytes(2, "big") + block


# -- written --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "line"),
    [
        (client_at(V4, local="192.0.2.1"), b"PROXY TCP4 192.0.2.7 192.0.2.1 41184 587"),
        (client_at(V6, local="2001:db8::1"), b"PROXY TCP6 2001:db8::7 2001:db8::1 41184 587"),
        (
            client_at("::ffff:192.0.2.7", local="::ffff:192.0.2.1"),
            b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 41184 587",
        ),
        (client_at("fe80::7%eth0", local="fe80::1%eth0"), b"PROXY TCP6 fe80::7 fe80::1 41184 587"),
        (client_at(V6, local="127.0.0.1"), b"PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 41184 587"),
        (client_at(V4, local="::1"), b"PROXY TCP6 ::ffff:192.0.2.7 ::1 41184 587"),
        (client_at(f"::ffff:{V4}", local="127.0.0.1"), b"PROXY TCP4 192.0.2.7 127.0.0.1 41184 587"),
        (client_at("unix:", 0, "unix:/run/x", 0), b"PROXY UNKNOWN"),
        (client_at(V4, local="unix:/run/x", local_port=0), b"PROXY UNKNOWN"),
    ],
)
def test_version_1(client: Client, line: bytes) -> None:
    assert proxy_header.make_header("on", client) == (line + b"\r\n", line)


@pytest.mark.parametrize(
    ("client", "after_signature", "shown"),
    [
        pytest.param(
            client_at("127.0.0.1", 41184, "127.0.0.1", 21027),
            "21 11 0013 7F000001 7F000001 A0E0 5223 03 0004 2ACF0628",
            b"PROXY v2 TCP4 127.0.0.1 127.0.0.1 41184 21027",
            id="nginx's own bytes",
        ),
        pytest.param(
            client_at("unix:", 0, "unix:/run/x", 0),
            "20 00 0007 03 0004 A9B87E8F",
            b"PROXY v2 LOCAL",
            id="nginx's own bytes, unix",
        ),
        pytest.param(
            client_at("::ffff:127.0.0.1", 41184, "::ffff:127.0.0.1", 21027),
            "21 11 0013 7F000001 7F000001 A0E0 5223 03 0004 2ACF0628",
            b"PROXY v2 TCP4 127.0.0.1 127.0.0.1 41184 21027",
            id="both mapped",
        ),
        pytest.param(
            client_at("::ffff:127.0.0.1", 41184, "127.0.0.1", 21027),
            "21 11 0013 7F000001 7F000001 A0E0 5223 03 0004 2ACF0628",
            b"PROXY v2 TCP4 127.0.0.1 127.0.0.1 41184 21027",
            id="one mapped",
        ),
    ],
)
def test_version_2(client: Client, after_signature: str, shown: bytes) -> None:
    assert proxy_header.make_header("v2", client) == (SIGNATURE + bytes.fromhex(after_signature), shown)


@pytest.mark.parametrize(
    ("source", "destination", "told"),
    [
        (V6, "2001:db8::1", (V6, "2001:db8::1")),
        (V6, "127.0.0.1", (V6, "::ffff:127.0.0.1")),
        (V4, "::1", ("::ffff:192.0.2.7", "::1")),
    ],
)
def test_version_2_promotes_what_is_mixed(source: str, destination: str, told: tuple[str, str]) -> None:
    header, _ = proxy_header.make_header("v2", client_at(source, local=destination))
    addresses = proxy_header.read(sent(header))

    assert header[13] == 0x21
    assert addresses == ProxyAddresses(told[0], 41184, told[1], 587)


SHOWN_IN_NGINX = TlsDetails(
    version="TLSv1.3",
    cipher="TLS_AES_256_GCM_SHA384",
    server_name=b"sni.test",
    alpn=b"smtp",
    certificate="connection",
    verify=0,
    common_name=b"cli ent.test",
    signature="RSA-SHA256",
    key="RSA2048",
)


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def tls_tlvs(details: TlsDetails, client: Client | None = None) -> bytes:
    """What stands between the addresses and the checksum."""
    told = replace(client or client_at(V4, local="192.0.2.1"), tls_details=details)
    header, _ = proxy_header.make_header("v2", told)
    assert int.from_bytes(header[14:16], "big") == len(header) - 16
    if client is None:
        assert proxy_header.read(sent(header)) == V4_TOLD
    return header[16 + (12 if client is None else 0) : -7]


def test_the_tls_of_a_client_is_told_as_nginx_tells_it() -> None:
    assert tls_tlvs(SHOWN_IN_NGINX) == (
        tlv(0x02, b"sni.test")
        + tlv(0x01, b"smtp")
        + bytes.fromhex("20 004E 07 00000000")
        + tlv(0x21, b"TLSv1.3")
        + tlv(0x22, b"cli ent.test")
        + tlv(0x23, b"TLS_AES_256_GCM_SHA384")
        + tlv(0x24, b"RSA-SHA256")
        + tlv(0x25, b"RSA2048")
    )


def test_what_a_client_did_not_say_is_left_out() -> None:
    silent = replace(
        SHOWN_IN_NGINX, server_name=None, alpn=None, certificate="none", verify=1, common_name=b""
    )
    assert tls_tlvs(silent).startswith(bytes.fromhex("20 003F 01 00000001 21"))


def test_a_certificate_of_the_resumed_session_is_told_as_one() -> None:
    resumed = replace(SHOWN_IN_NGINX, server_name=None, alpn=None, certificate="session", verify=18)
    assert tls_tlvs(resumed)[3:8] == bytes.fromhex("05 00000012")


def test_tls_on_a_unix_socket() -> None:
    assert tls_tlvs(SHOWN_IN_NGINX, client_at("unix:", 0, "unix:/run/x", 0)).startswith(
        tlv(0x02, b"sni.test")
    )


def test_a_name_without_end_is_cut() -> None:
    assert len(tls_tlvs(replace(SHOWN_IN_NGINX, common_name=b"x" * 70_000))) < 500


def test_crc32c_of_the_standard_vectors() -> None:
    assert proxy_header.crc32c(b"123456789") == 0xE3069283
    assert proxy_header.crc32c(bytes(32)) == 0x8A9136AA
    assert proxy_header.crc32c(b"") == 0


# -- read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "addresses"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 41184 587\r\n", V4_TOLD),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n", ProxyAddresses("1.2.3.4", 0, "5.6.7.8", 65535)),
        (b"PROXY TCP6 2001:DB8::7 ::1 1 2\r\n", ProxyAddresses("2001:db8::7", 1, "::1", 2)),
        (
            b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c000:201 1 2\r\n",
            ProxyAddresses("::ffff:192.0.2.7", 1, "::ffff:192.0.2.1", 2),
        ),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN whatever \xff\r\n", None),
        (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),
        (v2(0x21, 0x11, V4_BLOCK), V4_TOLD),
        (v2(0x21, 0x11, V4_BLOCK + b"\x04\x00\x01x"), V4_TOLD),
        (v2(0x21, 0x11, V4_BLOCK + b"\x04\xff\xffx"), V4_TOLD),
        (
            v2(0x21, 0x21, bytes(15) + b"\x01" + bytes(15) + b"\x02" + bytes(4)),
            ProxyAddresses("::1", 0, "::2", 0),
        ),
        (v2(0x21, 0x11, V4_BLOCK + bytes(4096 - 16 - 12)), V4_TOLD),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x11, V4_BLOCK), None),
        (v2(0x21, 0x12, V4_BLOCK), None),
        (v2(0x21, 0x31, bytes(216)), None),
        (v2(0x21, 0x00, b""), None),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_read_takes_the_header_and_nothing_beyond(header: bytes, addresses: ProxyAddresses | None) -> None:
    client = sent(header + b"\x16\x03\x01")

    assert proxy_header.read(client) == addresses
    assert client._unread == b"\x16\x03\x01"


@pytest.mark.parametrize("version", ["on", "v2"])
@pytest.mark.parametrize("client", [client_at(V4), client_at(V6, local="::1")], ids=["v4", "v6"])
def test_what_is_written_can_be_read(version: Literal["on", "v2"], client: Client) -> None:
    header, _ = proxy_header.make_header(version, client)

    told = ProxyAddresses(client.address, client.port, client.local_address, client.local_port)
    assert proxy_header.read(sent(header)) == told


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO me\r\n",
        b"QUIT\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY\tTCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 abc def 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP6 fe80::1%x fe80::2 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 x 2\r\n",
        b"PROXY TCP4 1.2.3.4\r5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n" + b"x" * 107,
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY UNKNOWN " + b"x" * 200,
        SIGNATURE[:-1] + b"\r\x21\x11\x00\x00",
        v2(0x11, 0x11, V4_BLOCK),
        v2(0x22, 0x11, V4_BLOCK),
        v2(0x21, 0x11, V4_BLOCK[:-1]),
        v2(0x21, 0x21, V4_BLOCK),
        v2(0x21, 0x11, b"", size=4096 - 16 + 1),
        v2(0x20, 0x00, b"", size=0xFFFF),
        v2(0x21, 0x11, V4_BLOCK + b"\x03\x00\x04\x00\x00\x00\x00"),
        v2(0x21, 0x11, V4_BLOCK + b"\x04\x00\x01x\x03\x00\x04\x00\x00\x00\x00"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_broken_headers(header: bytes) -> None:
    with pytest.raises(ProxyHeaderError) as caught:
        proxy_header.read(sent(header))

    assert (caught.value.blame, caught.value.step) == ("client", "PROXY")


def test_a_checksum_that_is_right_is_accepted_among_other_values() -> None:
    block = V4_BLOCK + b"\x01\x00\x04smtp\x03\x00\x04"
    checked = v2(0x21, 0x11, block + bytes(4))[:-4]
    header = checked + proxy_header.crc32c(checked + bytes(4)).to_bytes(4, "big")

    assert proxy_header.read(sent(header)) == V4_TOLD


@pytest.mark.parametrize("number", [2, 581])
def test_two_checksums_are_one_too_many(number: int) -> None:
    block = V4_BLOCK + b"\x03\x00\x04\x00\x00\x00\x00" * number

    with pytest.raises(ProxyHeaderError, match="more than one CRC32c"):
        proxy_header.read(sent(v2(0x21, 0x11, block)))


def test_a_client_that_goes_away() -> None:
    with pytest.raises(PeerGone):
        proxy_header.read(sent(b"PROXY TCP4 192.0.2.7"))


def test_the_header_is_shown_once() -> None:
    client = Rehearsal(b"PROXY TCP4 192.0.2.7 192.0.2.1 41184 587", b"EHLO me", peer="client")
    proxy_header.read(client)
    client.read_line(64)

    assert [step.line for step in client.steps] == [b"PROXY 192.0.2.7 192.0.2.1 41184 587", b"EHLO me"]


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]),
)
def test_anything_else_is_a_session_error(data: bytes, start: bytes) -> None:
    with contextlib.suppress(PeerGone, ProxyHeaderError):
        proxy_header.read(sent(start + data))


# -- who is believed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "sender", "believed"),
    [
        ((), "127.0.0.1", False),
        ((), "unix:", False),
        (("127.0.0.1",), "127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.2", False),
        (("127.0.0.0/8",), "127.3.2.1", True),
        (("127.0.0.1/8",), "127.3.2.1", True),
        (("10.0.0.0/8", "127.0.0.0/8"), "127.0.0.1", True),
        (("0.0.0.0/0",), "192.0.2.1", True),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("0.0.0.0/0", "::/0"), "unix:", False),
        (("::/0",), "192.0.2.1", False),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("2001:db8::/32",), "2001:db8:1::1", True),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("unix:",), "unix:", True),
        (("unix:",), "127.0.0.1", False),
    ],
)
def test_whose_word_counts(trusted: tuple[str, ...], sender: str, believed: bool) -> None:
    client = client_at(sender, 4711)
    header = sent(b"PROXY TCP4 192.0.2.7 192.0.2.1 41184 587\r\n")
    proxy_header.introduce(header, client, proxy_header.Senders(trusted))

    assert client.proxy == V4_TOLD
    assert (client.address, client.port) == ((V4, 41184) if believed else (sender, 4711))


def test_a_header_without_addresses_changes_nothing() -> None:
    client = client_at("127.0.0.1", 4711)
    proxy_header.introduce(sent(b"PROXY UNKNOWN\r\n"), client, proxy_header.Senders(("127.0.0.1",)))

    assert client == client_at("127.0.0.1", 4711)
