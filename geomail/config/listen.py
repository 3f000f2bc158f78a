"""The option ``listen`` in nginx's form: the addresses that servers listen on.

Every ``parse_`` function raises ValueError with the complete message: what is allowed, and the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from geomail.config.address import HIGHEST_PORT, Address, parse_address
from geomail.config.units import parse_flag, parse_number, parse_seconds, parse_setting, parse_size, show


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """TCP keepalive: probes after ``idle`` silent seconds, every ``interval`` seconds, ``count`` times.

    None keeps the system's own value.
    """

    idle: int | None
    interval: int | None
    count: int | None


@dataclass(frozen=True, slots=True)
class Listen(Address):
    """One address that a server listens on, or a range of ports if ``last_port`` is given.

    ``label`` is the written form of the address; of a range, ``[::]:143-145``.
    """

    ssl: bool = False
    proxy_protocol: bool = False
    bind: bool = False
    multipath: bool = False
    backlog: int = 511
    rcvbuf: int | None = None
    sndbuf: int | None = None
    ipv6only: bool = True
    so_keepalive: bool | KeepAlive = True
    last_port: int | None = None

    def _format_label(self) -> str:
        text = Address(self.host, self.port, self.path).label
        return text if self.last_port is None else f"{text}-{self.last_port}"

    @property
    def words(self) -> str:
        """The address and every parameter that is not the default, in nginx's form."""
        flags = [key for key in _FLAGS if getattr(self, key)]
        return " ".join(
            (self.label, *flags, *(f"{key}={_format_setting(self, key)}" for key in self.changed_settings))
        )

    @property
    def changed_settings(self) -> tuple[str, ...]:
        """The settings of the socket that are not the default."""
        return tuple(key for key in _SETTINGS if getattr(self, key) != getattr(_DEFAULT, key))

    @property
    def ports(self) -> range:
        """All ports of the range, or the only one."""
        return range(self.port, (self.last_port or self.port) + 1)

    def split_ports(self) -> Iterator[Listen]:
        """Return the same listen for each of its ports."""
        return (replace(self, port=port, last_port=None) for port in self.ports)


_DEFAULT = Listen()
_KEEPALIVE = 'must be on, off, or idle:interval:count such as "30m::10"'
_RANGE = re.compile(r"(.*[:\]]|)(\d+)-(\d+)", re.ASCII)


def parse_listen(value: object, folder: str = "") -> Listen:
    """Read nginx's ``address[:port] | port | unix:path`` with its parameters, or a table of the same."""
    if isinstance(value, Listen):
        return value
    if isinstance(value, dict):
        return _parse_table(value, folder)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.split():
        raise ValueError(f'must be an address such as "0.0.0.0:587" or "[::]:993 ssl", not {show(value)}')
    text, *words = value.split()
    return replace(_parse_listen_address(text, folder), **dict(map(_parse_parameter, words)))


def _parse_table(table: Mapping[str, object], folder: str) -> Listen:
    for key in table:
        if key not in ("address", *_FLAGS, *_SETTINGS):
            raise ValueError(
                f"{show(key)} is not a key of listen; allowed: address, {', '.join((*_FLAGS, *_SETTINGS))}"
            )
    address = parse_listen(table.get("address", ""), folder)
    given = {key: value for key, value in table.items() if key != "address"}
    settings = {
        key: parse_setting(key, value, _SETTINGS.get(key, parse_flag)) for key, value in given.items()
    }
    return replace(address, **settings)


def _parse_listen_address(text: str, folder: str) -> Listen:
    """Read the address without parameters."""
    if text.startswith("unix:"):
        return Listen(path=parse_address(text, folder).path)
    if text.startswith("*:"):
        text = text.removeprefix("*:")
    last_port = None
    if match := _RANGE.fullmatch(text):
        text, last_port = match[1] + match[2], _parse_last_port(match)
    if text.isdecimal():
        text = f"0.0.0.0:{text}"
    address = parse_address(text, lowest_port=0)
    return Listen(address.host, address.port, last_port=last_port)


def _parse_last_port(match: re.Match[str]) -> int:
    first, last = match[2], match[3]
    if len(last) > len(str(HIGHEST_PORT)) or not int(first[:6]) <= int(last) <= HIGHEST_PORT:
        raise ValueError(f'{show(match[0])}: {first}-{last} is not a range of ports; write it as "143-145"')
    return int(last)


def _parse_parameter(word: str) -> tuple[str, Any]:
    key, equals, value = word.partition("=")
    if key in _FLAGS and not equals:
        return key, True
    if key in _SETTINGS and equals:
        return key, parse_setting(key, value, _SETTINGS[key])
    allowed = ", ".join((*_FLAGS, *(f"{setting}=…" for setting in _SETTINGS)))
    raise ValueError(f"{show(word)} is not a parameter of listen; allowed: {allowed}")


def _parse_backlog(value: object) -> int:
    backlog = parse_number(value)
    if backlog == 0:
        raise ValueError("must be more than 0, not 0")
    return backlog


def _parse_keepalive(value: object) -> bool | KeepAlive:
    if not isinstance(value, str) or value.lower() in ("on", "off"):
        return parse_flag(value)
    parts = value.split(":")
    if len(parts) > 3 or value.isalpha():
        raise ValueError(f"{_KEEPALIVE}, not {show(value)}")
    idle, interval, count = (*parts, "", "")[:3]
    probing = KeepAlive(
        int(parse_seconds(idle or 0)) or None,
        int(parse_seconds(interval or 0)) or None,
        parse_number(count or 0) or None,
    )
    if probing == KeepAlive(None, None, None):
        raise ValueError(f"{_KEEPALIVE}, not {show(value)}")
    return probing


def _format_setting(listen: Listen, key: str) -> str:
    match getattr(listen, key):
        case bool(flag):
            return "on" if flag else "off"
        case KeepAlive(idle, interval, count):
            return ":".join("" if part is None else str(part) for part in (idle, interval, count))
        case number:
            return str(number)


_FLAGS = ("ssl", "proxy_protocol", "bind", "multipath")
_SETTINGS: dict[str, Callable[[object], Any]] = {
    "backlog": _parse_backlog,
    "rcvbuf": parse_size,
    "sndbuf": parse_size,
    "ipv6only": parse_flag,
    "so_keepalive": _parse_keepalive,
}
