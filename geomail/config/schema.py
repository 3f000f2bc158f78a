"""The options of ``geomail.toml``: one model per table.

Names, values and contexts are nginx's. An option's default and its one-line
doc stand here and nowhere else; a field without a repr is a secret. A table's
model says which keys may stand in it: what :class:`Mail` inherits from
:class:`Options`, ``[mail]`` and ``[[mail.server]]`` may both hold. ``load``
gives each :class:`Server` what it inherits, so that it is complete.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from geomail.config.address import Address, AuthHttp, NameServers
from geomail.config.listen import KeepAlive, Listen
from geomail.config.units import Flag, Number, Seconds, Size, Time, Timeout, Workers
from geomail.config.values import (
    AuthHttpUrl,
    AuthSource,
    BackendAddress,
    BackendTls,
    Capabilities,
    ConfCommands,
    Domains,
    File,
    FileMode,
    Files,
    Headers,
    ImapMethods,
    Listens,
    LogFacility,
    LogFormat,
    LogLevel,
    LogTarget,
    MetricsListen,
    Name,
    OwnName,
    PemFiles,
    Pop3Methods,
    ProtocolName,
    ProxyProtocol,
    Resolver,
    Senders,
    ServerName,
    SessionCache,
    SmtpMethods,
    SocketPath,
    SslProtocols,
    StartTls,
    VerifyClient,
    Xclient,
    check_double_brackets,
    name_backends,
)

__all__ = [
    "Address",
    "AuthHttp",
    "Backend",
    "Config",
    "KeepAlive",
    "Listen",
    "Mail",
    "NameServers",
    "Options",
    "Passthrough",
    "Server",
    "Users",
]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_PORTS: dict[int, ProtocolName] = {
    143: "imap", 993: "imap", 110: "pop3", 995: "pop3", 25: "smtp", 465: "smtp", 587: "smtp",
}  # fmt: skip


class Table(BaseModel):
    """A table of the file: no unknown keys, no guessing of types, never changed once made."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Options(Table):
    """What may stand in ``[mail]``, for all servers, and in ``[[mail.server]]``, for one."""

    server_name: OwnName = Field(
        default_factory=lambda: os.uname().nodename.lower(),
        description="geomail's own host name, in greetings, challenges and towards SMTP backends; "
        "default: the machine's",
    )
    timeout: Timeout = Field(
        60.0, description="time from the greeting to a complete login; commands do not extend it"
    )
    max_errors: Number = Field(5, description="the session is closed after this many invalid commands")
    max_commands: Number = Field(
        1000, description="the session is closed after this many commands before login; 0: no limit"
    )
    max_login_attempts: Number = Field(
        20, description="the session is closed after this many failed logins; 0: no limit"
    )
    resolver: Resolver = Field(
        NameServers(),
        description="DNS servers asked for the names of SMTP clients, with valid=, ipv4= and ipv6=; or off",
    )
    resolver_timeout: Timeout = Field(30.0, description="time for one DNS lookup")

    starttls: StartTls = Field(
        "off", description="STARTTLS and STLS: off, on (offered), or only (required before anything else)"
    )
    ssl_certificate: PemFiles = Field(
        (), description="certificate files in PEM, each the leaf first, then its chain"
    )
    ssl_certificate_key: PemFiles = Field(
        (), repr=False, description="private key files in PEM, in the order of ssl_certificate"
    )
    ssl_password_file: File | None = Field(
        None, description="file of passphrases for the private keys, one in a line, tried in turn"
    )
    ssl_protocols: SslProtocols = Field(
        ("TLSv1.2", "TLSv1.3"), description="TLS versions that clients may use"
    )
    ssl_ciphers: str = Field(
        "HIGH:!aNULL:!MD5", description="ciphers that clients may use, as OpenSSL lists them"
    )
    ssl_prefer_server_ciphers: Flag = Field(
        False, description="whether geomail's order of ciphers counts, not the client's"
    )
    ssl_dhparam: File | None = Field(None, description="DH parameters for DHE ciphers; default: no DHE")
    ssl_ecdh_curve: str = Field(
        "auto", min_length=1, description="curves for ECDHE, as prime256v1:secp384r1; auto: OpenSSL's"
    )
    ssl_session_cache: SessionCache = Field(
        "none", description="TLS sessions kept: off, none, or builtin[:number] and shared:name:size"
    )
    ssl_session_timeout: Seconds = Field(300.0, description="how long a TLS session can be resumed")
    ssl_session_tickets: Flag = Field(True, description="whether TLS sessions are resumed by tickets")
    ssl_session_ticket_key: Files = Field(
        (), description="files of 48 or 80 random bytes that encrypt tickets, the first new ones"
    )
    ssl_verify_client: VerifyClient = Field(
        "off", description="clients' certificates: off, on (demanded), optional, or optional_no_ca"
    )
    ssl_verify_depth: Number = Field(1, description="CA certificates that may stand over a client's")
    ssl_client_certificate: File | None = Field(
        None, description="CA certificates for clients' certificates, whose names clients are told"
    )
    ssl_trusted_certificate: File | None = Field(
        None, description="CA certificates for clients' certificates, whose names clients are not told"
    )
    ssl_crl: File | None = Field(None, description="revocation lists for clients' certificates")
    ssl_conf_command: ConfCommands = Field(
        (), description="names and values given to OpenSSL as they are; see SSL_CONF_cmd(3)"
    )
    ssl_certificate_compression: Flag = Field(
        False, description="compression of certificates in TLS 1.3; no effect, as with an OpenSSL without it"
    )

    smtp_auth: SmtpMethods = Field(
        ("plain", "login"), description="how SMTP clients may log in; none lets them send without a login"
    )
    imap_auth: ImapMethods = Field(("plain",), description="how IMAP clients may log in")
    pop3_auth: Pop3Methods = Field(("plain",), description="how POP3 clients may log in")
    smtp_capabilities: Capabilities = Field((), description="extensions in the reply to EHLO, one line each")
    imap_capabilities: Capabilities = Field(
        ("IMAP4", "IMAP4rev1", "UIDPLUS"), description="capabilities in the reply to CAPABILITY"
    )
    pop3_capabilities: Capabilities = Field(
        ("TOP", "USER", "UIDL"), description="capabilities in the reply to CAPA, one line each"
    )
    smtp_client_buffer: Size = Field(PAGE_SIZE, description="longest line of an SMTP client before login")
    imap_client_buffer: Size = Field(PAGE_SIZE, description="longest command of an IMAP client before login")
    pop3_client_buffer: Size = Field(PAGE_SIZE, description="longest line of a POP3 client before login")
    smtp_greeting_delay: Time = Field(
        0.0, description="wait before the SMTP greeting; a client that speaks in it is refused"
    )

    auth: AuthSource = Field(
        "http", description="who is asked about a login: http (implied by auth_http), users or passthrough"
    )
    auth_http: AuthHttpUrl | None = Field(
        None, description="URL of the auth service, in nginx's auth_http protocol"
    )
    auth_http_timeout: Timeout = Field(
        60.0, description="time for one request to the auth service, as a whole"
    )
    auth_http_cache: Time = Field(
        0.0,
        description="how long a good answer of the auth service is kept for the same user, password and "
        "client; refusals never are; 0: it is asked about each login",
    )
    auth_http_header: Headers = Field(
        (), repr=False, description="headers added to each request to the auth service, a shared secret say"
    )
    auth_http_pass_client_cert: Flag = Field(
        False, description="whether the auth service gets the client's certificate, in Auth-SSL-Cert"
    )
    auth_http_ca: File | None = Field(
        None, description="CA file that verifies an https auth service; default: the system's"
    )

    set_real_ip_from: Senders = Field(
        (),
        description="who is believed when a PROXY header names the client: addresses, networks, hosts, unix:",
    )
    proxy: Flag = Field(False, description="no effect, as in nginx")
    proxy_buffer: Size | None = Field(
        None,
        description="buffer for relaying, each way; default: one memory page, growing to 256k while busy",
    )
    proxy_timeout: Timeout = Field(
        86400.0, description="the session is closed when nothing moves for this long"
    )
    proxy_pass_error_message: Flag = Field(
        False, description="whether the client gets the backend's words when that refuses a login"
    )
    xclient: Xclient = Field(
        "on",
        description="tell SMTP backends who the client is: on, off, or auto (what the backend offers)",
    )
    proxy_smtp_auth: Flag = Field(
        False, description="whether geomail logs in to SMTP backends with the user's password"
    )
    proxy_protocol: ProxyProtocol = Field(
        "off", description="PROXY header to backends: off, on (version 1) or v2"
    )
    pass_session_id: Flag = Field(
        False,
        description="whether others hear the id of the session that is in the log: SMTP backends by XCLIENT "
        "SESSION, IMAP backends by ID, both if they offer it, the auth service by Auth-Session",
    )


