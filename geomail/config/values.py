"""The types of the options: how geomail reads a value, and how it writes it back.

A function that reads a value raises ValueError with the complete message.
Relative paths start in the ``folder`` of the validation's context, if it has one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, ValidationInfo

from geomail.config.address import (
    Address,
    AuthHttp,
    NameServers,
    is_literal,
    parse_address,
    parse_auth_http,
    parse_resolver,
    parse_sender,
)
from geomail.config.listen import Listen, parse_listen
from geomail.config.units import ValueForm, drop_repeats, parse_choice, parse_size, parse_words, show
from geomail.protocols.facts import FACTS, IMAP, POP3, SMTP

MASK = "********"
#: The address of the metrics for ``listen = true``.
METRICS_ADDRESS = ("127.0.0.1", 9197)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_BACKEND_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_SSL_PROTOCOLS = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_SESSION_CACHE = re.compile(
    r"off|none|builtin(:[1-9]\d{0,8})?( shared:[^:\s]+:\d{1,12}[kKmM]?)?"
    r"|shared:[^:\s]+:\d{1,12}[kKmM]?( builtin(:[1-9]\d{0,8})?)?",
    re.ASCII,
)
_SMALLEST_CACHE = 8 * os.sysconf("SC_PAGE_SIZE")
#: Commands of SSL_CONF_cmd(3) whose value is the name of a file or a folder.
_CONF_FILES = frozenset(
    (
        *("certificate", "privatekey", "serverinfofile", "dhparameters", "chaincafile", "chaincapath"),
        *("verifycafile", "verifycapath", "requestcafile", "requestcapath", "clientcafile", "clientcapath"),
    )
)
_ID_STRING = r'"((?:[ !#-\[\]-~]|\\["\\])*)"'
#: A name and its value in the list of RFC 2971.
_ID_FIELD = re.compile(rf"{_ID_STRING} (?:{_ID_STRING}|NIL)", re.IGNORECASE)
_MOST_ID_FIELDS, _LONGEST_ID_NAME, _LONGEST_ID_VALUE = 30, 30, 1024
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)
#: The longest path in the address of a Unix socket on Linux.
LONGEST_SOCKET_PATH = 107


def _get_folder(info: ValidationInfo) -> str:
    """Return the folder that relative paths start in: that of the configuration file."""
    return info.context["folder"] if info.context else ""


def _get_label(value: Address | AuthHttp | NameServers) -> str:
    return value.label


def _make_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _parse_capabilities(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError(
            f'must be an array with one text for each capability: ["UIDPLUS", "IDLE"], not {show(value)}'
        )
    return drop_repeats(tuple(value))


def _check_capability(value: str) -> str:
    if not value or any(character in value for character in "\r\n\0"):
        raise ValueError(
            f"a capability must not be empty, and must not hold CR, LF or NUL; found {show(value)}"
        )
    return value


def _parse_imap_id(value: str) -> str:
    if value.upper() == "NIL":
        return "NIL"
    fields = [(field[1].lower(), field[2] or "") for field in _ID_FIELD.finditer(value)]
    if not fields or value != "({})".format(" ".join(field[0] for field in _ID_FIELD.finditer(value))):
        raise ValueError(
            "must be NIL, or a list of quoted names and values with a space between them, "
            f"""such as '("name" "geomail" "support-url" NIL)', not {show(value)}"""
        )
    if len(fields) > _MOST_ID_FIELDS or len(dict(fields)) < len(fields):
        raise ValueError(f"the list has more than {_MOST_ID_FIELDS} names, or a name twice; remove some")
    if any(len(name) > _LONGEST_ID_NAME or len(text) > _LONGEST_ID_VALUE for name, text in fields):
        raise ValueError(
            f"a name has more than {_LONGEST_ID_NAME} bytes, or a value more than {_LONGEST_ID_VALUE}; "
            "make it shorter"
        )
    return value


def _parse_own_name(value: str) -> str:
    return _check_server_name(value) if value else os.uname().nodename.lower()


def _check_server_name(value: str) -> str:
    if not value or not value.isprintable() or any(character.isspace() for character in value):
        raise ValueError(f"must be a host name without spaces, not {show(value)}")
    return value


def _check_name(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError(f"must be text without control characters, and not empty; found {show(value)}")
    return value


def _parse_file(value: str, info: ValidationInfo) -> str:
    if value.startswith(("data:", "engine:", "store:")):
        raise ValueError(f"must be the name of a file; {value.partition(':')[0]}: is not supported here")
    if not value or "\0" in value:
        raise ValueError(f"must be the name of a file, not {show(value)}")
    return str(Path(_get_folder(info), value))


def _parse_optional_file(value: object) -> object:
    return None if value == "" else value


def _parse_pem(value: str, info: ValidationInfo) -> str:
    if value.startswith("data:"):
        return value
    return _parse_file(value, info)


def _mask_pem(values: tuple[str, ...]) -> list[str]:
    return [f"data:{MASK}" if value.startswith("data:") else value for value in values]


def _parse_socket_path(value: str, info: ValidationInfo) -> str:
    if value == "off":
        return value
    path = _parse_file(value, info)
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ValueError(
            f"{show(path)} is too long; the path of a socket must have at most {LONGEST_SOCKET_PATH} bytes"
        )
    return path


def _parse_metrics_listen(value: object, info: ValidationInfo) -> Address | None:
    if isinstance(value, Address) or value is None:
        return value
    choice = parse_choice(value)
    if choice in ("off", "on"):
        return Address(*METRICS_ADDRESS) if choice == "on" else None
    if not isinstance(value, str):
        raise ValueError(f'must be on, off, or an address such as "127.0.0.1:9197", not {show(value)}')
    address = parse_address(value, _get_folder(info))
    if not address.path and not is_literal(address.host):
        raise ValueError(f'must be an IP address with a port, such as "127.0.0.1:9197", not {show(value)}')
    return address


def _format_metrics_listen(address: Address | None) -> str:
    return "off" if address is None else address.label


def _parse_file_mode(value: object) -> object:
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise ValueError(f'must be text of octal digits, such as "0660", not {show(value)}')
    return int(value, 8)


def _format_mode(mode: int) -> str:
    return f"{mode:04o}"


def _parse_log_target(target: str, info: ValidationInfo) -> str:
    if target.startswith("syslog:"):
        return f"syslog:{_parse_file(target.removeprefix('syslog:'), info)}"
    return target if target in ("stderr", "syslog") else _parse_file(target, info)


def _parse_ssl_protocols(value: object) -> tuple[object, ...]:
    names = {name.lower(): name for name in _SSL_PROTOCOLS}
    return tuple(names.get(word, word) if isinstance(word, str) else word for word in parse_words(value))


def _parse_pairs(value: object, thing: str, example: str) -> tuple[tuple[str, str], ...]:
    """Read a table of names and values, or an array of pairs, which may hold a name twice."""
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list | tuple):
        raise ValueError(f'must be a table of names and values, such as {{ {example} = "…" }}')
    for pair in pairs:
        if not (
            isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        ):
            raise ValueError(
                f"each {thing} must be a name and a value, both text: "
                f'{{ {example} = "…" }} or [["{example}", "…"]]'
            )
    return tuple((name, text) for name, text in pairs)


def _parse_headers(value: object) -> tuple[tuple[str, str], ...]:
    pairs = _parse_pairs(value, "header", "X-Auth-Key")
    for number, pair in enumerate(pairs, 1):
        _check_header(number, *pair)
    return pairs


def _parse_conf_commands(value: object, info: ValidationInfo) -> tuple[tuple[str, str], ...]:
    pairs = _parse_pairs(value, "command", "Options")
    return tuple(
        (name, str(Path(_get_folder(info), text)) if name.lower() in _CONF_FILES else text)
        for name, text in pairs
    )


def _parse_session_cache(value: object) -> object:
    text = " ".join(value) if isinstance(value, list | tuple) and all(map(_is_text, value)) else value
    if not isinstance(text, str) or not _SESSION_CACHE.fullmatch(text):
        raise ValueError(
            f'must be off, none, builtin, "builtin:1000" or "shared:NAME:10m", not {show(value)}'
        )
    size = re.search(r"shared:[^:\s]+:(\d+\w?)", text)
    if size and parse_size(size[1]) < _SMALLEST_CACHE:
        raise ValueError(
            f"{show(text)}: the cache is too small; it must have at least {_SMALLEST_CACHE // 1024}k"
        )
    return text


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_header(number: int, name: str, value: str) -> None:
    # An invalid name may be the secret itself, so it is not shown.
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"the name of header {number} is not valid; use letters, digits and -")
    if any(not character.isprintable() for character in value):
        raise ValueError(f"the value of {name} must not hold a line break or another control character")


def _mask_values(pairs: tuple[tuple[str, str], ...]) -> list[list[str]]:
    return [[name, MASK] for name, _ in pairs]


def _parse_listen_value(value: object, info: ValidationInfo) -> Listen:
    return parse_listen(value, _get_folder(info))


def _format_listen(listen: Listen) -> str:
    return listen.words


def _parse_auth_http_value(value: object, info: ValidationInfo) -> AuthHttp:
    return parse_auth_http(value, _get_folder(info))


def _parse_backend_address(value: object, info: ValidationInfo) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError(f'must be an address such as "192.0.2.1:143" or "unix:/run/name", not {show(value)}')
    return parse_address(value, _get_folder(info))


def _parse_domains(routes: dict[str, str]) -> dict[str, str]:
    for domain in routes:
        if not domain or "@" in domain or any(character.isspace() for character in domain):
            raise ValueError(f'{show(domain)} is not a domain; write it as "example.org"')
    return {domain.lower(): backend for domain, backend in routes.items()}


def name_backends(backends: object) -> object:
    """Add its own name to each backend's table."""
    if not isinstance(backends, dict):
        return backends
    for name, table in backends.items():
        if not _BACKEND_NAME.fullmatch(name):
            raise ValueError(
                f"{show(name)} is not a valid name of a backend; use letters, digits, dots, _ and -"
            )
        if isinstance(table, dict) and "name" in table:
            raise ValueError(f"a backend has its name from its table, [backends.{name}]; remove the key name")
    return {
        name: {**table, "name": name} if isinstance(table, dict) else table
        for name, table in backends.items()
    }


