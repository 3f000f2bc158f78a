"""What no single option can tell: contradictions, and what is legal but unwise."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

from geomail.config.address import Address, canonical, is_literal, is_public, wildcard_of
from geomail.config.lines import KeyPath
from geomail.config.listen import Listen
from geomail.config.messages import no_such_backend
from geomail.config.schema import Backend, Config, Passthrough, Server, Users
from geomail.config.source import Source
from geomail.config.units import quoted, shown
from geomail.config.values import ProtocolName
from geomail.errors import Problem

_IMPLICIT_TLS_PORTS = (993, 995, 465)
_WORD_LISTS = (
    "smtp_auth",
    "imap_auth",
    "pop3_auth",
    "smtp_capabilities",
    "imap_capabilities",
    "pop3_capabilities",
    "ssl_protocols",
)
#: Methods that give no password, or none that could be verified or shown to a backend.
_WITHOUT_PASSWORD = ("cram-md5", "apop", "external")


@dataclass(frozen=True)
class Subject:
    """A server under examination."""

    server: Server
    index: int
    source: Source
    config: Config

    def error(self, key: str, text: str) -> Problem:
        """An error in an option, or in the server as such if the option stands nowhere."""
        return self.source.problem(self._place(key), text)

    def warning(self, key: str, text: str) -> Problem:
        """A warning; the place is found as for an error."""
        return self.source.problem(self._place(key), text, "warning")

    @property
    def methods(self) -> tuple[str, ...]:
        """The login methods of the server's own protocol."""
        methods: tuple[str, ...] = getattr(self.server, f"{self.server.protocol}_auth", ())
        return methods

    def is_sound(self, key: str) -> bool:
        """Whether the option's value can be relied upon, wherever it comes from."""
        own: KeyPath = ("mail", "server", self.index, key)
        return self.source.is_sound(own) and (self.source.has(own) or self.source.is_sound(("mail", key)))

    def _place(self, key: str) -> KeyPath:
        return self.source.origin(self.index, key) or ("mail", "server", self.index)


Check = Callable[[Subject], Iterator[Problem]]
_SERVER_CHECKS: list[tuple[Check, tuple[str, ...]]] = []


def reads(*keys: str) -> Callable[[Check], Check]:
    """Register a check of one server, by the options it reads: one that is broken silences it."""

    def register(function: Check) -> Check:
        _SERVER_CHECKS.append((function, keys))
        return function

    return register


def check(config: Config, source: Source) -> Iterator[Problem]:
    """Everything that is wrong or unwise beyond single values."""
    if not config.servers and source.is_sound(("mail", "server")):
        yield source.problem((), "no [[mail.server]] is defined: there is nothing to serve")
    for index, server in enumerate(config.servers):
        subject = Subject(server, index, source, config)
        for function, keys in _SERVER_CHECKS:
            if all(subject.is_sound(key) for key in keys):
                yield from function(subject)
    yield from _taken_addresses(config, source)
    yield from _repeated_words(config, source)
    yield from _metrics(config, source)
    yield from _routes(config, source)
    for name, backend in config.backends.items():
        yield from _backend(name, backend, source)


@reads("listen")
def _has_listen(subject: Subject) -> Iterator[Problem]:
    if not subject.server.listen:
        yield subject.error("listen", 'no listen is defined for this server; add one: listen = "0.0.0.0:587"')


@reads("listen", "protocol")
def _has_protocol(subject: Subject) -> Iterator[Problem]:
    if subject.server.listen and subject.server.protocol not in get_args(ProtocolName):
        yield subject.error(
            "protocol",
            'the protocol is unknown: no listen port tells it; add protocol = "smtp", "imap" or "pop3"',
        )


