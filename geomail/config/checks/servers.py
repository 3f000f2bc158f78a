"""Checks of one server, without its TLS."""

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

#: Methods that give geomail no password that it could verify, or send to a backend.
_WITHOUT_PASSWORD = ("cram-md5", "apop", "external")

CHECKS = Checks()


@CHECKS.register("listen")
def _check_listen(subject: Subject) -> Iterator[Problem]:
    if not subject.server.listen:
        yield subject.make_error(
            "listen", 'this server has no listen; add one, such as listen = "0.0.0.0:587"'
        )


@CHECKS.register("listen", "protocol")
def _check_protocol(subject: Subject) -> Iterator[Problem]:
    if subject.server.listen and subject.server.protocol not in FACTS:
        yield subject.make_error(
            "protocol",
            "geomail cannot tell the protocol from the ports of listen; add protocol = "
            + either_of(f'"{name}"' for name in FACTS),
        )


@CHECKS.register("ssl_certificate_compression", "proxy")
def _check_idle_options(subject: Subject) -> Iterator[Problem]:
    """Warn of nginx's options that have no effect in geomail, and in nginx none or only with some OpenSSL."""
    for key in ("ssl_certificate_compression", "proxy"):
        if getattr(subject.server, key):
            yield subject.make_warning(key, "has no effect; remove it")


@CHECKS.register("set_real_ip_from")
def _check_trusted_networks(subject: Subject) -> Iterator[Problem]:
    for sender in subject.server.set_real_ip_from:
        if "/" in sender and ipaddress.ip_network(sender, strict=False).with_prefixlen != sender.lower():
            network = ipaddress.ip_network(sender, strict=False)
            yield subject.make_warning(
                "set_real_ip_from", f"low address bits of {sender} are meaningless; write {network}"
            )


@CHECKS.register("auth", "auth_http")
def _check_auth_source(subject: Subject) -> Iterator[Problem]:
    source = subject.source.find_origin(subject.index, "auth")
    url = subject.source.find_origin(subject.index, "auth_http")
    asked = subject.server.auth
    if asked != "http":
        if source and url and source[:-1] == url[:-1]:
            yield subject.make_error(
                "auth",
                f'auth = "{asked}" and auth_http contradict each other, as only one can decide; remove one',
            )
    elif url is None and source is not None:
        yield subject.make_error(
            "auth", 'auth = "http" needs the URL of the auth service; add auth_http = "http://…"'
        )
    elif url is None:
        text = 'add auth_http = "http://…", or auth = "passthrough" or "users"'
        yield subject.make_error("auth", f"no auth source is configured for logins; {text}")


@CHECKS.register("auth", "auth_http", METHODS, "protocol", "listen")
def _check_methods(subject: Subject) -> Iterator[Problem]:
    asked, key = subject.server.auth, subject.methods_option
    stuck = ", ".join(method for method in subject.methods if method in _WITHOUT_PASSWORD)
    if asked != "http" and stuck:
        use = "send to a backend" if asked == "passthrough" else "verify by a hash"
        yield subject.make_error(
            key,
            f"{stuck}: needs an auth service, as it gives no password that geomail could {use}; "
            f'remove it, or replace auth = "{asked}"',
        )
    if asked == "users" and "none" in subject.methods:
        text = 'a client without a login is not a user of auth = "users"; remove it, or use "passthrough"'
        yield subject.make_error(key, f"none: {text}")


@CHECKS.register("auth", "auth_http", METHODS, "protocol", "listen")
def _check_routes(subject: Subject) -> Iterator[Problem]:
    if subject.server.auth != "passthrough" or not subject.source.is_sound(("auth", "passthrough")):
        return
    if any(path[:2] == ("auth", "passthrough") for path in subject.source.broken):
        return
    routes = subject.config.passthrough
    if not (routes.default or routes.domains or routes.users):
        yield subject.make_error(
            "auth", 'auth = "passthrough" needs a route; add default, domains or users to [auth.passthrough]'
        )
    elif "none" in subject.methods and not (routes.default or routes.domains):
        yield subject.make_warning(
            subject.methods_option,
            "none needs a route by the recipient's domain, but all routes are by user; "
            "add default or domains",
        )


