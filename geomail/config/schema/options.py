"""The options of servers: the keys that ``[mail]`` and ``[[mail.server]]`` may hold."""

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

#: Mozilla's guidelines for TLS on servers, version 5.7, "intermediate"; DHE needs ssl_dhparam.
INTERMEDIATE_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
)
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class Table(BaseModel):
    """A table of the file: it has no unknown keys, does not guess types, and never changes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class Options(Table):
    """The keys that ``[mail]`` may hold for all servers, and ``[[mail.server]]`` for one."""

    server_name: OwnName = Field(
        default_factory=lambda: os.uname().nodename.lower(),
        description="The host name of geomail itself, in greetings, in challenges and towards SMTP "
        "backends. Default: the host name of the machine.",
    )
    timeout: Timeout = Field(
        60.0, description="The time from the greeting to a complete login. Commands do not extend it."
    )
    max_errors: Number = Field(5, description="geomail closes a session after this many invalid commands.")
    max_commands: Number = Field(
        1000, description="geomail closes a session after this many commands before login. 0 means no limit."
    )
    max_login_attempts: Number = Field(
        20, description="geomail closes a session after this many failed logins. 0 means no limit."
    )
    resolver: Resolver = Field(
        NameServers(),
        description="The DNS servers that geomail asks for the names of SMTP clients, with valid=, ipv4= "
        "and ipv6=. off: geomail does not ask for these names.",
    )
    resolver_timeout: Timeout = Field(
        5.0,
        description="The time for one DNS lookup. For the name of a client, geomail never waits longer "
        "than timeout.",
    )

    starttls: StartTls = Field(
        "off",
        description="STARTTLS and STLS: off, on (geomail offers it), or only (the client must use it "
        "before anything else).",
    )
    ssl_certificate: PemFiles = Field(
        (),
        description="Files with certificates in PEM. In each file, the server's own certificate comes "
        "first, then its chain.",
    )
    ssl_certificate_key: PemFiles = Field(
        (), repr=False, description="Files with private keys in PEM, in the order of ssl_certificate."
    )
    ssl_password_file: File | None = Field(
        None,
        description="A file with passphrases for the private keys, one per line. geomail tries one after "
        "the other.",
    )
    ssl_protocols: SslProtocols = Field(
        ("TLSv1.2", "TLSv1.3"), description="The TLS versions that clients may use."
    )
    ssl_ciphers: str = Field(
        INTERMEDIATE_CIPHERS,
        description="The ciphers that clients may use up to TLS 1.2, in OpenSSL's list format. Default: "
        "Mozilla's intermediate list (ECDHE with AEAD; with ssl_dhparam also DHE).",
    )
    ssl_prefer_server_ciphers: Flag = Field(
        False, description="on: geomail's order of ciphers counts. off: the client's order counts."
    )
    ssl_dhparam: OptionalFile = Field(
        None, description="A file with DH parameters for DHE ciphers. Default: none, so no DHE."
    )
    ssl_ecdh_curve: str = Field(
        "auto",
        min_length=1,
        description="The curves for ECDHE, such as prime256v1:secp384r1. auto: those of OpenSSL.",
    )
    ssl_session_cache: SessionCache = Field(
        "none",
        description="The cache of TLS sessions: off, none, or one or both of builtin[:number] and "
        "shared:name:size.",
    )
    ssl_session_timeout: Seconds = Field(
        300.0, description="The time for which a client can resume a TLS session."
    )
    ssl_session_tickets: Flag = Field(True, description="on: clients can resume TLS sessions with tickets.")
    ssl_session_ticket_key: Files = Field(
        (),
        description="Files of 48 or 80 random bytes, the keys of tickets. The first file encrypts new "
        "tickets, the others only decrypt old ones. Default: geomail makes its own keys, and "
        "changes them at each reload, and after ssl_session_timeout plus one hour. See "
        "SECURITY CONSIDERATIONS.",
    )
    ssl_verify_client: VerifyClient = Field(
        "off",
        description="Certificates of clients: off, on (a client must send one), optional, or "
        "optional_no_ca (optional, from any CA). With off, geomail does not read the files of "
        "CAs and revocation lists.",
    )
    ssl_verify_depth: Number = Field(
        1, description="The maximum number of CA certificates above a client's certificate."
    )
    ssl_client_certificate: OptionalFile = Field(
        None,
        description="A file with CA certificates that verify clients' certificates. geomail sends their "
        "names to clients.",
    )
    ssl_trusted_certificate: OptionalFile = Field(
        None,
        description="A file with CA certificates that verify clients' certificates. geomail does not send "
        "their names to clients.",
    )
    ssl_crl: OptionalFile = Field(None, description="A file with revocation lists for clients' certificates.")
    ssl_conf_command: ConfCommands = Field(
        (), description="Names and values that geomail passes to OpenSSL without change. See SSL_CONF_cmd(3)."
    )
    ssl_certificate_compression: Flag = Field(
        False,
        description="Compression of certificates in TLS 1.3. It has no effect: geomail never compresses "
        "them, like nginx if its OpenSSL cannot.",
    )

    smtp_auth: SmtpMethods = Field(
        ("plain", "login"),
        description="The methods by which SMTP clients may log in. none: clients may send mail without a "
        "login.",
    )
    imap_auth: ImapMethods = Field(("plain",), description="The methods by which IMAP clients may log in.")
    pop3_auth: Pop3Methods = Field(("plain",), description="The methods by which POP3 clients may log in.")
    smtp_capabilities: Capabilities = Field(
        (), description="The extensions in the reply to EHLO, one line each."
    )
    imap_capabilities: Capabilities = Field(
        ("IMAP4", "IMAP4rev1", "UIDPLUS"), description="The capabilities in the response to CAPABILITY."
    )
    pop3_capabilities: Capabilities = Field(
        ("TOP", "USER", "UIDL"),
        description="The capabilities in the response to CAPA, one line each. With RESP-CODES and "
        "AUTH-RESP-CODE, clients understand [AUTH] and [SYS/TEMP] in geomail's responses.",
    )
    smtp_client_buffer: Size = Field(
        PAGE_SIZE, description="The longest line that an SMTP client may send before login."
    )
    imap_id: ImapId = Field(
        "NIL",
        description="geomail's answer to an IMAP client's ID: NIL, or a list of names and values in the "
        "form of RFC 2971.",
    )
    imap_greeting_capability: Flag = Field(
        True,
        description="on: the IMAP greeting lists the capabilities, so that clients need not ask for them.",
    )
    nginx_replies: Flag = Field(
        False,
        description="on: clients get nginx's replies where RFCs ask for others. These are the reply to a "
        "login before the required STARTTLS and, in IMAP, no BYE after max_errors and after a "
        "refused literal.",
    )
    imap_client_buffer: Size = Field(
        PAGE_SIZE, description="The longest command that an IMAP client may send before login."
    )
    pop3_client_buffer: Size = Field(
        PAGE_SIZE, description="The longest line that a POP3 client may send before login."
    )
    smtp_greeting_delay: Time = Field(
        0.0,
        description="The wait before the SMTP greeting. geomail refuses a client that sends something "
        "during it.",
    )

    auth: AuthSource = Field(
        "http",
        description="The source that decides about logins: http (auth_http alone implies it), users or "
        "passthrough.",
    )
    auth_http: AuthHttpUrl | None = Field(
        None, description="The URL of the auth service, which must speak nginx's auth_http protocol."
    )
    auth_http_timeout: Timeout = Field(
        60.0, description="The time for one complete request to the auth service."
    )
    auth_http_cache: Time = Field(
        0.0,
        description="The time for which geomail keeps an answer that accepts a login, for the same user, "
        "password and client. geomail never keeps refusals. 0: geomail asks about each login.",
    )
    auth_http_keepalive: Flag = Field(
        True,
        description="on: geomail uses a connection to the auth service for several requests. It stops "
        "using a connection on which the service sent something without a request.",
    )
    auth_http_connections: Number = Field(
        256,
        gt=0,
        description="The connections of one worker to one auth service. More logins wait in order. 256 "
        "connections are enough for some 2,000 logins a second, as each connection rests for "
        "a tenth of a second after an answer. Beyond that, some logins make a new connection.",
    )
    auth_http_backends: AuthHttpBackends = Field(
        "any",
        description="The addresses that Auth-Server and Auth-Port may name: any, or only those of "
        "configured backends.",
    )
    auth_http_header: Headers = Field(
        (),
        repr=False,
        description="Headers that geomail adds to each request to the auth service, such as a shared secret.",
    )
    auth_http_pass_client_cert: Flag = Field(
        False, description="on: geomail sends the client's certificate to the auth service, in Auth-SSL-Cert."
    )
    auth_http_ca: File | None = Field(
        None,
        description="A file with the CA certificates that verify an https auth service. Default: those of "
        "the system.",
    )

    set_real_ip_from: Senders = Field(
        (),
        description="The proxies whose PROXY header geomail trusts to name the client: addresses, "
        "networks, host names, or unix: for all Unix sockets.",
    )
    proxy: Flag = Field(False, description="This has no effect, as in nginx.")
    proxy_buffer: Size | None = Field(
        None,
        description="The buffer of a relay in each direction. Default: one memory page, which grows to "
        "256k while the relay is busy.",
    )
    proxy_timeout: Timeout = Field(
        86400.0, description="geomail closes a session if neither side sends anything for this time."
    )
    proxy_pass_error_message: Flag = Field(
        False, description="on: if the backend refuses a login, the client gets the backend's own words."
    )
    xclient: Xclient = Field(
        "on",
        description="XCLIENT, which names the client to SMTP backends: on, off, or auto (if the backend "
        "offers it). Choose auto together with proxy_protocol. Mail without a login needs "
        "XCLIENT or a PROXY header: see SECURITY CONSIDERATIONS.",
    )
    proxy_smtp_auth: Flag = Field(
        False, description="on: geomail logs in to SMTP backends with the user's password."
    )
    proxy_protocol: ProxyProtocol = Field(
        "off",
        description="The PROXY header that geomail sends to backends: off, on (version 1) or v2 (version 2).",
    )
    pass_session_id: Flag = Field(
        False,
        description="on: geomail sends the session's id, which is in the log, to SMTP backends (XCLIENT "
        "SESSION, if they offer it), to IMAP backends (ID, if they offer it) and to the auth "
        "service (Auth-Session).",
    )
