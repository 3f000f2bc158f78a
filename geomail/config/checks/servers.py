"""What contradicts itself or is unwise in one server, but for TLS."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from geomail.config.address import is_literal, is_public
from geomail.config.checks.subject import IMPLICIT_TLS_PORTS, METHODS, Checks, Subject
from geomail.config.lines import KeyPath
from geomail.config.listen import Listen
from geomail.config.units import either_of
from geomail.errors import Problem
from geomail.protocols.facts import FACTS

#: Methods that give no password, or none that could be verified or shown to a backend.
_WITHOUT_PASSWORD = ("cram-md5", "apop", "external")

CHECKS = Checks()


@CHECKS.reads("listen")
def _has_listen(subject: Subject) -> Iterator[Problem]:
    if not subject.server.listen:
        yield subject.error("listen", 'no listen is defined for this server; add one: listen = "0.0.0.0:587"')


@CHECKS.reads("listen", "protocol")
def _has_protocol(subject: Subject) -> Iterator[Problem]:
    if subject.server.listen and subject.server.protocol not in FACTS:
        yield subject.error(
            "protocol",
            "the protocol is unknown: no listen port tells it; add protocol = "
            + either_of(f'"{name}"' for name in FACTS),
        )


@CHECKS.reads("ssl_certificate_compression", "proxy")
def _has_no_idle_options(subject: Subject) -> Iterator[Problem]:
    """Options that nginx has, and that do nothing: there neither, or only with another OpenSSL."""
    for key in ("ssl_certificate_compression", "proxy"):
        if getattr(subject.server, key):
            yield subject.warning(key, "has no effect")


@CHECKS.reads("set_real_ip_from")
def _trusts_whole_networks(subject: Subject) -> Iterator[Problem]:
    for sender in subject.server.set_real_ip_from:
        if "/" in sender and ipaddress.ip_network(sender, strict=False).with_prefixlen != sender.lower():
            network = ipaddress.ip_network(sender, strict=False)
            yield subject.warning(
                "set_real_ip_from", f"low address bits of {sender} are meaningless; it is {network}"
            )


@CHECKS.reads("auth", "auth_http")
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


@CHECKS.reads("auth", "auth_http", METHODS, "protocol", "listen")
def _methods_can_be_judged(subject: Subject) -> Iterator[Problem]:
    asked, key = subject.server.auth, subject.methods_option
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


@CHECKS.reads("auth", "auth_http", METHODS, "protocol", "listen")
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
            subject.methods_option,
            "none is routed by the recipient's domain, but there are only routes by user",
        )


@CHECKS.reads("auth", "auth_http")
def _has_users(subject: Subject) -> Iterator[Problem]:
    base: KeyPath = ("auth", "users")
    if subject.server.auth != "users" or any(path[:2] == base for path in subject.source.broken):
        return
    if subject.config.users.file is None and subject.source.is_sound(base):
        yield subject.error("auth", 'auth = "users" needs a file of users: file = "…" in [auth.users]')


@CHECKS.reads("listen", "starttls", METHODS, "protocol")
def _protects_passwords(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    if server.starttls == "only" or ("none" in subject.methods and server.starttls == "on"):
        return
    if subject.methods == ("none",):  # mail from anybody: nobody is invited to log in
        return
    open_to_all = [
        listen.label
        for given in server.listen
        for listen in given.each()
        if _is_public_listen(listen) and not listen.ssl and listen.port not in IMPLICIT_TLS_PORTS
    ]
    if open_to_all:
        yield subject.warning(
            "starttls" if subject.source.origin(subject.index, "starttls") else "listen",
            f"clients may log in without TLS on {', '.join(open_to_all)}, passwords in clear; "
            'starttls = "only" forbids it',
        )


@CHECKS.reads("listen")
def _has_sensible_ports(subject: Subject) -> Iterator[Problem]:
    for listen in (single for given in subject.server.listen for single in given.each()):
        if listen.port in IMPLICIT_TLS_PORTS and not listen.ssl:
            yield subject.warning(
                "listen",
                f"{listen.label} has no TLS, though clients expect it there: the port does not switch it on; "
                f'write "{listen.label} ssl"',
            )
        if not listen.path and listen.port == 0:
            yield subject.warning(
                "listen", f"{listen.label}: the system picks a different port at each start"
            )


@CHECKS.reads(METHODS, "protocol", "listen", "xclient", "proxy_protocol")
def _tells_who_relays(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    if "none" in subject.methods and server.xclient == "off" and server.proxy_protocol == "off":
        yield subject.warning(
            subject.methods_option,
            "none without xclient or proxy_protocol: the backend takes every sender for geomail itself; "
            "if it relays for that address, anyone can send through it",
        )


@CHECKS.reads("listen", "protocol", "xclient", "proxy_protocol")
def _may_use_xclient(subject: Subject) -> Iterator[Problem]:
    """Postfix's smtpd_authorized_xclient_hosts is held against the address from the PROXY header."""
    server = subject.server
    has_xclient = server.protocol in FACTS and server.facts.has_xclient
    if has_xclient and server.xclient == "on" and server.proxy_protocol != "off":
        yield subject.warning(
            "xclient" if subject.source.origin(subject.index, "xclient") else "proxy_protocol",
            f'xclient = "on" with proxy_protocol = "{server.proxy_protocol}": a backend that takes the PROXY '
            "header for the client may refuse it XCLIENT, and so each session (Postfix does, unless "
            'smtpd_authorized_xclient_hosts holds all clients); xclient = "auto" sends what is offered',
        )


@CHECKS.reads("max_errors")
def _allows_errors(subject: Subject) -> Iterator[Problem]:
    if subject.server.max_errors == 0:
        yield subject.warning(
            "max_errors", "0 is no absence of a limit: the first error closes the session, as with 1"
        )


@CHECKS.reads("auth", "auth_http", "auth_http_ca")
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
