"""The PROXY protocol's header, versions 1 and 2: read from clients, made for backends.

The format is defined in HAProxy's ``proxy-protocol.txt``. The headers for
backends are nginx's, except that UNKNOWN replaces two addresses that a header of
version 1 cannot hold together.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Literal

from geomail.conversation import Conversation
from geomail.errors import ProxyHeaderError
from geomail.parties import Client, ProxyAddresses, drop_zone

if TYPE_CHECKING:
    from geomail.parties import TlsDetails

V1_SIZE = 107
V2_SIZE = 4096
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"

_V1_START = b"PROXY "
_V1_UNKNOWN = b"UNKNOWN"
_V1_SHORTEST = len(b"UNKNOWN\r\n")
_V2_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6, _UNSPECIFIED = 0x11, 0x21, 0x00
_ADDRESS_SIZE = {_TCP4: 4, _TCP6: 16}
_CRC32C = 0x03
_CRC32C_POLYNOMIAL = 0x82F63B78
_TLV_FIXED = 3
_ALPN, _AUTHORITY, _SSL = 0x01, 0x02, 0x20
_SSL_VERSION, _SSL_CN, _SSL_CIPHER, _SSL_SIGNATURE, _SSL_KEY = 0x21, 0x22, 0x23, 0x24, 0x25
#: Flags: TLS is used; the client sent a certificate in this connection, or in the session that it resumes.
_SSL_CLIENT = {"none": 0x01, "connection": 0x07, "session": 0x05}
_LONGEST_NAME = 256

Address = IPv4Address | IPv6Address


# -- for backends ---------------------------------------------------------------------------------


def make_header(version: Literal["on", "v2"], client: Client) -> tuple[bytes, bytes]:
    """Make the header that describes this client, and the line that shows it in traces."""
    addresses = _addresses(client)
    if version == "v2":
        return _make_v2(client, addresses)
    line = _make_v1(client, addresses)
    return line + b"\r\n", line


def holds_address(version: Literal["off", "on", "v2"], client: Client) -> bool:
    """Tell whether there is a header that holds the client's address; UNKNOWN and LOCAL mean geomail."""
    return version != "off" and _addresses(client) is not None


def _addresses(client: Client) -> tuple[Address, Address] | None:
    if client.address.startswith("unix:") or client.local_address.startswith("unix:"):
        return None
    return ip_address(drop_zone(client.address)), ip_address(drop_zone(client.local_address))


def _make_v1(client: Client, addresses: tuple[Address, Address] | None) -> bytes:
    if addresses is None:
        return b"PROXY UNKNOWN"
    source, destination = addresses
    return _describe(
        client, *(addresses if source.version == destination.version else _one_family(*addresses))
    )


def _describe(client: Client, source: Address, destination: Address) -> bytes:
    words = f"TCP{source.version} {_text(source)} {_text(destination)} {client.port} {client.local_port}"
    return b"PROXY " + words.encode()


def _make_v2(client: Client, addresses: tuple[Address, Address] | None) -> tuple[bytes, bytes]:
    tls = b"" if client.tls_details is None else _tls_tlvs(client.tls_details)
    if addresses is None:
        return _frame(_LOCAL, _UNSPECIFIED, tls), b"PROXY v2 LOCAL"
    source, destination = _one_family(*addresses)
    block = source.packed + destination.packed
    block += client.port.to_bytes(2, "big") + client.local_port.to_bytes(2, "big")
    family = _TCP4 if source.version == 4 else _TCP6
    shown = _describe(client, source, destination).replace(b"PROXY", b"PROXY v2", 1)
    return _frame(_PROXY, family, block + tls), shown


def _one_family(source: Address, destination: Address) -> tuple[Address, Address]:
    """Return both addresses as IPv4 if both are, mapped or not; else both as IPv6."""
    lowered = _unmap(source), _unmap(destination)
    if all(address.version == 4 for address in lowered):
        return lowered
    return _map(source), _map(destination)