def _protocol_by_port(valid: dict[str, Any]) -> Any:
    return next((_PORTS[listen.port] for listen in valid.get("listen", ()) if listen.port in _PORTS), None)


def _name_by_listen(valid: dict[str, Any]) -> str:
    return valid["listen"][0].label if valid.get("listen") else f"{valid.get('protocol')} server"


_TLS_SETTINGS = (
    *("protocols", "ciphers", "prefer_server_ciphers", "dhparam", "ecdh_curve", "conf_command"),
    *("session_cache", "session_timeout", "session_tickets", "session_ticket_key", "password_file"),
    *("verify_client", "verify_depth", "client_certificate", "trusted_certificate", "crl"),
)


class Server(Options):
    """One ``[[mail.server]]``; complete in a :class:`Config`."""

    listen: Listens = Field(
        (),
        description="where clients connect: address:port, [v6]:port or unix:path, then ssl, proxy_protocol",
    )
    protocol: ProtocolName = Field(
        default_factory=_protocol_by_port,
        description="smtp, imap or pop3; default: by the first listen port that is known",
    )
    name: Name = Field(
        default_factory=_name_by_listen, description="name in logs; default: the first listen address"
    )

    @property
    def has_tls(self) -> bool:
        """Whether any of its clients may use TLS."""
        return self.starttls != "off" or any(listen.ssl for listen in self.listen)

    @property
    def tls_settings(self) -> dict[str, Any]:
        """The directives of TLS, without their ``ssl_``; certificates and their keys are apart."""
        return {key: getattr(self, f"ssl_{key}") for key in _TLS_SETTINGS}


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
        None, description="user (user:group) that workers run as, where geomail is started as root"
    )


