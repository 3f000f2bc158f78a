"""The types of the options: how a value is read, and how it is written back.

A reader raises ValueError with the whole message. Relative paths start in the
``folder`` of the validation's context, where there is one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    ValidationInfo,
)

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
from geomail.config.units import (
    Written,
    parse_choice,
    parse_size,
    parse_words,
    shown,
    without_repeats,
)
from geomail.protocols.facts import FACTS, IMAP, POP3, SMTP

MASK = "********"
#: Where metrics are served if they are simply switched on.
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
#: A name and its value, in what RFC 2971 has of an IMAP server.
_ID_FIELD = re.compile(rf"{_ID_STRING} (?:{_ID_STRING}|NIL)", re.IGNORECASE)
_MOST_ID_FIELDS, _LONGEST_ID_NAME, _LONGEST_ID_VALUE = 30, 30, 1024
_MODE = re.compile(r"0?[0-7]{3}", re.ASCII)
#: What fits into a Unix socket's address on Linux.
LONGEST_SOCKET_PATH = 107


def _folder(info: ValidationInfo) -> str:
    """The folder that relative paths start in: the configuration file's."""
    return info.context["folder"] if info.context else ""


def _label(value: Address | AuthHttp | NameServers) -> str:
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


def _imap_id(value: str) -> str:
    if value.upper() == "NIL":
        return "NIL"
    fields = [(field[1].lower(), field[2] or "") for field in _ID_FIELD.finditer(value)]
    if not fields or value != "({})".format(" ".join(field[0] for field in _ID_FIELD.finditer(value))):
        raise ValueError(
            f"{shown(value)} is not NIL, nor a list of quoted names and values with a space between them; "
            """write it as '("name" "geomail" "support-url" NIL)'"""
        )
    if len(fields) > _MOST_ID_FIELDS or len(dict(fields)) < len(fields):
        raise ValueError(f"a list of more than {_MOST_ID_FIELDS} names, or with a name twice; leave some out")
    if any(len(name) > _LONGEST_ID_NAME or len(text) > _LONGEST_ID_VALUE for name, text in fields):
        raise ValueError(
            f"a name has more than {_LONGEST_ID_NAME} bytes, or a value more than {_LONGEST_ID_VALUE}; "
            "make it shorter"
        )
    return value


def _own_name(value: str) -> str:
    return _server_name(value) if value else os.uname().nodename.lower()


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
        raise ValueError(f"a file name is wanted; {value.partition(':')[0]}: is not supported here")
    if not value or "\0" in value:
        raise ValueError(f"{shown(value)}: a file name is wanted")
    return str(Path(_folder(info), value))


def _file_or_none(value: object) -> object:
    return None if value == "" else value


def _pem(value: str, info: ValidationInfo) -> str:
    if value.startswith("data:"):
        return value
    return _file(value, info)


def _masked_pem(values: tuple[str, ...]) -> list[str]:
    return [f"data:{MASK}" if value.startswith("data:") else value for value in values]


def _socket_path(value: str, info: ValidationInfo) -> str:
    if value == "off":
        return value
    path = _file(value, info)
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ValueError(
            f"{shown(path)} is too long: a socket's path has at most {LONGEST_SOCKET_PATH} bytes"
        )
    return path


def _metrics_listen(value: object, info: ValidationInfo) -> Address | None:
    if isinstance(value, Address) or value is None:
        return value
    choice = parse_choice(value)
    if choice in ("off", "on"):
        return Address(*METRICS_ADDRESS) if choice == "on" else None
    if not isinstance(value, str):
        raise ValueError(f'{shown(value)}: on, off, or an address is wanted, such as "127.0.0.1:9197"')
    address = parse_address(value, _folder(info))
    if not address.path and not is_literal(address.host):
        raise ValueError(f"{shown(value)}: an IP address is wanted, with a port")
    return address


def _metrics_label(address: Address | None) -> str:
    return "off" if address is None else address.label


def _file_mode(value: object) -> object:
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise ValueError(f'{shown(value)} is no mode; allowed: text of octal digits, such as "0660"')
    return int(value, 8)


def _octal(mode: int) -> str:
    return f"{mode:04o}"


def _log_target(target: str, info: ValidationInfo) -> str:
    if target.startswith("syslog:"):
        return f"syslog:{_file(target.removeprefix('syslog:'), info)}"
    return target if target in ("stderr", "syslog") else _file(target, info)


def _ssl_protocols(value: object) -> tuple[object, ...]:
    names = {name.lower(): name for name in _SSL_PROTOCOLS}
    return tuple(names.get(word, word) if isinstance(word, str) else word for word in parse_words(value))


def _pairs(value: object, thing: str, example: str) -> tuple[tuple[str, str], ...]:
    """Read a table of names and values, or an array of pairs, in which a name may stand twice."""
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list | tuple):
        raise ValueError(f'a table of names and values is wanted: {{ {example} = "…" }}')
    for pair in pairs:
        if not (
            isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        ):
            raise ValueError(
                f"each {thing} is a name and a value, both text: "
                f'{{ {example} = "…" }} or [["{example}", "…"]]'
            )
    return tuple((name, text) for name, text in pairs)


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    pairs = _pairs(value, "header", "X-Auth-Key")
    for number, pair in enumerate(pairs, 1):
        _check_header(number, *pair)
    return pairs


