"""The manual page ``geomail.toml(5)``, made from the models that check the file.

``python -m geomail.config.manual`` writes it to standard output.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter
from pydantic_core import PydanticUndefined

from geomail.config.manual_security import SECURITY
from geomail.config.schema import TABLES, Mail, Options, Server, Table, list_keys
from geomail.config.schema.options import PAGE_SIZE
from geomail.config.toml_text import write_toml_value
from geomail.config.units import ValueForm

_WIDTH = 78

_HEAD = r"""
.Dd November 25, 2026
.Dt GEOMAIL.TOML 5
.Os
.Sh NAME
.Nm geomail.toml
.Nd configuration of geomail
.Sh DESCRIPTION
.Nm
says where
.Xr geomail-serve 1
listens, for which protocols, who decides about logins, and which mail servers
stand behind it.
It is written in TOML.
Without the option
.Fl c
the file is the one that the environment variable
.Ev GEOMAIL_CONFIG
names, else
.Pa /etc/geomail/geomail.toml .
.Pp
Whoever knows the mail proxy of nginx knows most of it:
.Cm [mail]
is nginx's
.Cm mail {}
block, each
.Cm [[mail.server]]
is a
.Cm server {} ,
and keys have the names and values of nginx's directives, and their defaults
but for
.Cm resolver_timeout
and
.Cm ssl_ciphers .
.Xr geomail-import-nginx 1
converts an
.Pa nginx.conf .
.Pp
A key of
.Cm [mail]
holds for all servers that do not have it themselves.
Lists are inherited whole or not at all: that of a server replaces that of
.Cm [mail] .
.Pp
A key that is unknown, or has a value that it cannot have, is an error:
.Xr geomail-check-config 1
lists all of them, with their lines.
.Ss Values
.Bl -tag -width Ds
.It Ar on | off
.Ql true
and
.Ql false ,
or nginx's words
.Ql \(dqon\(dq
and
.Ql \(dqoff\(dq .
.It Ar number
Zero or more.
.It Ar size
Bytes, or a text such as
.Ql \(dq8k\(dq
or
.Ql \(dq1m\(dq .
.It Ar time
Seconds, or a text such as
.Ql \(dq30s\(dq ,
.Ql \(dq1m 30s\(dq ,
.Ql \(dq24h\(dq
or
.Ql \(dq500ms\(dq ;
units are w, d, h, m, s and ms, each once, the large ones first.
.Cm ssl_session_timeout ,
.Cm valid
of
.Cm resolver
and
.Cm so_keepalive
of
.Cm listen
are whole seconds: they know y, a year, and M, a month, and no ms.
.It Ar file
A name; it starts in the folder of
.Nm ,
unless it is absolute.
In
.Cm ssl_dhparam ,
.Cm ssl_client_certificate ,
.Cm ssl_trusted_certificate
and
.Cm ssl_crl
.Ql \(dq\(dq
is none, for a server that does without that of
.Cm [mail] .
.It Ar address
A text:
.Ql \(dq192.0.2.1:143\(dq ,
.Ql \(dq[2001:db8::1]:143\(dq ,
.Ql \(dqhost.example.org:143\(dq
or
.Ql \(dqunix:/run/socket\(dq .
.It Ar something ...
Several: an array of texts.
One text alone needs no brackets.
.It Ar word ...
An array of words, or one text with spaces between them:
.Ql \(dqplain login\(dq .
.It Ar { name = value ... }
A table of texts, or an array of pairs, in which a name may stand twice:
.Ql [[\(dqX-Key\(dq, \(dqa\(dq], [\(dqX-Key\(dq, \(dqb\(dq]] .
.El
"""

_LISTEN = r"""
Behind an address of
.Cm listen
may stand, with spaces between them:
.Bl -tag -width Ds
.It Cm ssl
TLS from the start; otherwise see
.Cm starttls .
.It Cm proxy_protocol
Each connection starts with a PROXY header, of version 1 or 2.
.It Cm backlog Ns = Ns Ar number
How many connections may wait to be accepted.
The default is 511.
.It Cm rcvbuf Ns = Ns Ar size , Cm sndbuf Ns = Ns Ar size
Buffers of the system for each connection.
.It Cm so_keepalive Ns = Ns Cm on | off | Ar idle : Ns Ar interval : Ns Ar count
Whether silent connections are probed, and when.
The default is
.Cm on .
.It Cm ipv6only Ns = Ns Cm on | off
Whether
.Ql [::]
takes no IPv4 connections.
The default is
.Cm on .
.It Cm multipath
MPTCP, where the system has it.
.It Cm bind
No effect: geomail needs no telling.
.El
.Pp
An address may be a port alone, or
.Ql *:110 ,
which are all IPv4 addresses; and a port may be a range:
.Ql 143-145 .
A wildcard and an address of its own may share a port: who connects to the
address comes to its server.
In place of a text there may be a table:
.Ql { address = \(dq[::]:993\(dq, ssl = true } .
"""

_RESOLVER = r"""
Behind the addresses of
.Cm resolver
may stand
.Cm valid Ns = Ns Ar time ,
how long answers are kept in place of what they say themselves, and
.Cm ipv4 Ns = Ns Cm off
or
.Cm ipv6 Ns = Ns Cm off ,
which asks for no addresses of that kind.
"""

_INTRODUCTIONS = {
    "": "These stand at the top of the file, before all tables.",
    "[mail]": "These may stand in both tables, for all servers or for one.",
    "[[mail.server]]": "A server has these as well.",
    "[backends.NAME]": "One table for each mail server; NAME is what routes and auth services call it.",
}
_AFTER = {"[[mail.server]]": _LISTEN, "[mail]": _RESOLVER}

_TAIL = r"""
.Sh FILES
.Bl -tag -width Ds
.It Pa /etc/geomail/geomail.toml
The default.
.El
.Sh EXAMPLES
An auth service decides; SMTP clients must use TLS:
.Bd -literal -offset indent
[mail]
server_name = "mail.example.org"
auth_http = "http://127.0.0.1:9000/auth"
ssl_certificate = "/etc/geomail/mail.crt"
ssl_certificate_key = "/etc/geomail/mail.key"

[[mail.server]]
protocol = "smtp"
listen = ["0.0.0.0:587", "[::]:587"]
starttls = "only"

[[mail.server]]
protocol = "imap"
listen = "0.0.0.0:993 ssl"
.Ed
.Pp
The mail server itself decides:
.Bd -literal -offset indent
[mail]
auth = "passthrough"

[[mail.server]]
listen = "127.0.0.1:143"

[auth.passthrough]
default = "dovecot"

[backends.dovecot]
address = "10.0.0.1:143"
tls = "starttls"
.Ed
.Sh SEE ALSO
.Xr geomail 1 ,
.Xr geomail-check-config 1 ,
.Xr geomail-import-nginx 1 ,
.Xr geomail-serve 1 ,
.Xr geomail-control 7
"""


def make_manual() -> str:
    """The page, in mdoc."""
    lines = [_HEAD.strip(), ".Sh OPTIONS"]
    for header, table in TABLES.items():
        lines += _write_section(header, table)
    lines += [_TAIL.strip(), SECURITY.strip()]
    return "\n".join(lines) + "\n"


def _write_section(header: str, table: type[Table]) -> Iterator[str]:
    """A table's part of the page; nothing if the table holds other tables only."""
    keys = [key for key in list_keys(table) if not _is_table(_get_hints(table)[key])]
    if table is Server:
        keys = [key for key in keys if key not in Options.model_fields]
    if not keys:
        return
    title = "[mail] and [[mail.server]]" if table is Mail else header
    yield rf".Ss {title or 'Processes'}\&"
    yield from _wrap(_INTRODUCTIONS.get(header) or _make_sentence((table.__doc__ or "").partition(": ")[2]))
    yield ".Bl -tag -width Ds"
    for key in keys:
        yield from _write_option(table, key)
    yield ".El"
    if header in _AFTER:
        yield ".Pp"
        yield _AFTER[header].strip()


def _write_option(table: type[Table], key: str) -> Iterator[str]:
    option = table.model_fields[key]
    yield f".It Cm {key} No = Ar {_get_form(_get_hints(table)[key])}"
    text = option.description or ""
    yield from _wrap(_make_sentence(text + ".", literal=_get_form(_get_hints(table)[key])))
    if "default" not in text:
        yield from _write_default(table, key)


def _write_default(table: type[Table], key: str) -> Iterator[str]:
    default = table.model_fields[key].default
    if default is PydanticUndefined or default is None or default == ():
        return
    if default == PAGE_SIZE:
        yield "Default: one memory page."
        return
    value = TypeAdapter(_get_hints(table)[key]).dump_python(default)
    yield "Default:"
    yield f".Ql {_escape(write_toml_value(value))} ."


def _get_hints(table: type[Table]) -> dict[str, Any]:
    return get_type_hints(table, include_extras=True)


def _is_table(hint: Any) -> bool:
    """Whether values of this type are tables with a model of their own."""
    return any(
        isinstance(part, type) and issubclass(part, Table)
        for part in (hint, *_list_parts(hint))
        if not is_dataclass(part)
    )


def _get_form(hint: Any) -> str:
    """How a value of this type is written."""
    parts = [hint, *_list_parts(hint)]
    for part in parts:
        if isinstance(part, ValueForm):
            return part.form
    for part in parts:
        if get_origin(part) is Literal:
            words = " | ".join(get_args(part))
            return f"{words} ..." if any(get_origin(other) is tuple for other in parts) else words
    return "{ name = text ... }" if any(get_origin(part) is dict for part in parts) else "text"


def _list_parts(hint: Any) -> Iterator[Any]:
    """What a type is made of, down to its metadata; the outer before the inner."""
    inner: Sequence[Any] = [*get_args(hint), *getattr(hint, "__metadata__", ())]
    if get_origin(hint) is Literal:
        return
    yield from inner
    for part in inner:
        yield from _list_parts(part)


def _make_sentence(text: str, literal: str = "") -> str:
    """The text with a capital in front, unless it starts with a name, or with a word of the value itself."""
    first = re.split(r"[\s,:]", text)[0]
    stays = first in ("geomail", "host", "geomail's", *literal.split())
    return text if stays else text[:1].upper() + text[1:]


def _wrap(text: str) -> Iterator[str]:
    """A text as lines of the page, each sentence on a line of its own."""
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        for line in textwrap.wrap(sentence, _WIDTH, break_on_hyphens=False, break_long_words=False):
            yield _escape(line.replace("``", ""))


def _escape(text: str) -> str:
    text = text.replace("\\", r"\e").replace('"', r"\(dq")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.stdout.write(make_manual())