class Logging(Table):
    """The table ``[log]``: where and how the log is written."""

    target: LogTarget = Field("stderr", description="stderr, syslog, or the path of a file")
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
        description="where /metrics, /livez and /readyz are served: off, on (127.0.0.1:9197), or an address",
    )


class Document(Process):
    """The whole file, as it is written."""

    log: Logging = Field(Logging(), description="the log")
    control: Control = Field(Control(), description="the control socket")
    metrics: Metrics = Field(Metrics(), description="metrics")

    mail: Mail = Field(Mail(), description="the mail proxy")
    auth: Auth = Field(Auth(), description="auth sources beside auth_http")
    backends: Annotated[dict[str, Backend], BeforeValidator(name_backends)] = Field(
        default_factory=dict, description="mail servers behind geomail, one [backends.NAME] each"
    )


class Config(Process):
    """A whole configuration, complete: inheritance is resolved, everything is checked."""

    servers: tuple[Server, ...]
    log: Logging = Logging()
    control: Control = Control()
    metrics: Metrics = Metrics()
    backends: dict[str, Backend] = Field(default_factory=dict)
    passthrough: Passthrough = Passthrough()
    users: Users = Users()


def keys_of(table: type[Table]) -> list[str]:
    """The keys that the file may hold in this table."""
    return [key for key, option in table.model_fields.items() if not option.exclude]


#: The model of each table, by the header that the file writes.
TABLES: dict[str, type[Table]] = {
    "": Document,
    "[log]": Logging,
    "[control]": Control,
    "[metrics]": Metrics,
    "[mail]": Mail,
    "[[mail.server]]": Server,
    "[auth]": Auth,
    "[auth.passthrough]": Passthrough,
    "[auth.users]": Users,
    "[backends.NAME]": Backend,
}