def _unmap(address: Address) -> Address:
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _map(address: Address) -> Address:
    return IPv6Address(f"::ffff:{address}") if isinstance(address, IPv4Address) else address


def _frame(command: int, family: int, block: bytes) -> bytes:
    size = len(block) + _TLV_FIXED + 4
    head = SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + block
    tlv = bytes((_CRC32C, 0, 4))
    return head + tlv + crc32c(head + tlv + bytes(4)).to_bytes(4, "big")


def _tls_tlvs(details: TlsDetails) -> bytes:
    """Make the TLVs about a client's TLS (sections 2.2.1 to 2.2.6), in nginx's order."""
    inner = _tlvs(
        (_SSL_VERSION, details.version.encode()),
        (_SSL_CN, details.common_name[:_LONGEST_NAME]),
        (_SSL_CIPHER, details.cipher.encode()),
        (_SSL_SIGNATURE, details.signature.encode()),
        (_SSL_KEY, details.key.encode()),
    )
    ssl = bytes((_SSL_CLIENT[details.certificate],)) + details.verify.to_bytes(4, "big") + inner
    return _tlvs((_AUTHORITY, details.server_name or b""), (_ALPN, details.alpn or b""), (_SSL, ssl))


def _tlvs(*parts: tuple[int, bytes]) -> bytes:
    """Make TLVs of types and values; a type with an empty value is left out."""
    return b"".join(bytes((kind,)) + len(value).to_bytes(2, "big") + value for kind, value in parts if value)