@reads("listen", "starttls", "ssl_certificate", "ssl_certificate_key")
def _has_certificates(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    secured = [listen.label for listen in server.listen if listen.ssl]
    if secured:
        cause = f'listen = "{secured[0]} ssl"'
    elif server.starttls != "off":
        cause = f'starttls = "{server.starttls}"'
    else:
        return
    certificates, keys = server.ssl_certificate, server.ssl_certificate_key
    if not certificates:
        yield subject.error("ssl_certificate", f"no ssl_certificate is defined, which {cause} needs")
    for certificate in certificates[len(keys) :]:
        yield subject.error(
            "ssl_certificate_key",
            f"no ssl_certificate_key is defined for the certificate {quoted(certificate)}",
        )
    if certificates and len(keys) > len(certificates):
        yield subject.error(
            "ssl_certificate_key", "more keys than certificates: each key belongs to one, in order"
        )


@reads("ssl_protocols")
def _has_current_tls(subject: Subject) -> Iterator[Problem]:
    names = subject.server.ssl_protocols
    gone = [name for name in names if name in ("SSLv2", "SSLv3")]
    old = [name for name in names if name in ("TLSv1", "TLSv1.1")]
    if len(gone) == len(names):
        yield subject.error("ssl_protocols", f"OpenSSL has no {' and no '.join(gone)} any more; add TLSv1.2")
    elif gone:
        yield subject.warning("ssl_protocols", f"{' and '.join(gone)}: no effect, OpenSSL has it no more")
    if old:
        yield subject.warning(
            "ssl_protocols", f"{' and '.join(old)} can be broken by attackers; TLSv1.2 is the least"
        )


@reads("listen", "starttls", "ssl_verify_client", "ssl_client_certificate", "ssl_trusted_certificate")
def _can_verify_clients(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    with_ca = server.ssl_client_certificate or server.ssl_trusted_certificate
    if server.has_tls and server.ssl_verify_client in ("on", "optional") and not with_ca:
        yield subject.error(
            "ssl_verify_client",
            f'ssl_verify_client = "{server.ssl_verify_client}" needs ssl_client_certificate or '
            "ssl_trusted_certificate: no CA is known that clients' certificates could be of",
        )


@reads("ssl_certificate_compression", "proxy")
def _has_no_idle_options(subject: Subject) -> Iterator[Problem]:
    """Options that nginx has, and that do nothing: there neither, or only with another OpenSSL."""
    for key in ("ssl_certificate_compression", "proxy"):
        if getattr(subject.server, key):
            yield subject.warning(key, "has no effect")


@reads("set_real_ip_from")
def _trusts_whole_networks(subject: Subject) -> Iterator[Problem]:
    for sender in subject.server.set_real_ip_from:
        if "/" in sender and ipaddress.ip_network(sender, strict=False).with_prefixlen != sender.lower():
            network = ipaddress.ip_network(sender, strict=False)
            yield subject.warning(
                "set_real_ip_from", f"low address bits of {sender} are meaningless; it is {network}"
            )


@reads("auth", "auth_http")
def _names_who_is_asked(subject: Subject) -> Iterator[Problem]:
    source = subject.source.origin(subject.index, "auth")
    url = subject.source.origin(subject.index, "auth_http")
    asked = subject.server.auth
    if asked != "http":
        if source and url and source[:-1] == url[:-1]:
            yield subject.error(
                "auth", f'auth = "{asked}" and auth_http contradict each other: only one can be asked'
            )
    elif url is None and source is not None:
        yield subject.error("auth", 'auth = "http" needs the URL of the auth service: auth_http = "http://…"')
    elif url is None:
        text = 'nobody is asked about logins: add auth_http = "http://…", or auth = "passthrough" or "users"'
        yield subject.error("auth", text)


@reads("auth", "auth_http", "smtp_auth", "imap_auth", "pop3_auth", "protocol", "listen")
def _methods_can_be_judged(subject: Subject) -> Iterator[Problem]:
    asked, key = subject.server.auth, f"{subject.server.protocol}_auth"
    stuck = ", ".join(method for method in subject.methods if method in _WITHOUT_PASSWORD)
    if asked != "http" and stuck:
        use = "a backend could be shown" if asked == "passthrough" else "a hash could verify"
        yield subject.error(
            key,
            f"{stuck}: needs an auth service, as it gives no password that {use}; "
            f'it cannot go with auth = "{asked}"',
        )
    if asked == "users" and "none" in subject.methods:
        text = 'who does not log in is no user; it cannot go with auth = "users", but with "passthrough"'
        yield subject.error(key, f"none: {text}")


@reads("auth", "auth_http", "smtp_auth", "protocol", "listen")
def _has_routes(subject: Subject) -> Iterator[Problem]:
    if subject.server.auth != "passthrough" or not subject.source.is_sound(("auth", "passthrough")):
        return
    if any(path[:2] == ("auth", "passthrough") for path in subject.source.broken):
        return
    routes = subject.config.passthrough
    if not (routes.default or routes.domains or routes.users):
        yield subject.error(
            "auth", 'auth = "passthrough" needs a route: default, domains or users in [auth.passthrough]'
        )
    elif "none" in subject.methods and not (routes.default or routes.domains):
        yield subject.warning(
            "smtp_auth", "none is routed by the recipient's domain, but there are only routes by user"
        )


@reads("auth", "auth_http")
def _has_users(subject: Subject) -> Iterator[Problem]:
    base: KeyPath = ("auth", "users")
    if subject.server.auth != "users" or any(path[:2] == base for path in subject.source.broken):
        return
    if subject.config.users.file is None and subject.source.is_sound(base):
        yield subject.error("auth", 'auth = "users" needs a file of users: file = "…" in [auth.users]')


@reads("listen", "starttls", "smtp_auth", "protocol")
def _protects_passwords(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    if server.starttls == "only" or ("none" in subject.methods and server.starttls == "on"):
        return
    open_to_all = [
        listen.label
        for given in server.listen
        for listen in given.each()
        if _is_public_listen(listen) and not listen.ssl and listen.port not in _IMPLICIT_TLS_PORTS
    ]
    if open_to_all:
        yield subject.warning(
            "starttls" if subject.source.origin(subject.index, "starttls") else "listen",
            f"clients may log in without TLS on {', '.join(open_to_all)}, passwords in clear; "
            'starttls = "only" forbids it',
        )


@reads("listen")
def _has_sensible_ports(subject: Subject) -> Iterator[Problem]:
    for listen in (single for given in subject.server.listen for single in given.each()):
        if listen.port in _IMPLICIT_TLS_PORTS and not listen.ssl:
            yield subject.warning(
                "listen",
                f"{listen.label} has no TLS, though clients expect it there: the port does not switch it on; "
                f'write "{listen.label} ssl"',
            )
        if not listen.path and listen.port == 0:
            yield subject.warning(
                "listen", f"{listen.label}: the system picks a different port at each start"
            )


@reads("listen", "smtp_auth", "protocol", "xclient", "proxy_protocol")
def _tells_who_relays(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    hidden = server.xclient == "off" and server.proxy_protocol == "off"
    if "none" in subject.methods and hidden and any(_is_public_listen(listen) for listen in server.listen):
        yield subject.warning(
            "smtp_auth",
            "none without xclient or proxy_protocol: the backend takes every sender for geomail itself; "
            "if it relays for that address, anyone can send through it",
        )


@reads("max_errors")
def _allows_errors(subject: Subject) -> Iterator[Problem]:
    if subject.server.max_errors == 0:
        yield subject.warning(
            "max_errors", "0 is no absence of a limit: the first error closes the session, as with 1"
        )


@reads("auth", "auth_http", "auth_http_ca")
def _asks_in_private(subject: Subject) -> Iterator[Problem]:
    service = subject.server.auth_http
    if service is None or service.scheme == "https":
        return
    if subject.server.auth_http_ca is not None:
        yield subject.warning("auth_http_ca", "has no effect: auth_http is no https URL")
    if is_literal(service.host) and is_public(service.host):
        yield subject.warning(
            "auth_http", f"passwords go to {service.host} in clear; use https, or a private address"
        )


def _is_public_listen(listen: Listen) -> bool:
    return not listen.path and is_public(listen.host)


def _taken_addresses(config: Config, source: Source) -> Iterator[Problem]:
    """The same address and port twice, on one server or on two; and what a wildcard makes meaningless."""
    listens = list(_single_listens(config))
    first = {canonical(listen): (path, listen) for path, listen in reversed(listens)}
    for path, listen in listens:
        there, _ = first[canonical(listen)]
        if there != path:
            text = f"{listen.label} is given twice; the first is in line {source.line(there)}"
            yield source.problem(path, text)
            continue
        there, both = first.get(canonical(Address("::", listen.port)), (path, listen))
        if listen.host == "0.0.0.0" and not both.ipv6only:
            text = f"is taken: {both.label} in line {source.line(there)} is on all IPv4 addresses too"
            yield source.problem(path, f"{listen.label} {text}")
        there, _ = first.get(canonical(Address(wildcard_of(listen.host), listen.port)), (path, listen))
        if there != path and listen.tuned:
            text = f"its clients come in by {wildcard_of(listen.host)}, in line {source.line(there)}"
            yield source.problem(
                path, f"{', '.join(listen.tuned)} of {listen.label}: no effect, {text}", "warning"
            )


def _single_listens(config: Config) -> Iterator[tuple[KeyPath, Listen]]:
    for index, server in enumerate(config.servers):
        for position, listen in enumerate(server.listen):
            for single in listen.each():
                if single.path or single.port:
                    yield ("mail", "server", index, "listen", position), single


def _repeated_words(config: Config, source: Source) -> Iterator[Problem]:
    """Words that stand twice in one list."""
    tables: list[KeyPath] = [("mail",), *(("mail", "server", index) for index in range(len(config.servers)))]
    for path in ((*table, key) for table in tables for key in _WORD_LISTS):
        if source.is_sound(path) and source.has(path):
            value = source.value(path)
            words = [word.lower() for word in (value.split() if isinstance(value, str) else value)]
            for word in sorted({word for word in words if words.count(word) > 1}):
                yield source.problem(path, f"{shown(word)} is given twice; once is enough", "warning")


def _metrics(config: Config, source: Source) -> Iterator[Problem]:
    listen = config.metrics.listen
    if listen is not None and not listen.path and is_public(listen.host):
        text = f"{listen.label} is reached from outside: whoever can, reads how busy which servers are"
        yield source.problem(("metrics", "listen"), text, "warning")


def _routes(config: Config, source: Source) -> Iterator[Problem]:
    """Routes to backends that do not exist, and routes that nobody takes."""
    backends = source.content.get("backends", {})
    auth_is_sound = not any(path[-1] == "auth" for path in source.broken)
    for kind, routes in (("passthrough", config.passthrough), ("users", config.users)):
        taken = list(_routes_of(("auth", kind), routes))
        for path, name in taken:
            if isinstance(backends, dict) and name not in backends:
                yield source.problem(path, no_such_backend(name, backends))
            elif name in config.backends:
                yield from _unspoken(path, config.backends[name], config, kind, source)
        given = taken or (kind == "users" and config.users.file)
        if given and auth_is_sound and all(server.auth != kind for server in config.servers):
            yield source.problem(("auth", kind), f'has no effect: no server has auth = "{kind}"', "warning")


def _unspoken(
    path: KeyPath, backend: Backend, config: Config, asked: str, source: Source
) -> Iterator[Problem]:
    """Protocols that users can log in with here, but not at the backend they are led to."""
    asking = {server.protocol for server in config.servers if server.auth == asked}
    spoken = [protocol for protocol in get_args(ProtocolName) if protocol in asking]
    missing = [protocol for protocol in spoken if backend.addresses() and not backend.address_for(protocol)]
    if missing:
        text = f"[backends.{backend.name}] has no address for {', '.join(missing)}: refused there"
        yield source.problem(path, text, "warning")


def _routes_of(base: KeyPath, routes: Passthrough | Users) -> Iterator[tuple[KeyPath, str]]:
    """Every backend that a table names, and where."""
    if routes.default:
        yield (*base, "default"), routes.default
    for domain, name in routes.domains.items():
        yield (*base, "domains", domain), name
    if isinstance(routes, Passthrough):
        for user, name in routes.users.items():
            yield (*base, "users", user), name


def _backend(name: str, backend: Backend, source: Source) -> Iterator[Problem]:
    base: KeyPath = ("backends", name)
    if any(path[:2] == base for path in source.broken):
        return
    yield from _backend_tls_keys(base, backend, source)
    if backend.tls != "off" and not backend.tls_verify:
        yield source.problem(
            (*base, "tls_verify"),
            "its certificate is not verified: anyone in between can read passwords",
            "warning",
        )
    if not backend.addresses():
        yield source.problem(base, 'it has no address: add address = "host:port", or smtp, imap, pop3')
    for key, address in backend.addresses().items():
        yield from _backend_address((*base, key), address, backend, source)


def _backend_address(path: KeyPath, address: Address, backend: Backend, source: Source) -> Iterator[Problem]:
    if address.port in _IMPLICIT_TLS_PORTS and backend.tls != "implicit":
        text = f'port {address.port} is spoken with TLS from the start; here tls is "{backend.tls}"'
        yield source.problem(path, f'{text}, not "implicit"', "warning")
    elif backend.tls == "off" and is_literal(address.host) and is_public(address.host):
        yield source.problem(path, f"passwords go to {address.host} in clear; see tls", "warning")


def _backend_tls_keys(base: KeyPath, backend: Backend, source: Source) -> Iterator[Problem]:
    """Keys about TLS that do not fit together."""
    if backend.tls == "off":
        for key in ("tls_ca", "tls_name", "tls_verify", "tls_certificate", "tls_certificate_key"):
            if source.has((*base, key)):
                yield source.problem((*base, key), "has no effect: tls is off", "warning")
    elif backend.tls_certificate_key and not backend.tls_certificate:
        yield source.problem((*base, "tls_certificate_key"), "a key without tls_certificate")
    elif backend.tls_verify and not backend.tls_name and any(a.path for a in backend.addresses().values()):
        yield source.problem(
            base, "a unix socket has no name that a certificate could be verified by; add tls_name"
        )
