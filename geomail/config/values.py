"""The types of the options: how a value is read, and how it is written back.

A reader raises ValueError with the whole message. Relative paths start in the
``folder`` of the validation's context, where there is one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    ValidationInfo,
)

from geomail.config.address import (
    Address,
    AuthHttp,
    Listen,
    is_literal,
    parse_address,
    parse_auth_http,
    parse_listen,
)
from geomail.config.units import (
    parse_choice,
    parse_words,
    shown,
    without_repeats,
)

MASK = "********"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_BACKEND_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_SSL_PROTOCOLS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")


def _folder(info: ValidationInfo) -> str:
    """The folder that relative paths start in: the configuration file's."""
    return info.context["folder"] if info.context else ""


def _label(value: Address | AuthHttp) -> str:
    return value.label


def _array(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _texts(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError(
            f'{shown(value)}: an array is wanted, one text for each capability: ["UIDPLUS", "IDLE"]'
        )
    return without_repeats(tuple(value))


def _capability(value: str) -> str:
    if not value or any(character in value for character in "\r\n\0"):
        raise ValueError(f"{shown(value)}: a capability is not empty and holds no CR, LF or NUL")
    return value


def _server_name(value: str) -> str:
    if not value or not value.isprintable() or any(character.isspace() for character in value):
        raise ValueError(f"{shown(value)}: a host name without spaces is wanted")
    return value


def _name(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError(f"{shown(value)}: text without control characters is wanted, and not none")
    return value


def _file(value: str, info: ValidationInfo) -> str:
    if value.startswith(("data:", "engine:", "store:")):
        raise ValueError(f"a file name is wanted; {value.partition(':')[0]}: is not supported")
    if not value or "\0" in value:
        raise ValueError(f"{shown(value)}: a file name is wanted")
    return str(Path(_folder(info), value))


def _log_target(target: str, info: ValidationInfo) -> str:
    return target if target in ("stderr", "syslog") else _file(target, info)


def _ssl_protocols(value: object) -> tuple[object, ...]:
    names = {name.lower(): name for name in _SSL_PROTOCOLS}
    return tuple(names.get(word, word) if isinstance(word, str) else word for word in parse_words(value))


def _resolver(value: object) -> object:
    words = () if value is False or value == "off" else value
    words = words.split() if isinstance(words, str) else words
    if not isinstance(words, list | tuple):
        raise ValueError(
            f'{shown(value)}: IP addresses are wanted, "192.0.2.53" or "[2001:db8::53]:53", or "off"'
        )
    return tuple(words)


def _name_server(value: object) -> tuple[str, int]:
    if isinstance(value, tuple):
        return value
    if not isinstance(value, str):
        raise ValueError(f'{shown(value)}: an IP address is wanted: "192.0.2.53"')
    bare_v6 = value.count(":") > 1 and not value.startswith("[")
    address = parse_address(f"[{value}]" if bare_v6 else value, default_port=53)
    if not is_literal(address.host):
        raise ValueError(f"{shown(value)}: a resolver is given by its IP address")
    return address.host, address.port


def _header_pairs(value: object) -> object:
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list | tuple):
        raise ValueError('a table of names and values is wanted: { X-Auth-Key = "…" }')
    for number, pair in enumerate(pairs, 1):
        if not (
            isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        ):
            raise ValueError(
                'each header is a name and a value, both text: { X-Auth-Key = "…" } or [["X-Auth-Key", "…"]]'
            )
        _check_header(number, *pair)
    return tuple(tuple(pair) for pair in pairs)


def _check_header(number: int, name: str, value: str) -> None:
    # A name that is none may be the secret itself: it is not shown.
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"header {number} has an illegal name; letters, digits and - are allowed")
    if any(not character.isprintable() for character in value):
        raise ValueError(f"the value of {name} holds a line break or another control character")


def _masked(pairs: tuple[tuple[str, str], ...]) -> list[list[str]]:
    return [[name, MASK] for name, _ in pairs]


def _listen(value: object, info: ValidationInfo) -> Listen:
    return parse_listen(value, _folder(info))


def _listen_words(listen: Listen) -> str:
    return f"{listen.label}{' ssl' * listen.ssl}{' proxy_protocol' * listen.proxy_protocol}"


def _auth_http(value: object, info: ValidationInfo) -> AuthHttp:
    return parse_auth_http(value, _folder(info))


def _resolver_words(servers: tuple[tuple[str, int], ...]) -> list[str] | str:
    return [Address(*server).label for server in servers] or "off"


def _backend_address(value: object, info: ValidationInfo) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError(f'{shown(value)}: an address is wanted, such as "192.0.2.1:143" or "unix:/run/name"')
    return parse_address(value, _folder(info))


def _domains(routes: dict[str, str]) -> dict[str, str]:
    for domain in routes:
        if not domain or "@" in domain or any(character.isspace() for character in domain):
            raise ValueError(f'{shown(domain)} is no domain; write it as "example.org"')
    return {domain.lower(): backend for domain, backend in routes.items()}


def name_backends(backends: object) -> object:
    """Give each backend's table the name it stands under."""
    if not isinstance(backends, dict):
        return backends
    for name, table in backends.items():
        if not _BACKEND_NAME.fullmatch(name):
            raise ValueError(f"{shown(name)} is no name of a backend; letters, digits, . _ and - are allowed")
        if isinstance(table, dict) and "name" in table:
            raise ValueError(f"a backend's name is that of its table: [backends.{name}]; it has no key name")
    return {
        name: {**table, "name": name} if isinstance(table, dict) else table
        for name, table in backends.items()
    }


def check_double_brackets(value: object) -> object:
    """Refuse ``[mail.server]``, which TOML takes for a single table."""
    if isinstance(value, dict):
        raise ValueError("a server is written [[mail.server]], in double brackets")
    return tuple(value) if isinstance(value, list) else value


_CHOICE = BeforeValidator(parse_choice)
_WORDS = BeforeValidator(parse_words)
_LABEL = PlainSerializer(_label)

File = Annotated[str, AfterValidator(_file)]
LogTarget = Annotated[str, AfterValidator(_log_target)]
LogFormat = Annotated[Literal["text", "json", "dovecot"], BeforeValidator(parse_choice)]
LogLevel = Annotated[Literal["debug", "info", "notice", "warning", "error"], BeforeValidator(parse_choice)]
LogFacility = Annotated[
    Literal[
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
        "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ],
    BeforeValidator(parse_choice),
]  # fmt: skip
Files = Annotated[tuple[File, ...], BeforeValidator(_array)]
Listens = Annotated[
    tuple[Annotated[Listen, BeforeValidator(_listen), PlainSerializer(_listen_words)], ...],
    BeforeValidator(_array),
]
BackendAddress = Annotated[Address, BeforeValidator(_backend_address), _LABEL]
AuthHttpUrl = Annotated[AuthHttp, BeforeValidator(_auth_http), _LABEL]
Headers = Annotated[tuple[tuple[str, str], ...], BeforeValidator(_header_pairs), PlainSerializer(_masked)]
NameServers = Annotated[
    tuple[Annotated[tuple[str, int], BeforeValidator(_name_server)], ...],
    BeforeValidator(_resolver),
    PlainSerializer(_resolver_words),
]
Name = Annotated[str, AfterValidator(_name)]
ServerName = Annotated[str, AfterValidator(_server_name)]
Capabilities = Annotated[tuple[Annotated[str, AfterValidator(_capability)], ...], BeforeValidator(_texts)]
SmtpMethods = Annotated[tuple[Literal["plain", "login", "cram-md5", "external", "none"], ...], _WORDS]
ImapMethods = Annotated[tuple[Literal["plain", "login", "cram-md5", "external"], ...], _WORDS]
Pop3Methods = Annotated[tuple[Literal["plain", "apop", "cram-md5", "external"], ...], _WORDS]
SslProtocols = Annotated[
    tuple[Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"], ...], BeforeValidator(_ssl_protocols)
]
ProtocolName = Literal["smtp", "imap", "pop3"]
AuthSource = Annotated[Literal["http", "passthrough"], _CHOICE]
StartTls = Annotated[Literal["off", "on", "only"], _CHOICE]
Xclient = Annotated[Literal["on", "off", "auto"], _CHOICE]
ProxyProtocol = Annotated[Literal["off", "on", "v2"], _CHOICE]
BackendTls = Annotated[Literal["off", "implicit", "starttls"], _CHOICE]
Domains = Annotated[dict[str, str], AfterValidator(_domains)]
