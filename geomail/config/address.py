"""Addresses in nginx's form: of backends, auth services, DNS servers and trusted proxies.

Every ``parse_`` function raises ValueError with the complete message: what is allowed, and the value.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from geomail.config.units import parse_flag, parse_seconds, parse_setting, show

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", re.ASCII)
_UNIX_PATH_LENGTH = 107
HIGHEST_PORT = 65535
_SCHEMES = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address, or the path of a Unix socket (then host is empty and port 0).

    ``host`` is an IP address (IPv6 without brackets) or a host name. ``label``
    is the address in its written form: ``192.0.2.1:25``, ``[::]:25``, ``unix:/x``.
    It is made once, as every session needs it.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    label: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self._format_label())

    def _format_label(self) -> str:
        return f"unix:{self.path}" if self.path else f"{bracket_host(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class NameServers:
    """The DNS servers of ``resolver``, by IP address or name; none if it is off.

    ``valid`` is how many seconds geomail keeps an answer; None means the
    answer's own time. ``ipv4`` and ``ipv6`` tell which addresses geomail asks for.
    """

    servers: tuple[Address, ...] = ()
    valid: float | None = None
    ipv4: bool = True
    ipv6: bool = True

    @property
    def label(self) -> str:
        """The written form: ``192.0.2.53:53 valid=30s ipv6=off``."""
        words = [server.label for server in self.servers]
        words += [f"valid={self.valid:g}s"] if self.valid is not None else []
        words += [f"{family}=off" for family in ("ipv4", "ipv6") if not getattr(self, family)]
        return " ".join(words) or "off"


@dataclass(frozen=True, slots=True)
class AuthHttp:
    """The URL of an auth service; ``path`` is that of its Unix socket, else empty."""

    scheme: str
    host: str
    port: int
    path: str
    target: str

    @property
    def label(self) -> str:
        """The URL in its written form."""
        if self.path:
            return f"{self.scheme}://unix:{self.path}:{self.target}"
        return f"{self.scheme}://{bracket_host(self.host)}:{self.port}{self.target}"


def bracket_host(host: str) -> str:
    """Return the host in the form that goes before a port."""
    return f"[{host}]" if ":" in host else host


def parse_address(
    text: str, folder: str = "", *, default_port: int | None = None, lowest_port: int = 1
) -> Address:
    """Read ``host:port``, ``[v6]:port`` or ``unix:path``; a relative path starts in ``folder``."""
    if text.startswith("unix:"):
        return Address(path=_parse_unix_path(text.removeprefix("unix:"), text, folder))
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _is_ip(host, 6) or (rest and not rest.startswith(":")):
            raise ValueError(
                f'{show(text)} is not an IPv6 address with a port; write it as "[2001:db8::1]:143"'
            )
        port_text = rest[1:] if rest else None
    else:
        host, colon, after = text.partition(":")
        port_text = after if colon else None
        if port_text is not None and ":" in port_text:
            raise ValueError(f'{show(text)}: put the IPv6 address in brackets: "[2001:db8::1]:143"')
        _check_host(host, text)
    if port_text is None and default_port is not None:
        return Address(host, default_port)
    return Address(host, _parse_port(port_text, text, lowest_port))


def _parse_port(port: str | None, text: str, lowest: int) -> int:
    if port is None:
        raise ValueError(f'{show(text)} has no port; add one, such as "{text}:143"')
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and lowest <= int(port) <= HIGHEST_PORT):
        raise ValueError(
            f"{show(text)}: the port must be a number from {lowest} to {HIGHEST_PORT}, not {show(port)}"
        )
    return int(port)


def _parse_unix_path(path: str, text: str, folder: str) -> str:
    if not path:
        raise ValueError(f'{show(text)} has no path; write it as "unix:/run/name"')
    path = str(Path(folder, path))
    if len(path.encode()) > _UNIX_PATH_LENGTH or "\0" in path:
        raise ValueError(
            f"{show(text)}: the path of a Unix socket must have at most {_UNIX_PATH_LENGTH} bytes, and no NUL"
        )
    return path


def _check_host(host: str, text: str) -> None:
    if not host:
        raise ValueError(f"{show(text)} has no host; write it as host:port")
    if re.fullmatch(r"[\d.]+", host, re.ASCII):
        if not _is_ip(host, 4):
            raise ValueError(f"{show(text)}: {show(host)} is not an IPv4 address; write it as 192.0.2.1")
    elif not _HOST_NAME.fullmatch(host):
        raise ValueError(
            f"{show(text)}: {show(host)} is neither an IP address nor a host name; "
            "a host name has letters, digits, dots, _ and -"
        )


def parse_auth_http(value: object, folder: str = "") -> AuthHttp:
    """Read ``[http[s]://]host[:port][/path]`` or ``[http://]unix:/socket[:/path]``."""
    if isinstance(value, AuthHttp):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError(f'must be a URL such as "http://127.0.0.1:9000/auth", not {show(value)}')
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError("must not hold spaces, control characters or non-ASCII letters; write them as %XX")
    scheme, separator, rest = value.partition("://")
    scheme, rest = (scheme.lower(), rest) if separator else ("http", value)
    if scheme not in _SCHEMES:
        raise ValueError(f"must start with http://, https:// or unix:, not {show(scheme)}")
    if rest.startswith("unix:"):
        return _parse_auth_http_socket(scheme, rest, folder)
    host = re.split(r"[/?]", rest, maxsplit=1)[0]
    target = rest[len(host) :]
    if "@" in host:
        raise ValueError("must not hold a user and password; send them with auth_http_header")
    address = parse_address(host, default_port=_SCHEMES[scheme])
    return AuthHttp(
        scheme, address.host, address.port, "", target if target.startswith("/") else "/" + target
    )


def _parse_auth_http_socket(scheme: str, rest: str, folder: str) -> AuthHttp:
    if scheme == "https":
        raise ValueError('https does not work on a Unix socket; write it as "unix:/socket:/path"')
    path, _, target = rest.removeprefix("unix:").partition(":")
    target = target or "/"
    return AuthHttp(scheme, "", 0, _parse_unix_path(path, rest, folder), "/" * (target[0] != "/") + target)


def parse_resolver(value: object) -> NameServers:
    """Read nginx's ``address … [valid=time] [ipv4=on|off] [ipv6=on|off]`` or ``off``, a text or an array."""
    if isinstance(value, NameServers):
        return value
    if value is False or value == "off":
        return NameServers()
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError(
            'must be IP addresses or host names, such as "192.0.2.53" or "[2001:db8::53]:53", or "off", '
            f"not {show(value)}"
        )
    servers = tuple(_parse_name_server(word) for word in words if "=" not in word)
    if not servers:
        raise ValueError(f"{show(value)} names no DNS server; add its address")
    settings = dict(_parse_resolver_setting(word) for word in words if "=" in word)
    if not settings.get("ipv4", True) and not settings.get("ipv6", True):
        raise ValueError("ipv4 and ipv6 must not both be off; remove one of the two")
    return replace(NameServers(servers), **settings)


def _parse_name_server(word: str) -> Address:
    if word.startswith("unix:"):
        raise ValueError(
            f"{show(word)}: a DNS server must be an IP address or a host name, not a Unix socket"
        )
    bare_v6 = word.count(":") > 1 and not word.startswith("[")
    return parse_address(f"[{word}]" if bare_v6 else word, default_port=53)


def _parse_resolver_setting(word: str) -> tuple[str, Any]:
    key, _, value = word.partition("=")
    if key == "valid":
        return key, parse_setting(key, value, parse_seconds)
    if key in ("ipv4", "ipv6"):
        return key, parse_setting(key, value, parse_flag)
    raise ValueError(
        f"{show(word)} is not a parameter of resolver; allowed: valid=…, ipv4=on|off, ipv6=on|off"
    )


def parse_sender(value: str) -> str:
    """Check a value of ``set_real_ip_from``: an IP address, ``10.0.0.0/8``, a host name or ``unix:``."""
    address, slash, length = value.partition("/")
    if slash:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            length = ""
        if not length.isdecimal():
            raise ValueError(f'{show(value)} is not a network; write it as "192.0.2.0/24" or "2001:db8::/32"')
    elif value != "unix:" and not is_literal(value):
        _check_host(address, value)
    return value


def normalize_address(address: Address) -> str:
    """Return one text for all written forms of an address."""
    if is_literal(address.host):
        return Address(str(ipaddress.ip_address(address.host)), address.port).label
    return address.label if address.path else address.label.lower()


def is_literal(host: str) -> bool:
    """Tell whether the host is an IP address."""
    return _is_ip(host, 4) or _is_ip(host, 6)


def choose_wildcard(host: str) -> str:
    """Return the wildcard address of the family of this one."""
    return "::" if ":" in host else "0.0.0.0"


def is_public(host: str) -> bool:
    """Tell whether the host can be reached from outside: not loopback, private or link-local.

    A wildcard counts as public, and so does every name but localhost.
    """
    if not is_literal(host):
        return host.lower() != "localhost"
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    return address.is_unspecified or address.is_global


def _is_ip(host: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(host).version == version
    except ValueError:
        return False
