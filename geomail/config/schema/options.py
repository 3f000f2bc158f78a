"""The options that servers have: what may stand in ``[mail]`` and in ``[[mail.server]]``."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field

from geomail.config.address import NameServers
from geomail.config.units import Flag, Number, Seconds, Size, Time, Timeout
from geomail.config.values import (
    AuthHttpBackends,
    AuthHttpUrl,
    AuthSource,
    Capabilities,
    ConfCommands,
    File,
    Files,
    Headers,
    ImapId,
    ImapMethods,
    OptionalFile,
    OwnName,
    PemFiles,
    Pop3Methods,
    ProxyProtocol,
    Resolver,
    Senders,
    SessionCache,
    SmtpMethods,
    SslProtocols,
    StartTls,
    VerifyClient,
    Xclient,
)

#: Mozilla's guidelines for TLS on servers, version 5.7, "intermediate"; DHE is used only with ssl_dhparam.
INTERMEDIATE_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
)
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


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
    resolver_timeout: Timeout = Field(
        5.0,
        description="time for one DNS lookup; the name of a client is waited for no longer than timeout says",
    )

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
        INTERMEDIATE_CIPHERS,
        description="ciphers that clients may use up to TLS 1.2, as OpenSSL lists them; default: Mozilla's "
        "intermediate list, ECDHE with AEAD, and DHE with ssl_dhparam",
    )
    ssl_prefer_server_ciphers: Flag = Field(
        False, description="whether geomail's order of ciphers counts, not the client's"
    )
    ssl_dhparam: OptionalFile = Field(None, description="DH parameters for DHE ciphers; default: no DHE")
    ssl_ecdh_curve: str = Field(
        "auto", min_length=1, description="curves for ECDHE, as prime256v1:secp384r1; auto: OpenSSL's"
    )
    ssl_session_cache: SessionCache = Field(
        "none", description="TLS sessions kept: off, none, or builtin[:number] and shared:name:size"
    )
    ssl_session_timeout: Seconds = Field(300.0, description="how long a TLS session can be resumed")
    ssl_session_tickets: Flag = Field(True, description="whether TLS sessions are resumed by tickets")
    ssl_session_ticket_key: Files = Field(
        (),
        description="files of 48 or 80 random bytes that encrypt tickets, the first new ones; default: keys "
        "of geomail's own, which change at each reload, and after ssl_session_timeout and an hour; see "
        "SECURITY CONSIDERATIONS",
    )
    ssl_verify_client: VerifyClient = Field(
        "off",
        description="clients' certificates: off, on (demanded), optional, or optional_no_ca (of any CA); "
        "where it is off, CAs and revocation lists are not even read",
    )
    ssl_verify_depth: Number = Field(1, description="CA certificates that may stand over a client's")
    ssl_client_certificate: OptionalFile = Field(
        None, description="CA certificates for clients' certificates, whose names clients are told"
    )
    ssl_trusted_certificate: OptionalFile = Field(
        None, description="CA certificates for clients' certificates, whose names clients are not told"
    )
    ssl_crl: OptionalFile = Field(None, description="revocation lists for clients' certificates")
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
        ("TOP", "USER", "UIDL"),
        description="capabilities in the reply to CAPA, one line each; RESP-CODES and AUTH-RESP-CODE let "
        "clients read [AUTH] and [SYS/TEMP] in what geomail says",
    )
    smtp_client_buffer: Size = Field(PAGE_SIZE, description="longest line of an SMTP client before login")
    imap_id: ImapId = Field(
        "NIL",
        description="what geomail says of itself to an IMAP client that says ID: NIL, or a list of names and "
        "values as in RFC 2971",
    )
    imap_greeting_capability: Flag = Field(
        True, description="whether the IMAP greeting names the capabilities, which saves clients a question"
    )
    nginx_replies: Flag = Field(
        False,
        description="whether clients hear nginx's words where others are right: on a login before the "
        "STARTTLS that is demanded, and, in IMAP, no BYE after max_errors and after a refused literal",
    )
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
    auth_http_keepalive: Flag = Field(
        True,
        description="whether a connection to the auth service is used for more than one question; no more "
        "where the service has said something that it was not asked",
    )
    auth_http_connections: Number = Field(
        256,
        gt=0,
        description="connections of one worker to one auth service; more logins wait in order. 256 carry "
        "some 2,000 logins a second, as each rests for a tenth of one after an answer; beyond that, some "
        "logins connect again",
    )
    auth_http_backends: AuthHttpBackends = Field(
        "any",
        description="where Auth-Server and Auth-Port may lead to: any address, or those of configured "
        "backends alone",
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
        description="tell SMTP backends who the client is: on, off, or auto (what the backend offers; the "
        "choice beside proxy_protocol); mail without a login needs it or a PROXY header, see SECURITY "
        "CONSIDERATIONS",
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