@CHECKS.register("auth", "auth_http")
def _check_users(subject: Subject) -> Iterator[Problem]:
    base: KeyPath = ("auth", "users")
    if subject.server.auth != "users" or any(path[:2] == base for path in subject.source.broken):
        return
    if subject.config.users.file is None and subject.source.is_sound(base):
        yield subject.make_error("auth", 'auth = "users" needs a users file; add file = "…" to [auth.users]')


@CHECKS.register("listen", "starttls", METHODS, "protocol")
def _check_plain_logins(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    if server.starttls == "only" or ("none" in subject.methods and server.starttls == "on"):
        return
    if subject.methods == ("none",):  # clients send mail without a login, and geomail does not offer one
        return
    open_to_all = [
        listen.label
        for given in server.listen
        for listen in given.split_ports()
        if _is_public_listen(listen) and not listen.ssl and listen.port not in IMPLICIT_TLS_PORTS
    ]
    if open_to_all:
        yield subject.make_warning(
            "starttls" if subject.source.find_origin(subject.index, "starttls") else "listen",
            f"clients may log in without TLS on {', '.join(open_to_all)}, with passwords in clear text; "
            'starttls = "only" forbids it',
        )


@CHECKS.register("listen")
def _check_ports(subject: Subject) -> Iterator[Problem]:
    for listen in (single for given in subject.server.listen for single in given.split_ports()):
        if listen.port in IMPLICIT_TLS_PORTS and not listen.ssl:
            yield subject.make_warning(
                "listen",
                f"{listen.label} has no TLS, but clients expect it there; the port does not switch it on: "
                f'write "{listen.label} ssl"',
            )
        if not listen.path and listen.port == 0:
            yield subject.make_warning(
                "listen",
                f"{listen.label}: the system chooses another port at each start; write a port",
            )


@CHECKS.register(METHODS, "protocol", "listen", "xclient", "proxy_protocol")
def _check_relaying(subject: Subject) -> Iterator[Problem]:
    server = subject.server
    if "none" in subject.methods and server.xclient == "off" and server.proxy_protocol == "off":
        yield subject.make_warning(
            subject.methods_option,
            "none without xclient or proxy_protocol: to the backend, every sender looks like geomail itself; "
            "if the backend relays for geomail's address, anyone can send mail through it; "
            "set xclient or proxy_protocol",
        )


@CHECKS.register("listen", "protocol", "xclient", "proxy_protocol")
def _check_xclient(subject: Subject) -> Iterator[Problem]:
    """Warn of XCLIENT after a PROXY header: Postfix asks whether the header's address may send XCLIENT."""
    server = subject.server
    has_xclient = server.protocol in FACTS and server.facts.has_xclient
    if has_xclient and server.xclient == "on" and server.proxy_protocol != "off":
        yield subject.make_warning(
            "xclient" if subject.source.find_origin(subject.index, "xclient") else "proxy_protocol",
            f'xclient = "on" with proxy_protocol = "{server.proxy_protocol}": a backend that takes the '
            "client from the PROXY header may refuse XCLIENT, and so end each session (Postfix does, unless "
            "smtpd_authorized_xclient_hosts holds all clients); "
            'write xclient = "auto", which sends XCLIENT only if the backend offers it',
        )


@CHECKS.register("max_errors")
def _check_max_errors(subject: Subject) -> Iterator[Problem]:
    if subject.server.max_errors == 0:
        yield subject.make_warning(
            "max_errors",
            "0 does not mean no limit: the first error closes the session, as with 1; write a larger number",
        )


@CHECKS.register("auth", "auth_http", "auth_http_ca")
def _check_auth_service(subject: Subject) -> Iterator[Problem]:
    service = subject.server.auth_http
    if service is None or service.scheme == "https":
        return
    if subject.server.auth_http_ca is not None:
        yield subject.make_warning(
            "auth_http_ca", "has no effect, as auth_http is not an https URL; remove it, or use https"
        )
    if is_literal(service.host) and is_public(service.host):
        yield subject.make_warning(
            "auth_http", f"passwords go to {service.host} in clear text; use https, or a private address"
        )


def _is_public_listen(listen: Listen) -> bool:
    return not listen.path and is_public(listen.host)
