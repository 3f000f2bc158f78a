"""The manual page ``geomail.toml(5)``, generated from the models that check the file.

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
is the configuration of
.Xr geomail-serve 1 :
the addresses and protocols of its servers, the source that decides about
logins, and the mail servers behind it.
The file is written in TOML.
Commands read the file that their option
.Fl c
names, else the file that the environment variable
.Ev GEOMAIL_CONFIG
names, else
.Pa /etc/geomail/geomail.toml .
.Pp
If you know the mail proxy of nginx, you know most of this file.
.Cm [mail]
is nginx's
.Cm mail {}
block, and each
.Cm [[mail.server]]
is a
.Cm server {} .
Keys have the names and values of nginx's directives.
They also have nginx's defaults, except
.Cm resolver_timeout
and
.Cm ssl_ciphers .
.Xr geomail-import-nginx 1
converts an
.Pa nginx.conf .
.Pp
A key in
.Cm [mail]
applies to all servers that do not set it themselves.
A server inherits a list as a whole, or replaces it as a whole:
geomail does not join the list of a server with that of
.Cm [mail] .
.Pp
An unknown key is an error, and so is a value that the key cannot have.
.Xr geomail-check-config 1
lists all errors with their lines.
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
A whole number, 0 or more.
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
.Ql \(dq500ms\(dq .
The units are w, d, h, m, s and ms: each at most once, from large to small.
.Cm ssl_session_timeout ,
.Cm valid
of
.Cm resolver
and
.Cm so_keepalive
of
.Cm listen
are in whole seconds.
They also have the units y, a year, and M, a month, but not ms.
.It Ar file
The path of a file.
A relative path starts in the folder of
.Nm .
In
.Cm ssl_dhparam ,
.Cm ssl_client_certificate ,
.Cm ssl_trusted_certificate
and
.Cm ssl_crl ,
.Ql \(dq\(dq
means no file, for a server that must not use the file of
.Cm [mail] .
.It Ar address
A text:
.Ql \(dq192.0.2.1:143\(dq ,
.Ql \(dq[2001:db8::1]:143\(dq ,
.Ql \(dqhost.example.org:143\(dq
or
.Ql \(dqunix:/run/socket\(dq .
.It Ar something ...
Several values: an array of texts.
A single text needs no brackets.
.It Ar word ...
An array of words, or one text with spaces between them:
.Ql \(dqplain login\(dq .
.It Ar { name = value ... }
A table of texts, or an array of pairs, which may hold a name twice:
.Ql [[\(dqX-Key\(dq, \(dqa\(dq], [\(dqX-Key\(dq, \(dqb\(dq]] .
.El
"""

_LISTEN = r"""
After an address of
.Cm listen ,
the following parameters may appear, with spaces between them:
.Bl -tag -width Ds
.It Cm ssl
TLS from the start.
For TLS after a command, see
.Cm starttls .
.It Cm proxy_protocol
Each connection starts with a PROXY header, of version 1 or 2.
.It Cm backlog Ns = Ns Ar number
The number of connections that may wait until geomail accepts them.
The default is 511.
.It Cm rcvbuf Ns = Ns Ar size , Cm sndbuf Ns = Ns Ar size
The buffers of the system for each connection.
.It Cm so_keepalive Ns = Ns Cm on | off | Ar idle : Ns Ar interval : Ns Ar count
The system's probes of silent connections, and their times.
The default is
.Cm on .
.It Cm ipv6only Ns = Ns Cm on | off
With
.Cm on ,
.Ql [::]
accepts no IPv4 connections.
The default is
.Cm on .
.It Cm multipath
MPTCP, if the system has it.
.It Cm bind
No effect: geomail does not need it.
.El
.Pp
A port alone, or
.Ql *:110 ,
means all IPv4 addresses.
A port may be a range:
.Ql 143-145 .
A wildcard and a single address may share a port: clients that connect to the
single address get its server.
A table may replace the text:
.Ql { address = \(dq[::]:993\(dq, ssl = true } .
"""

_RESOLVER = r"""
After the addresses of
.Cm resolver ,
two parameters may appear.
.Cm valid Ns = Ns Ar time
is the time for which geomail keeps answers, in place of the answers' own time.
With
.Cm ipv4 Ns = Ns Cm off
or
.Cm ipv6 Ns = Ns Cm off ,
geomail does not ask for addresses of that kind.
"""

_INTRODUCTIONS = {
    "": "These keys are at the top of the file, before all tables.",
    "[mail]": "These keys may be in [mail], for all servers, or in [[mail.server]], for one.",
    "[[mail.server]]": "A server also has these keys.",
    "[backends.NAME]": "One table for each mail server. Routes and auth services use its NAME.",
}
_AFTER = {"[[mail.server]]": _LISTEN, "[mail]": _RESOLVER}

_TAIL = r"""
.Sh FILES
.Bl -tag -width Ds
.It Pa /etc/geomail/geomail.toml
The default file.
.El
.Sh EXAMPLES
An auth service decides about logins, and SMTP clients must use TLS:
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
The mail server itself decides about logins:
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
    """Return the page in mdoc."""
    lines = [_HEAD.strip(), ".Sh OPTIONS"]
    for header, table in TABLES.items():
        lines += _write_section(header, table)
    lines += [_TAIL.strip(), SECURITY.strip()]
    return "\n".join(lines) + "\n"


def _write_section(header: str, table: type[Table]) -> Iterator[str]:
    """Write a table's part of the page; nothing if the table holds only other tables."""
    keys = [key for key in list_keys(table) if not _is_table(_get_hints(table)[key])]
    if table is Server:
        keys = [key for key in keys if key not in Options.model_fields]
    if not keys:
        return
    title = "[mail] and [[mail.server]]" if table is Mail else header
    yield rf".Ss {title or 'Processes'}\&"
    yield from _wrap(_INTRODUCTIONS.get(header) or _describe(table))
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
    yield from _wrap(text)
    if "default" not in text.lower():
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
    """Tell whether values of this type are tables with a model of their own."""
    return any(
        isinstance(part, type) and issubclass(part, Table)
        for part in (hint, *_list_parts(hint))
        if not is_dataclass(part)
    )


def _get_form(hint: Any) -> str:
    """Return the written form of values of this type."""
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
    """List the parts of a type down to its metadata; the outer ones first."""
    inner: Sequence[Any] = [*get_args(hint), *getattr(hint, "__metadata__", ())]
    if get_origin(hint) is Literal:
        return
    yield from inner
    for part in inner:
        yield from _list_parts(part)


def _describe(table: type[Table]) -> str:
    """Return the second half of a table's docstring as a sentence."""
    text = (table.__doc__ or "").partition(": ")[2]
    return text[:1].upper() + text[1:]


def _wrap(text: str) -> Iterator[str]:
    """Return a text as lines of the page; each sentence starts a new line."""
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        for line in textwrap.wrap(sentence, _WIDTH, break_on_hyphens=False, break_long_words=False):
            yield _escape(line.replace("``", ""))


def _escape(text: str) -> str:
    text = text.replace("\\", r"\e").replace('"', r"\(dq")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.stdout.write(make_manual())