def _conf_commands(value: object, info: ValidationInfo) -> tuple[tuple[str, str], ...]:
    pairs = _pairs(value, "command", "Options")
    return tuple(
        (name, str(Path(_folder(info), text)) if name.lower() in _CONF_FILES else text)
        for name, text in pairs
    )


def _session_cache(value: object) -> object:
    text = " ".join(value) if isinstance(value, list | tuple) and all(map(_is_text, value)) else value
    if not isinstance(text, str) or not _SESSION_CACHE.fullmatch(text):
        raise ValueError(f'{shown(value)}: allowed: off, none, builtin, "builtin:1000", "shared:NAME:10m"')
    size = re.search(r"shared:[^:\s]+:(\d+\w?)", text)
    if size and parse_size(size[1]) < _SMALLEST_CACHE:
        raise ValueError(f"{shown(text)}: the cache is too small; {_SMALLEST_CACHE // 1024}k is the least")
    return text


def _is_text(value: object) -> bool:
    return isinstance(value, str)


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
    return listen.words


def _auth_http(value: object, info: ValidationInfo) -> AuthHttp:
    return parse_auth_http(value, _folder(info))


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

File = Annotated[str, AfterValidator(_file), Written("file")]
#: A file, or nothing, for which nginx has the empty text: so a server does without what ``[mail]`` gives.
OptionalFile = Annotated[File | None, BeforeValidator(_file_or_none)]
SocketPath = Annotated[str, AfterValidator(_socket_path), Written("file | off")]
FileMode = Annotated[int, BeforeValidator(_file_mode), PlainSerializer(_octal), Written("mode")]
MetricsListen = Annotated[
    Address | None,
    BeforeValidator(_metrics_listen),
    PlainSerializer(_metrics_label),
    Written("address | on | off"),
]
LogTarget = Annotated[str, AfterValidator(_log_target), Written("file | stderr | syslog")]
LogFormat = Annotated[Literal["text", "json", "dovecot"], BeforeValidator(parse_choice)]
LogLevel = Annotated[Literal["debug", "info", "notice", "warning", "error"], BeforeValidator(parse_choice)]
LogFacility = Annotated[
    Literal[
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
        "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ],
    BeforeValidator(parse_choice),
]  # fmt: skip
Files = Annotated[tuple[File, ...], BeforeValidator(_array), Written("file ...")]
PemFiles = Annotated[
    tuple[Annotated[str, AfterValidator(_pem)], ...],
    BeforeValidator(_array),
    PlainSerializer(_masked_pem),
    Written("file ..."),
]
Listens = Annotated[
    tuple[Annotated[Listen, BeforeValidator(_listen), PlainSerializer(_listen_words)], ...],
    BeforeValidator(_array),
    Written("address ..."),
]
BackendAddress = Annotated[Address, BeforeValidator(_backend_address), _LABEL, Written("address")]
AuthHttpUrl = Annotated[AuthHttp, BeforeValidator(_auth_http), _LABEL, Written("URL")]
Headers = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_headers),
    PlainSerializer(_masked),
    Written("{ name = value ... }"),
]
Resolver = Annotated[NameServers, BeforeValidator(parse_resolver), _LABEL, Written("address ... | off")]
Senders = Annotated[
    tuple[Annotated[str, AfterValidator(parse_sender)], ...],
    BeforeValidator(_array),
    Written("address | network | unix: ..."),
]
ConfCommands = Annotated[
    tuple[tuple[str, str], ...], BeforeValidator(_conf_commands), Written("{ name = value ... }")
]
SessionCache = Annotated[str, BeforeValidator(_session_cache), Written("off | none | cache ...")]
Name = Annotated[str, AfterValidator(_name), Written("text")]
ServerName = Annotated[str, AfterValidator(_server_name), Written("name")]
OwnName = Annotated[str, AfterValidator(_own_name), Written("name")]
Capabilities = Annotated[
    tuple[Annotated[str, AfterValidator(_capability)], ...], BeforeValidator(_texts), Written("text ...")
]
ImapId = Annotated[str, AfterValidator(_imap_id), Written("NIL | list")]
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
    BeforeValidator(_ssl_protocols),
]
AuthSource = Annotated[Literal["http", "users", "passthrough"], _CHOICE]
AuthHttpBackends = Annotated[Literal["any", "configured"], _CHOICE]
VerifyClient = Annotated[Literal["off", "on", "optional", "optional_no_ca"], _CHOICE]
StartTls = Annotated[Literal["off", "on", "only"], _CHOICE]
Xclient = Annotated[Literal["on", "off", "auto"], _CHOICE]
ProxyProtocol = Annotated[Literal["off", "on", "v2"], _CHOICE]
BackendTls = Annotated[Literal["off", "implicit", "starttls"], _CHOICE]
Domains = Annotated[dict[str, str], AfterValidator(_domains), Written("{ domain = backend ... }")]
