"""XCLIENT (Postfix's XCLIENT_README): commands that describe the client to a backend."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from geomail.parties import UNAVAILABLE, Client, Login, drop_zone

#: Bytes of one command, its line end included.
COMMAND_SIZE = 512
_VERB = b"XCLIENT"
_ROOM = COMMAND_SIZE - len(_VERB) - len(b"\r\n")
_PLAIN_TEXT = bytes(byte for byte in range(0x21, 0x7F) if byte not in b"+=")


def encode_xtext(value: bytes) -> bytes:
    """Encode a value as RFC 3461 does: unprintable bytes, ``+`` and ``=`` become ``+XX``."""
    if not value.translate(None, _PLAIN_TEXT):
        return value
    return b"".join(b"%c" % byte if byte in _PLAIN_TEXT else b"+%02X" % byte for byte in value)


def make_command(login: Login, client: Client, vouched: bool, offered: Collection[bytes]) -> bytes:
    """Make the one command that nginx sends; ``vouched``: geomail vouches for the user's name.

    It also holds the session's id, if the client has one and SESSION is ``offered``.
    """
    user = b" LOGIN=" + encode_xtext(login.user) if vouched and login.user else b""
    session = b" SESSION=" + encode_xtext(client.session) if client.session and b"SESSION" in offered else b""
    return b"%b%b ADDR=%b%b NAME=%b" % (
        _VERB,
        session,
        _address(client.address),
        user,
        encode_xtext(client.name),
    )


def make_commands(login: Login, client: Client, vouched: bool, offered: Collection[bytes]) -> list[bytes]:
    """Make commands with all attributes that the backend has ``offered``; none if it offers none.

    ADDR and NAME come last, together: once a backend knows them, it may refuse the client.
    """
    attributes = _attributes(login, client, vouched)
    units = [_attribute(name, value) for name, value in attributes.items() if name in offered]
    last = _last_unit(client, offered)
    lines: list[bytes] = []
    for unit in [*units, last] if last else units:
        if lines and len(lines[-1]) + len(unit) <= COMMAND_SIZE - len(b"\r\n"):
            lines[-1] += unit
        else:
            lines.append(_VERB + unit)
    return lines


def hold_address(lines: Iterable[bytes]) -> bool:
    """Tell whether one of these commands holds the client's address, or says that it has none."""
    return any(b" ADDR=" in line for line in lines)


def _attributes(login: Login, client: Client, vouched: bool) -> dict[bytes, bytes]:
    attributes = {
        b"PORT": _port(client.address, client.port),
        b"PROTO": b"ESMTP" if login.esmtp else b"SMTP",
        b"HELO": encode_xtext(login.helo) or UNAVAILABLE,
        b"LOGIN": encode_xtext(login.user),
        b"DESTADDR": _address(client.local_address),
        b"DESTPORT": _port(client.local_address, client.local_port),
        b"SESSION": encode_xtext(client.session),
    }
    if not (vouched and login.user):
        del attributes[b"LOGIN"]
    if not client.session:
        del attributes[b"SESSION"]
    return attributes


def _last_unit(client: Client, offered: Collection[bytes]) -> bytes:
    values = ((b"ADDR", _address(client.address)), (b"NAME", encode_xtext(client.name)))
    return b"".join(_attribute(name, value) for name, value in values if name in offered)


def _attribute(name: bytes, value: bytes) -> bytes:
    text = b" %b=%b" % (name, value)
    return text if len(text) <= _ROOM else b" %b=%b" % (name, UNAVAILABLE)


def _address(address: str) -> bytes:
    if address.startswith("unix:"):
        return UNAVAILABLE
    plain = drop_zone(address).encode()
    return b"IPV6:" + plain if b":" in plain else plain


def _port(address: str, port: int) -> bytes:
    return UNAVAILABLE if address.startswith("unix:") else b"%d" % port
