"""The tables of the file, without the options that servers share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, create_model

from geomail.config.address import Address
from geomail.config.schema.options import Options, Table
from geomail.config.units import Flag, Number, Size, Timeout, Workers, either_of
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
from geomail.protocols.facts import FACTS, ProtocolFacts

_PORTS = {port: facts.name for facts in FACTS.values() for port in (*facts.ports, *facts.implicit_tls_ports)}


def _guess_protocol(valid: dict[str, Any]) -> Any:
    return next((_PORTS[listen.port] for listen in valid.get("listen", ()) if listen.port in _PORTS), None)


def _choose_name(valid: dict[str, Any]) -> str:
    return valid["listen"][0].label if valid.get("listen") else f"{valid.get('protocol')} server"


#: The options that name files for verifying clients' certificates, without their ``ssl_``.
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
        description="The addresses that clients connect to: address:port, [v6]:port or unix:path, then "
        "parameters such as ssl.",
    )
    protocol: ProtocolName = Field(
        default_factory=_guess_protocol,
        description=f"{either_of(FACTS)}. Default: the protocol of the first well-known port in listen.",
    )
    name: Name = Field(
        default_factory=_choose_name, description="The name in logs. Default: the first listen address."
    )

    @property
    def facts(self) -> ProtocolFacts:
        """The facts of its protocol."""
        return FACTS[self.protocol]

    @property
    def methods(self) -> tuple[str, ...]:
        """The login methods that its clients may use."""
        option = self.facts.methods_option
        methods: tuple[str, ...] = getattr(self, option) if option else self.facts.methods
        return methods

    @property
    def methods_option(self) -> str:
        """The option that decides about :attr:`methods`: without one of the protocol's own, ``protocol``."""
        return self.facts.methods_option or "protocol"

    @property
    def has_tls(self) -> bool:
        """True if any of its clients may use TLS."""
        return self.starttls != "off" or any(listen.ssl for listen in self.listen)

    @property
    def tls_settings(self) -> dict[str, Any]:
        """The options of TLS without their ``ssl_``, except certificates and their keys.

        As in nginx, authorities and revocation lists count only if geomail verifies clients.
        """
        settings = {key: getattr(self, f"ssl_{key}") for key in _TLS_SETTINGS}
        return settings | (dict.fromkeys(VERIFYING_FILES) if self.ssl_verify_client == "off" else {})


class Mail(Options):
    """The table ``[mail]``."""

    server: Annotated[tuple[Server, ...], BeforeValidator(check_double_brackets)] = Field(
        (), description="The servers, one [[mail.server]] each."
    )


class Passthrough(Table):
    """The table ``[auth.passthrough]``: the backend that verifies the login of each user."""

    default: str | None = Field(None, description="The backend of all users who have no route of their own.")
    domains: Domains = Field(default_factory=dict, description="Backends by the domain of the user name.")
    users: dict[str, str] = Field(default_factory=dict, description="Backends by the exact user name.")


class Users(Table):
    """The table ``[auth.users]``: a file of users; geomail verifies their passwords itself."""

    file: File | None = Field(None, description="A file with users and password hashes, one user per line.")
    default: str | None = Field(
        None, description="The backend of users that have none in the file or in domains."
    )
    domains: Domains = Field(default_factory=dict, description="Backends by the domain of the user name.")
    max_password: Size = Field(
        512,
        description="The longest password that geomail verifies. It refuses longer ones as wrong, as they "
        "cost more time.",
    )


class Auth(Table):
    """The table ``[auth]``, which holds the tables of auth sources."""

    users: Users = Field(Users(), description="The users of auth = users.")
    passthrough: Passthrough = Field(Passthrough(), description="The routes of auth = passthrough.")


class _Place(Table):
    """The options of a backend that say where it is."""

    name: str = Field("", exclude=True, description="The NAME of its table.")
    address: BackendAddress | None = Field(
        None,
        description="host:port, [v6]:port or unix:path, for each protocol without an address of its own.",
    )


if TYPE_CHECKING:
    _Places = _Place
else:  # mypy takes no computed fields
    _Places = create_model(
        "_Places",
        __base__=_Place,
        __module__=__name__,
        **{
            name: (BackendAddress | None, Field(None, description=f"The address for {facts.title}."))
            for name, facts in FACTS.items()
        },
    )


class Backend(_Places):
    """One ``[backends.NAME]``: a mail server behind geomail."""

    tls: BackendTls = Field(
        "off",
        description="TLS to the backend: off, implicit (from the start), or starttls (STARTTLS or STLS).",
    )
    tls_ca: File | None = Field(
        None,
        description="A file with the CA certificates that verify the backend. Default: those of the system.",
    )
    tls_name: ServerName | None = Field(
        None,
        description="The name that the backend's certificate must have. Default: the host of its address.",
    )
    tls_verify: Flag = Field(True, description="on: geomail verifies the backend's certificate.")
    tls_certificate: File | None = Field(
        None, description="The certificate that geomail shows to the backend."
    )
    tls_certificate_key: File | None = Field(
        None, description="The key of tls_certificate. Default: it is in the same file."
    )

    def address_for(self, protocol: ProtocolName) -> Address | None:
        """Return its address for a protocol; None means that it does not speak the protocol."""
        own: Address | None = getattr(self, protocol)
        return own or self.address

    def addresses(self) -> dict[str, Address]:
        """Return every address that the table gives, by its key."""
        given = {key: getattr(self, key) for key in ("address", *FACTS)}
        return {key: address for key, address in given.items() if address is not None}


class Process(Table):
    """The keys at the top of the file, about processes."""

    workers: Workers = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        description="The number of worker processes, or auto (the default), one for each processor.",
    )
    worker_connections: Number = Field(
        16384,
        gt=0,
        description="The clients that one worker serves at a time. More clients wait until one leaves.",
    )
    worker_shutdown_timeout: Timeout | None = Field(
        None, description="The time that sessions may go on after a reload or QUIT. Default: until they end."
    )
    user: str | None = Field(
        None,
        description="The user (or user:group) that workers and console run as, if root starts geomail. "
        "Default: geomail if there is such an account, else nobody. With root, they stay root "
        "and keep all privileges.",
    )


class Logging(Table):
    """The table ``[log]``: the place and the form of the log."""

    target: LogTarget = Field("stderr", description="stderr, syslog, syslog:SOCKET, or the path of a file.")
    format: LogFormat = Field(
        "text", description="text, json, or dovecot (for log filters that were made for Dovecot)."
    )
    level: LogLevel = Field(
        "info", description="The lowest level that geomail logs: debug, info, notice, warning, error."
    )
    facility: LogFacility = Field("mail", description="The facility in syslog.")


class Control(Table):
    """The table ``[control]``: the socket for ``geomail who``, ``tail`` and similar commands."""

    socket: SocketPath = Field(
        "/run/geomail/control.sock", description="The path of the control socket, or off."
    )
    mode: FileMode = Field(
        0o660,
        description="The mode of the socket's file, in octal. It decides which users may use the socket.",
    )
    group: str | None = Field(
        None, description="The group of the socket's file. Default: that of the process."
    )


class Metrics(Table):
    """The table ``[metrics]``: the metrics that Prometheus reads."""

    listen: MetricsListen = Field(
        None,
        description="The address of /metrics, /livez and /readyz, or on (127.0.0.1:9197). Default: off.",
    )
