"""The facts of each protocol, as data: its name, ports, login methods, options and words.

Code outside ``protocols/`` asks these facts and never compares a protocol's
name. Behaviour is in the methods of :class:`geomail.protocols.base.Protocol`.
A new protocol is a folder with its dialogues, and an entry here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProtocolFacts:
    """The facts of one protocol.

    ``name`` is the value of the option ``protocol``, the key of a backend's
    address, and the word in logs, metrics and requests to the auth service.
    ``title`` is the name as people write it. ``implementation`` is the
    subclass of :class:`~geomail.protocols.base.Protocol`, as ``module:class``.
    """

    name: str
    title: str
    implementation: str

    #: Ports that clients use, without TLS from the start and with it.
    ports: tuple[int, ...]
    implicit_tls_ports: tuple[int, ...]
    #: The name in TLS (ALPN).
    alpn: str

    #: All login methods that the protocol has. ``none`` is a mail without a login.
    methods: tuple[str, ...]
    #: What a client says to close its session. A client of a protocol with tags puts a tag before it.
    goodbye: bytes
    #: The service that Dovecot's log names.
    dovecot_service: str
    #: The step of the handshake in which a backend refuses a user.
    login_step: str

    #: The options that choose among ``methods``, list capabilities and delay the greeting; empty: none.
    methods_option: str = ""
    capabilities_option: str = ""
    greeting_delay_option: str = ""

    #: Whether a client puts a tag before each command.
    has_tags: bool = False
    #: Whether a refused login has a reply code, which the auth service may choose (Auth-Error-Code).
    has_reply_codes: bool = False
    #: Whether geomail looks up the client's host name before the greeting, for auth service and backend.
    names_clients: bool = False
    #: Whether geomail always gives the backend a password; else only if it logs in there.
    gives_password: bool = True
    #: Whether the option ``xclient`` counts.
    has_xclient: bool = False
    #: The extensions of the backend that a preview imagines; empty: what a backend offers changes nothing.
    offers: tuple[str, ...] = ()


SMTP = ProtocolFacts(
    name="smtp",
    title="SMTP",
    implementation="geomail.protocols.smtp:SmtpProtocol",
    ports=(25, 587),
    implicit_tls_ports=(465,),
    alpn="smtp",
    methods=("plain", "login", "cram-md5", "external", "none"),
    goodbye=b"QUIT",
    dovecot_service="submission-login",
    login_step="AUTH",
    methods_option="smtp_auth",
    capabilities_option="smtp_capabilities",
    greeting_delay_option="smtp_greeting_delay",
    has_reply_codes=True,
    names_clients=True,
    gives_password=False,
    has_xclient=True,
    offers=("STARTTLS", "AUTH PLAIN LOGIN", "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"),
)
IMAP = ProtocolFacts(
    name="imap",
    title="IMAP",
    implementation="geomail.protocols.imap:ImapProtocol",
    ports=(143,),
    implicit_tls_ports=(993,),
    alpn="imap",
    methods=("plain", "login", "cram-md5", "external"),
    goodbye=b"LOGOUT",
    dovecot_service="imap-login",
    login_step="LOGIN",
    methods_option="imap_auth",
    capabilities_option="imap_capabilities",
    has_tags=True,
)
POP3 = ProtocolFacts(
    name="pop3",
    title="POP3",
    implementation="geomail.protocols.pop3:Pop3Protocol",
    ports=(110,),
    implicit_tls_ports=(995,),
    alpn="pop3",
    methods=("plain", "apop", "cram-md5", "external"),
    goodbye=b"QUIT",
    dovecot_service="pop3-login",
    login_step="PASS",
    methods_option="pop3_auth",
    capabilities_option="pop3_capabilities",
)

#: The facts of every protocol, by its name. The configuration's schema is made from it, at import.
FACTS: dict[str, ProtocolFacts] = {facts.name: facts for facts in (SMTP, IMAP, POP3)}
