"""How geomail comes to a real backend: with a PROXY header, under TLS, or without any login."""

import imaplib
import poplib
import smtplib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.proxy import CLIENT, CLIENT_NAME, PROTOCOLS, TIMEOUT, Protocol, Servers
from tests.servers.accounts import ALICE
from tests.servers.auth_http import AuthService, listening
from tests.servers.geomail import Geomail
from tests.servers.mail import message, queued
from tests.servers.support import LOOPBACK, free_port

Start = Callable[[str], Geomail]


def passthrough(
    servers: Servers, protocol: Protocol, backend: dict[str, Any], **server: Any
) -> tuple[str, int]:
    """A configuration with one server and one backend, and the server's port."""
    port = free_port()
    table = {"protocol": protocol, "listen": f"{LOOPBACK}:{port}", "auth": "passthrough"} | server
    text = servers.configuration(
        [table], auth={"passthrough": {"default": "real"}}, backends={"real": backend}
    )
    return text, port


def log_in(protocol: Protocol, port: int) -> str:
    """Log Alice in, and give the first word of what she hears, or what she is refused with."""
    match protocol:
        case "smtp":
            with smtplib.SMTP(LOOPBACK, port, timeout=TIMEOUT, source_address=(CLIENT, 0)) as smtp:
                try:
                    return str(smtp.login(ALICE.address, ALICE.password)[0])
                except smtplib.SMTPException as error:
                    return str(error)
        case "imap":
            imap = imaplib.IMAP4(LOOPBACK, port, TIMEOUT)
            try:
                return imap.login(ALICE.address, ALICE.password)[0]
            except imaplib.IMAP4.error as error:
                return str(error)
            finally:
                imap.shutdown()
        case "pop3":
            pop3 = poplib.POP3(LOOPBACK, port, TIMEOUT)
            try:
                pop3.user(ALICE.address)
                return pop3.pass_(ALICE.password)[:3].decode()
            except poplib.error_proto as error:
                return str(error)
            finally:
                pop3.close()


WELCOME: dict[Protocol, str] = {"smtp": "235", "imap": "OK", "pop3": "+OK"}
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.mark.parametrize("version", ["on", "v2"])
@every_protocol
def test_a_proxy_header_tells_the_backend_who_the_client_is(
    servers: Servers, geomail_server: Start, protocol: Protocol, version: str
) -> None:
    postfix, dovecot = servers.postfix, servers.dovecot
    behind = {"smtp": postfix.haproxy, "imap": dovecot.imap_haproxy, "pop3": dovecot.pop3_haproxy}[protocol]
    text, port = passthrough(
        *(servers, protocol, {"address": f"{LOOPBACK}:{behind}"}), proxy_protocol=version, xclient="off"
    )
    geomail_server(text)
    before = {"smtp": postfix.log.end}.get(protocol, dovecot.log.end)

    assert log_in(protocol, port) == WELCOME[protocol]

    if protocol == "smtp":
        postfix.log.wait_for(rf"connect from unknown\[{CLIENT}\]", after=before)
    else:
        dovecot.log.wait_for(rf"{protocol}-login: .*user=<{ALICE.address}>.*rip=127\.0\.0\.1", after=before)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@every_protocol
def test_a_backend_is_reached_under_tls(
    servers: Servers, geomail_server: Start, protocol: Protocol, tls: str
) -> None:
    text, port = passthrough(servers, protocol, secured(servers, protocol, tls))
    geomail_server(text)

    assert log_in(protocol, port) == WELCOME[protocol]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"tls_name": "elsewhere.test"}, "elsewhere.test"),
        ({"tls_ca": "untrusted"}, "certificate was not accepted"),
    ],
    ids=["name", "authority"],
)
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@every_protocol
def test_a_backend_with_a_wrong_certificate_never_sees_the_password(
    servers: Servers,
    geomail_server: Start,
    protocol: Protocol,
    tls: str,
    wrong: dict[str, str],
    complaint: str,
) -> None:
    if "tls_ca" in wrong:
        wrong = {"tls_ca": str(servers.certificates.untrusted.certificate)}
    text, port = passthrough(servers, protocol, secured(servers, protocol, tls) | wrong)
    geomail = geomail_server(text)
    before = servers.dovecot.log.end

    assert log_in(protocol, port) != WELCOME[protocol]

    geomail.log.wait_for(complaint)
    assert ALICE.address not in servers.dovecot.log.text[before:]


def secured(servers: Servers, protocol: Protocol, tls: str) -> dict[str, Any]:
    """A backend's table, for the port that speaks TLS in this way."""
    postfix, dovecot = servers.postfix, servers.dovecot
    implicit = {"smtp": postfix.smtps, "imap": dovecot.imaps, "pop3": dovecot.pop3s}
    port = implicit[protocol] if tls == "implicit" else servers.ports[protocol]
    return {"address": f"{LOOPBACK}:{port}", "tls": tls, "tls_ca": str(servers.certificates.ca.certificate)}


def test_without_a_login_the_recipient_decides(servers: Servers, geomail_server: Start) -> None:
    backend = {"address": f"{LOOPBACK}:{servers.postfix.smtp}"}
    text, port = passthrough(servers, "smtp", backend, smtp_auth="none")
    geomail_server(text)

    with smtplib.SMTP(LOOPBACK, port, "client.test", timeout=TIMEOUT, source_address=(CLIENT, 0)) as client:
        client.ehlo()
        assert client.mail("nobody@elsewhere.test")[0] == 250
        code, words = client.rcpt("nobody@elsewhere.test")
        assert (code, words.split()[0]) == (554, b"5.7.1")
        client.rset()
        identity = queued(client, ALICE.address, message(ALICE))

    servers.postfix.wait_until_delivered(identity)
    servers.postfix.log.wait_for(rf"{identity}: client={CLIENT_NAME}\[{CLIENT}\]")


@pytest.mark.parametrize("way", ["unix", "https"])
def test_the_auth_service_is_asked_by_other_ways_than_tcp(
    servers: Servers, geomail_server: Start, tmp_path: Path, way: str
) -> None:
    auth = AuthService()
    auth.admit(ALICE, servers.ports)
    path = tmp_path / "auth" if way == "unix" else None
    tls = servers.certificates.server.server_context() if way == "https" else None
    with listening(auth, path, tls):
        url = f"http://unix:{path}:/auth" if way == "unix" else f"https://{LOOPBACK}:{auth.port}/auth"
        port = free_port()
        server = {
            "protocol": "imap",
            "listen": f"{LOOPBACK}:{port}",
            "auth_http": url,
            "auth_http_ca": str(servers.certificates.ca.certificate),
        }
        geomail_server(servers.configuration([server]))

        assert log_in("imap", port) == "OK"
    assert [request.line for request in auth.requests] == ["GET /auth HTTP/1.1"]
