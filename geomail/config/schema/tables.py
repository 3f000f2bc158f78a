"""The tables of the file, but for what servers have in common."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from geomail.config.address import Address
from geomail.config.schema.options import Options, Table
from geomail.config.units import Flag, Number, Size, Timeout, Workers
from geomail.config.values import (
    BackendAddress,
    BackendTls,
    Domains,
    File,
    FileMode,
    Listens,
    LogFacility,
    LogFormat,
    LogLevel,
    LogTarget,
    MetricsListen,
    Name,
    ProtocolName,
    ServerName,
    SocketPath,
    check_double_brackets,
)

_PORTS: dict[int, ProtocolName] = {
    143: "imap", 993: "imap", 110: "pop3", 995: "pop3", 25: "smtp", 465: "smtp", 587: "smtp",
}  # fmt: skip


def _guess_protocol(valid: dict[str, Any]) -> Any:
    return next((_PORTS[listen.port] for listen in valid.get("listen", ()) if listen.port in _PORTS), None)


def _choose_name(valid: dict[str, Any]) -> str:
    return valid["listen"][0].label if valid.get("listen") else f"{valid.get('protocol')} server"


#: What clients' certificates are verified with, without its ``ssl_``.
VERIFYING_FILES = ("client_certificate", "trusted_certificate", "crl")
_TLS_SETTINGS = (
    *("protocols", "ciphers", "prefer_server_ciphers", "dhparam", "ecdh_curve", "conf_command"),
    *("session_cache", "session_timeout", "session_tickets", "session_ticket_key", "password_file"),
    *("verify_client", "verify_depth", *VERIFYING_FILES),
)


class Server(Options):
    """One ``[[mail.server]]``; complete in a :class:`Config`."""

    listen: Listens = Field(
        (),
        description="where clients connect: address:port, [v6]:port or unix:path, then ssl, proxy_protocol",
    )
    protocol: ProtocolName = Field(
        default_factory=_guess_protocol,
        description="smtp, imap or pop3; default: by the first listen port that is known",
    )
    name: Name = Field(
        default_factory=_choose_name, description="name in logs; default: the first listen address"
    )

    @property
    def has_tls(self) -> bool:
        """Whether any of its clients may use TLS."""
        return self.starttls != "off" or any(listen.ssl for listen in self.listen)

    @property
    def tls_settings(self) -> dict[str, Any]:
        """The directives of TLS, without their ``ssl_``; certificates and their keys are apart.

        As in nginx, authorities and revocation lists count only where clients are verified.
        """
        settings = {key: getattr(self, f"ssl_{key}") for key in _TLS_SETTINGS}
        return settings | (dict.fromkeys(VERIFYING_FILES) if self.ssl_verify_client == "off" else {})


class Mail(Options):
    """The table ``[mail]``."""

    server: Annotated[tuple[Server, ...], BeforeValidator(check_double_brackets)] = Field(
        (), description="the servers, one [[mail.server]] each"
    )


class Passthrough(Table):
    """The table ``[auth.passthrough]``: which backend verifies whom."""

    default: str | None = Field(None, description="backend of all users without a route of their own")
    domains: Domains = Field(default_factory=dict, description="backends by the domain of the user name")
    users: dict[str, str] = Field(default_factory=dict, description="backends by the exact user name")


class Users(Table):
    """The table ``[auth.users]``: a file of users, whose passwords geomail verifies."""

    file: File | None = Field(None, description="file of users and password hashes, one in a line")
    default: str | None = Field(None, description="backend of users for whom nothing else names one")
    domains: Domains = Field(default_factory=dict, description="backends by the domain of the user name")
    max_password: Size = Field(
        512, description="longest password that is verified: longer ones cost more, and are refused as wrong"
    )


class Auth(Table):
    """The table ``[auth]``: the auth sources' own tables."""

    users: Users = Field(Users(), description="the users of auth = users")
    passthrough: Passthrough = Field(Passthrough(), description="routes of auth = passthrough")


class Backend(Table):
    """One ``[backends.NAME]``: a mail server behind geomail."""

    name: str = Field("", exclude=True, description="the NAME of its table")
    address: BackendAddress | None = Field(
        None, description="host:port, [v6]:port or unix:path, for each protocol that has none of its own"
    )
    smtp: BackendAddress | None = Field(None, description="address for SMTP")
    imap: BackendAddress | None = Field(None, description="address for IMAP")
    pop3: BackendAddress | None = Field(None, description="address for POP3")
    tls: BackendTls = Field("off", description="TLS to it: off, implicit, or starttls (STARTTLS, STLS)")
    tls_ca: File | None = Field(None, description="CA file that verifies it; default: the system's")
    tls_name: ServerName | None = Field(
        None, description="name its certificate must have; default: the address's host"
    )
    tls_verify: Flag = Field(True, description="whether its certificate is verified")
    tls_certificate: File | None = Field(None, description="certificate that geomail shows it")
    tls_certificate_key: File | None = Field(
        None, description="key of tls_certificate; default: in the same file"
    )

    def address_for(self, protocol: ProtocolName) -> Address | None:
        """Where it speaks this protocol; None: it does not."""
        own: Address | None = getattr(self, protocol)
        return own or self.address

    def addresses(self) -> dict[str, Address]:
        """Every address that is given, by its key."""
        given = {key: getattr(self, key) for key in ("address", "smtp", "imap", "pop3")}
        return {key: address for key, address in given.items() if address is not None}


class Process(Table):
    """What stands at the top of the file: the processes."""

    workers: Workers = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        description="worker processes: a number, or auto (the default), one for each processor",
    )
    worker_connections: Number = Field(
        16384, gt=0, description="clients that one worker serves at a time; more wait until one leaves"
    )
    worker_shutdown_timeout: Timeout | None = Field(
        None, description="how long sessions may go on after a reload or QUIT; default: until they end"
    )
    user: str | None = Field(
        None,
        description="user (user:group) that workers and console run as, where geomail is started as root; "
        "default: geomail if there is that account, else nobody; root stays root, and drops nothing",
    )


class Logging(Table):
    """The table ``[log]``: where and how the log is written."""

    target: LogTarget = Field("stderr", description="stderr, syslog, syslog:SOCKET, or the path of a file")
    format: LogFormat = Field(
        "text", description="text, json, or dovecot (for the log filters made for Dovecot)"
    )
    level: LogLevel = Field(
        "info", description="what is logged at least: debug, info, notice, warning, error"
    )
    facility: LogFacility = Field("mail", description="facility in syslog")


class Control(Table):
    """The table ``[control]``: the socket that ``geomail who``, ``tail`` and their like talk to."""

    socket: SocketPath = Field("/run/geomail/control.sock", description="path of the control socket, or off")
    mode: FileMode = Field(0o660, description="who may use it: the mode of its file, in octal")
    group: str | None = Field(None, description="group of its file; default: that of the process")


class Metrics(Table):
    """The table ``[metrics]``: what Prometheus reads."""

    listen: MetricsListen = Field(
        None,
        description="where /metrics, /livez and /readyz are: on (127.0.0.1:9197), an address; default: off",
    )