def _text(address: Address) -> str:
    """Write an address as inet_ntop does; Python versions differ in mapped ones."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


# -- from clients ---------------------------------------------------------------------------------


def read(conversation: Conversation) -> ProxyAddresses | None:
    """Read the header at the start of a client's connection; return None if it holds no addresses.

    Any number of pieces may arrive; nothing after the header is read. Raises
    ProxyHeaderError at the first byte that cannot belong to a header. The
    caller limits the time.
    """
    tracer, conversation.tracer = conversation.tracer, None  # the single pieces are not worth showing
    try:
        start = conversation.read_exactly(len(_V1_START))
        if start == _V1_START:
            addresses = _read_v1(conversation)
        elif SIGNATURE.startswith(start):
            addresses = _read_v2(conversation)
        else:
            raise _make_error("neither version 1 nor 2")
    finally:
        conversation.tracer = tracer
    if tracer is not None:
        tracer("<", _describe_addresses(addresses), "")
    return addresses


def _make_error(why: str) -> ProxyHeaderError:
    return ProxyHeaderError(f"broken PROXY header: {why}", blame="client", step="PROXY")


def _describe_addresses(addresses: ProxyAddresses | None) -> bytes:
    if addresses is None:
        return b"PROXY without addresses"
    ends = f"{addresses.source} {addresses.destination} {addresses.source_port} {addresses.destination_port}"
    return b"PROXY " + ends.encode()


def _read_v1(conversation: Conversation) -> ProxyAddresses | None:
    line = conversation.read_exactly(_V1_SHORTEST)
    while not line.endswith(b"\r\n"):
        missing = 1 if line.endswith(b"\r") else 2  # at least; so nothing after the end is read
        if len(_V1_START) + len(line) + missing > V1_SIZE:
            raise _make_error(f"version 1, more than {V1_SIZE} bytes")
        line += conversation.read_exactly(missing)
    if line.startswith(_V1_UNKNOWN):
        return None
    words = line[:-2].split(b" ")
    if len(words) != 5 or words[0] not in (b"TCP4", b"TCP6"):
        raise _make_error("version 1, malformed")
    family = IPv4Address if words[0] == b"TCP4" else IPv6Address
    source, destination = (_parse_address(family, word) for word in words[1:3])
    return ProxyAddresses(source, _parse_port(words[3]), destination, _parse_port(words[4]))


def _parse_address(family: type[IPv4Address] | type[IPv6Address], word: bytes) -> str:
    try:
        if b"%" not in word:
            return _text(family(word.decode("ascii")))
    except (AddressValueError, UnicodeDecodeError):
        pass
    raise _make_error("version 1, not an address of its family")


def _parse_port(word: bytes) -> int:
    if not (word.isdigit() and len(word) <= 5 and int(word) <= 0xFFFF):
        raise _make_error("version 1, not a port")
    return int(word)


def _read_v2(conversation: Conversation) -> ProxyAddresses | None:
    fixed = SIGNATURE[: len(_V1_START)] + conversation.read_exactly(_V2_FIXED - len(_V1_START))
    if not fixed.startswith(SIGNATURE):
        raise _make_error("neither version 1 nor 2")
    command, family = fixed[12], fixed[13]
    size = int.from_bytes(fixed[14:], "big")
    if command not in (_LOCAL, _PROXY):
        raise _make_error(f"version and command {command:#04x}")
    if size > V2_SIZE - _V2_FIXED:
        raise _make_error(f"version 2, more than {V2_SIZE} bytes")
    block = conversation.read_exactly(size)
    width = _ADDRESS_SIZE.get(family) if command == _PROXY else None
    addresses_size = 0 if width is None else 2 * width + 4
    if size < addresses_size:
        raise _make_error("version 2, too short for its addresses")
    if width is None:
        return None
    _check_crc32c(fixed, block, addresses_size)
    return _unpack(block, width)


def _unpack(block: bytes, width: int) -> ProxyAddresses:
    ports = block[2 * width :]
    return ProxyAddresses(
        _text(ip_address(block[:width])),
        int.from_bytes(ports[:2], "big"),
        _text(ip_address(block[width : 2 * width])),
        int.from_bytes(ports[2:4], "big"),
    )


def _check_crc32c(fixed: bytes, block: bytes, position: int) -> None:
    """Raise ProxyHeaderError if the TLVs from ``position`` on hold a wrong checksum, or two checksums.

    No sender needs two. To verify each costs time for the whole header, before
    geomail knows whether it trusts the sender.
    """
    found = None
    while position + _TLV_FIXED <= len(block):
        value = position + _TLV_FIXED
        size = int.from_bytes(block[position + 1 : value], "big")
        if block[position] == _CRC32C and size == 4:
            if found is not None:
                raise _make_error("version 2, more than one CRC32c")
            found = value
        position = value + size
    if found is None:
        return
    sent = int.from_bytes(block[found : found + 4], "big")
    if crc32c(fixed + block[:found] + bytes(4) + block[found + 4 :]) != sent:
        raise _make_error("version 2, wrong CRC32c")


# -- trust ----------------------------------------------------------------------------------------


def introduce(conversation: Conversation, client: Client, trusted: Senders) -> None:
    """Read the header of a client's connection; use the address in it if its sender is trusted."""
    client.proxy = proxy = read(conversation)
    if proxy is not None and trusted.include(client.address):
        client.address, client.port = proxy.source, proxy.source_port


class Senders:
    """The senders whose headers are trusted: IP addresses, networks, and ``unix:`` for all Unix sockets."""

    __slots__ = ("_networks", "_unix")

    def __init__(self, words: Collection[str]) -> None:
        self._networks = [ip_network(word, strict=False) for word in words if word != "unix:"]
        self._unix = "unix:" in words

    def include(self, address: str) -> bool:
        """Tell whether an address is among them; a mapped one counts as IPv4."""
        if address.startswith("unix:"):
            return self._unix
        if not self._networks:
            return False
        sender = _unmap(ip_address(drop_zone(address)))
        return any(sender in network for network in self._networks)


# -- CRC32c (RFC 3720, appendix B.4) ----------------------------------------------------------------


def _reduce(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_CRC32C_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(map(_reduce, range(256)))


def crc32c(data: bytes) -> int:
    """Compute the Castagnoli checksum."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
