"""The directives of nginx's mail modules, and the values that they become in a geomail.toml.

A directive becomes the option of the same name, which checks the value. This
module makes only the checks that nginx makes and the option cannot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geomail.config.units import show

#: How often a level may have a directive: once; often, and the last counts; often, and all count.
Repeat = Literal["once", "last", "all"]
#: Turns the arguments into values. Raises ValueError with the message.
Reader = Callable[[tuple[str, ...], Path], list[Any]]
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Directive:
    """A directive: the number of its arguments, the blocks that may hold it, and its values."""

    read: Reader
    arguments: range = range(1, 2)
    repeat: Repeat = "once"
    contexts: frozenset[str] = frozenset({"mail", "server"})
    listed: bool = False


def _read_text(args: tuple[str, ...], _folder: Path) -> list[Any]:
    return [args[0]]


def _read_words(args: tuple[str, ...], _folder: Path) -> list[Any]:
    return list(args)


def _read_joined(args: tuple[str, ...], _folder: Path) -> list[Any]:
    """Join the arguments to one text. Each must be one word."""
    for word in args:
        if len(word.split()) != 1:
            raise ValueError(f"{show(word)} must be one word, without spaces")
    return [" ".join(args)]


def _read_resolver(args: tuple[str, ...], folder: Path) -> list[Any]:
    if args[0] == "off":
        return ["off"]
    for word in args:
        _check_flag(word, "ipv4", "ipv6")
        if word.count(":") > 1 and not word.startswith("["):
            raise ValueError(f'{show(word)}: put the IPv6 address in brackets: "[{word}]"')
    return _read_joined(args, folder)


def _check_flag(word: str, *names: str) -> None:
    """Refuse ``name=ON``: nginx takes a flag in a parameter only in lower case."""
    name, _, value = word.partition("=")
    if name in names and value != value.lower() and value.lower() in ("on", "off"):
        raise ValueError(f'must be "{name}=on" or "{name}=off", not {show(word)}')


def _read_pair(args: tuple[str, ...], _folder: Path) -> list[Any]:
    return [list(args)]


def _read_flag(args: tuple[str, ...], _folder: Path) -> list[Any]:
    word = args[0].lower()
    if word not in ("on", "off"):
        raise ValueError(f'must be "on" or "off", not {show(args[0])}')
    return [word == "on"]


def _read_number(args: tuple[str, ...], _folder: Path) -> list[Any]:
    return [read_number_or_text(args)]


def read_number_or_text(args: tuple[str, ...]) -> int | str:
    """Return the only argument, as a number if it is one."""
    word = args[0]
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 19 else word


def _read_file(args: tuple[str, ...], folder: Path) -> list[Any]:
    name = args[0]
    return [name if name.startswith(("data:", "engine:", "store:")) or not name else str(folder / name)]


def _read_listen(args: tuple[str, ...], folder: Path) -> list[Any]:
    address, *words = args
    if address.startswith("unix:"):
        address = _make_absolute(address, folder)
    elif re.search(r"(^|:)0+(-|$)", address):
        raise ValueError(f"{show(address)}: the port must be a number from 1 to 65535")
    elif not address.replace("-", "").isdecimal() and ":" not in address.rpartition("]")[2]:
        address += ":0"  # nginx also lets the system choose a port
    for word in words:
        _check_flag(word, "ipv6only", "so_keepalive")
    return _read_joined((address, *words), folder)


def _make_absolute(address: str, folder: Path) -> str:
    path = address.removeprefix("unix:")
    return f"unix:{folder / path}" if path else address


def _read_auth_http(args: tuple[str, ...], folder: Path) -> list[Any]:
    url = args[0].removeprefix("http://")
    if _SCHEME.match(url):
        raise ValueError(
            f"{show(args[0])} must start with http://, in lower case, or have no scheme: nginx knows no other"
        )
    if url.startswith("unix:"):
        path, colon, target = url.removeprefix("unix:").partition(":")
        url = _make_absolute(f"unix:{path}", folder) + colon + target
    return [f"http://{url}"]


def explain_count(found: int, allowed: range) -> str:
    """Return the message about a wrong number of arguments."""
    if allowed == ONE_OR_MORE:
        form = "at least 1 argument"
    else:
        form = f"{' or '.join(map(str, allowed))} argument{'s' * (allowed != range(1, 2))}"
    return f"must have {form}, not {found}"


ONE_OR_MORE = range(1, 10_000)
_ONCE = Directive(_read_text)
_FLAG = Directive(_read_flag)
_NUMBER = Directive(_read_number)
_FILE = Directive(_read_file)
_FILES = Directive(_read_file, repeat="all")
_WORDS = Directive(_read_words, ONE_OR_MORE, "all", listed=True)
_PAIRS = Directive(_read_pair, range(2, 3), "all", listed=True)
_IN_SERVER = frozenset({"server"})

#: The directives of ``mail {}`` and ``server {}`` that become options of the same name.
MAIL: Mapping[str, Directive] = {
    "listen": Directive(_read_listen, ONE_OR_MORE, "all", _IN_SERVER),
    "protocol": Directive(_read_text, repeat="last", contexts=_IN_SERVER),
    "server_name": _ONCE,
    "timeout": _ONCE,
    "max_errors": _NUMBER,
    "resolver": Directive(_read_resolver, ONE_OR_MORE),
    "resolver_timeout": _ONCE,
    "auth_http": Directive(_read_auth_http, repeat="last"),
    "auth_http_header": _PAIRS,
    "auth_http_timeout": _ONCE,
    "auth_http_pass_client_cert": _FLAG,
    "proxy": _FLAG,
    "proxy_buffer": _ONCE,
    "proxy_timeout": _ONCE,
    "proxy_pass_error_message": _FLAG,
    "xclient": _FLAG,
    "proxy_smtp_auth": _FLAG,
    "proxy_protocol": _ONCE,
    "imap_auth": _WORDS,
    "imap_capabilities": _WORDS,
    "imap_client_buffer": _ONCE,
    "pop3_auth": _WORDS,
    "pop3_capabilities": _WORDS,
    "smtp_auth": _WORDS,
    "smtp_capabilities": _WORDS,
    "smtp_client_buffer": _ONCE,
    "smtp_greeting_delay": _ONCE,
    "set_real_ip_from": Directive(_read_text, repeat="all"),
    "starttls": _ONCE,
    "ssl_certificate": _FILES,
    "ssl_certificate_key": _FILES,
    "ssl_password_file": _FILE,
    "ssl_certificate_compression": _FLAG,
    "ssl_dhparam": _FILE,
    "ssl_ecdh_curve": _ONCE,
    "ssl_protocols": _WORDS,
    "ssl_ciphers": _ONCE,
    "ssl_prefer_server_ciphers": _FLAG,
    "ssl_session_cache": Directive(_read_joined, range(1, 3), "last"),
    "ssl_session_tickets": _FLAG,
    "ssl_session_ticket_key": _FILES,
    "ssl_session_timeout": _ONCE,
    "ssl_verify_client": _ONCE,
    "ssl_verify_depth": _NUMBER,
    "ssl_client_certificate": _FILE,
    "ssl_trusted_certificate": _FILE,
    "ssl_crl": _FILE,
    "ssl_conf_command": _PAIRS,
}

#: Flags that old versions of nginx had for all ``listen`` of a level, and today's parameter of ``listen``.
BEHIND_LISTEN = {"ssl": "ssl", "so_keepalive": "so_keepalive=on"}
SWITCH = _FLAG

#: Old names of nginx's directives.
GONE = {
    "auth": "nginx has called it pop3_auth since 0.5.15; rename it",
    "imap": "nginx has called this block mail since 0.5.15; rename it",
}

#: Names of directives that may be about TLS, logins or certificates.
PROTECTING = re.compile("ssl|tls|auth|sasl|verif|cert|crl|trust|secur|allow|deny|valid", re.IGNORECASE)