def check_double_brackets(value: object) -> object:
    """Refuse ``[mail.server]``, which TOML reads as a single table."""
    if isinstance(value, dict):
        raise ValueError("write each server as [[mail.server]], in double brackets")
    return tuple(value) if isinstance(value, list) else value


_CHOICE = BeforeValidator(parse_choice)
_WORDS = BeforeValidator(parse_words)
_LABEL = PlainSerializer(_get_label)

File = Annotated[str, AfterValidator(_parse_file), ValueForm("file")]
#: A file, or nginx's empty text for none: so a server can go without the file that ``[mail]`` gives.
OptionalFile = Annotated[File | None, BeforeValidator(_parse_optional_file)]
SocketPath = Annotated[str, AfterValidator(_parse_socket_path), ValueForm("file | off")]
FileMode = Annotated[int, BeforeValidator(_parse_file_mode), PlainSerializer(_format_mode), ValueForm("mode")]
MetricsListen = Annotated[
    Address | None,
    BeforeValidator(_parse_metrics_listen),
    PlainSerializer(_format_metrics_listen),
    ValueForm("address | on | off"),
]
LogTarget = Annotated[str, AfterValidator(_parse_log_target), ValueForm("file | stderr | syslog")]
LogFormat = Annotated[Literal["text", "json", "dovecot"], BeforeValidator(parse_choice)]
LogLevel = Annotated[Literal["debug", "info", "notice", "warning", "error"], BeforeValidator(parse_choice)]
LogFacility = Annotated[
    Literal[
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
        "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ],
    BeforeValidator(parse_choice),
]  # fmt: skip
Files = Annotated[tuple[File, ...], BeforeValidator(_make_tuple), ValueForm("file ...")]
PemFiles = Annotated[
    tuple[Annotated[str, AfterValidator(_parse_pem)], ...],
    BeforeValidator(_make_tuple),
    PlainSerializer(_mask_pem),
    ValueForm("file ..."),
]
Listens = Annotated[
    tuple[Annotated[Listen, BeforeValidator(_parse_listen_value), PlainSerializer(_format_listen)], ...],
    BeforeValidator(_make_tuple),
    ValueForm("address ..."),
]
BackendAddress = Annotated[Address, BeforeValidator(_parse_backend_address), _LABEL, ValueForm("address")]
AuthHttpUrl = Annotated[AuthHttp, BeforeValidator(_parse_auth_http_value), _LABEL, ValueForm("URL")]
Headers = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_parse_headers),
    PlainSerializer(_mask_values),
    ValueForm("{ name = value ... }"),
]
Resolver = Annotated[NameServers, BeforeValidator(parse_resolver), _LABEL, ValueForm("address ... | off")]
Senders = Annotated[
    tuple[Annotated[str, AfterValidator(parse_sender)], ...],
    BeforeValidator(_make_tuple),
    ValueForm("address | network | unix: ..."),
]
ConfCommands = Annotated[
    tuple[tuple[str, str], ...], BeforeValidator(_parse_conf_commands), ValueForm("{ name = value ... }")
]
SessionCache = Annotated[str, BeforeValidator(_parse_session_cache), ValueForm("off | none | cache ...")]
Name = Annotated[str, AfterValidator(_check_name), ValueForm("text")]
ServerName = Annotated[str, AfterValidator(_check_server_name), ValueForm("name")]
OwnName = Annotated[str, AfterValidator(_parse_own_name), ValueForm("name")]
Capabilities = Annotated[
    tuple[Annotated[str, AfterValidator(_check_capability)], ...],
    BeforeValidator(_parse_capabilities),
    ValueForm("text ..."),
]
ImapId = Annotated[str, AfterValidator(_parse_imap_id), ValueForm("NIL | list")]
if TYPE_CHECKING:
    ProtocolName = str
    SmtpMethods = tuple[str, ...]
    ImapMethods = tuple[str, ...]
    Pop3Methods = tuple[str, ...]
else:  # mypy takes no computed Literal
    ProtocolName = Literal[tuple(FACTS)]
    SmtpMethods, ImapMethods, Pop3Methods = (
        Annotated[tuple[Literal[facts.methods], ...], _WORDS] for facts in (SMTP, IMAP, POP3)
    )
SslProtocols = Annotated[
    tuple[Literal["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"], ...],
    BeforeValidator(_parse_ssl_protocols),
]
AuthSource = Annotated[Literal["http", "users", "passthrough"], _CHOICE]
AuthHttpBackends = Annotated[Literal["any", "configured"], _CHOICE]
VerifyClient = Annotated[Literal["off", "on", "optional", "optional_no_ca"], _CHOICE]
StartTls = Annotated[Literal["off", "on", "only"], _CHOICE]
Xclient = Annotated[Literal["on", "off", "auto"], _CHOICE]
ProxyProtocol = Annotated[Literal["off", "on", "v2"], _CHOICE]
BackendTls = Annotated[Literal["off", "implicit", "starttls"], _CHOICE]
Domains = Annotated[dict[str, str], AfterValidator(_parse_domains), ValueForm("{ domain = backend ... }")]
