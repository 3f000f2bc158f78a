"""How geomail comes to a real backend: with a PROXY header, under TLS, or without any login."""

import imaplib
import poplib
import re
import smtplib
import socket
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.proxy import CLIENT, CLIENT_NAME, TIMEOUT, Protocol, Servers
from tests.servers.accounts import ALICE
from tests.servers.auth_http import AuthService, listening
from tests.servers.geomail import Geomail
from tests.servers.mail import message, queued
from tests.servers.support import LOOPBACK, free_port

Start = Callable[[str], Geomail]


def passthrough(
    servers: Servers, behind: dict[Protocol, int], backend: dict[str, Any], **server: Any
) -> tuple[str, dict[Protocol, int]]:
    """A configuration with a server for each protocol that has a port behind it; the servers' ports."""
    ports = {protocol: free_port() for protocol in behind}
    tables = [
        {"protocol": protocol, "listen": f"{LOOPBACK}:{port}", "auth": "passthrough"} | server
        for protocol, port in ports.items()
    ]
    backend = backend | {protocol: f"{LOOPBACK}:{port}" for protocol, port in behind.items()}
    text = servers.configuration(
        tables, auth={"passthrough": {"default": "real"}}, backends={"real": backend}
    )
    return text, ports


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


@pytest.mark.parametrize("version", ["on", "v2"])
def test_a_proxy_header_tells_the_backend_who_the_client_is(
    servers: Servers, geomail_server: Start, version: str
) -> None:
    postfix, dovecot = servers.postfix, servers.dovecot
    behind: dict[Protocol, int] = {
        "smtp": postfix.haproxy,
        "imap": dovecot.imap_haproxy,
        "pop3": dovecot.pop3_haproxy,
    }
    text, ports = passthrough(servers, behind, {}, proxy_protocol=version, xclient="off")
    geomail_server(text)
    sent, fetched = postfix.log.end, dovecot.log.end

    assert {protocol: log_in(protocol, port) for protocol, port in ports.items()} == WELCOME

    postfix.log.wait_for(rf"connect from unknown\[{CLIENT}\]", after=sent)
    for protocol in ("imap", "pop3"):
        dovecot.log.wait_for(rf"{protocol}-login: .*user=<{ALICE.address}>.*rip=127\.0\.0\.1", after=fetched)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_backend_is_reached_under_tls(servers: Servers, geomail_server: Start, tls: str) -> None:
    text, ports = passthrough(servers, behind(servers, tls), secured(servers, tls))
    geomail_server(text)

    assert {protocol: log_in(protocol, port) for protocol, port in ports.items()} == WELCOME


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"tls_name": "elsewhere.test"}, "elsewhere.test"),
        ({"tls_ca": "untrusted"}, "certificate was not accepted"),
    ],
    ids=["name", "authority"],
)
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_backend_with_a_wrong_certificate_never_sees_the_password(
    servers: Servers, geomail_server: Start, tls: str, wrong: dict[str, str], complaint: str
) -> None:
    if "tls_ca" in wrong:
        wrong = {"tls_ca": str(servers.certificates.untrusted.certificate)}
    text, ports = passthrough(servers, behind(servers, tls), secured(servers, tls) | wrong)
    geomail = geomail_server(text)
    before = servers.dovecot.log.end

    for protocol, port in ports.items():
        assert log_in(protocol, port) != WELCOME[protocol]
        geomail.log.wait_for(f" {protocol} session tls_failed .*{complaint}")

    assert ALICE.address not in servers.dovecot.log.text[before:]


def behind(servers: Servers, tls: str) -> dict[Protocol, int]:
    """The ports of the backends that speak TLS in this way."""
    postfix, dovecot = servers.postfix, servers.dovecot
    implicit: dict[Protocol, int] = {"smtp": postfix.smtps, "imap": dovecot.imaps, "pop3": dovecot.pop3s}
    return implicit if tls == "implicit" else servers.ports


def secured(servers: Servers, tls: str) -> dict[str, Any]:
    """The rest of a backend's table."""
    return {"tls": tls, "tls_ca": str(servers.certificates.ca.certificate)}


def test_without_a_login_the_recipient_decides(servers: Servers, geomail_server: Start) -> None:
    text, ports = passthrough(servers, {"smtp": servers.postfix.smtp}, {}, smtp_auth="none")
    geomail_server(text)
    port = ports["smtp"]

    with smtplib.SMTP(LOOPBACK, port, "client.test", timeout=TIMEOUT, source_address=(CLIENT, 0)) as client:
        client.ehlo()
        assert client.mail("nobody@elsewhere.test")[0] == 250
        code, words = client.rcpt("nobody@elsewhere.test")
        assert (code, words.split()[0]) == (554, b"5.7.1")
        client.rset()
        identity = queued(client, ALICE.address, message(ALICE))

    servers.postfix.wait_until_delivered(identity)
    servers.postfix.log.wait_for(rf"{identity}: client={CLIENT_NAME}\[{CLIENT}\]")


def test_nobody_relays_by_what_a_backend_permits_geomail(
    servers: Servers, geomail_server: Start, tmp_path: Path
) -> None:
    """Each backend relays for 127.0.0.1, which is geomail; the recipient's domain says which is meant."""
    postfix, port, path = servers.postfix, free_port(), tmp_path / "mx"
    behind = ("lenient", "lenient_xclient", "lenient_haproxy")
    backends = {name: {"address": f"{LOOPBACK}:{getattr(postfix, name)}"} for name in behind}
    domains = {f"{name.replace('_', '-')}.test": name for name in behind}
    plain = {"protocol": "smtp", "auth": "passthrough", "smtp_auth": "none", "xclient": "auto"}
    server = plain | {"listen": [f"{LOOPBACK}:{port}", f"unix:{path}"]}
    headed = plain | {"listen": f"{LOOPBACK}:{free_port()}", "proxy_protocol": "on"}
    geomail = geomail_server(
        servers.configuration([server, headed], auth={"passthrough": {"domains": domains}}, backends=backends)
    )

    told = f"{CLIENT_NAME}[{CLIENT}]"
    assert relayed("lenient", port=port) == b"451 4.3.0 Temporary failure, please try again later"
    assert relayed("lenient-xclient", port=port).startswith(b"554 5.7.1 <x@lenient-xclient.test>: Relay")
    assert relayed("lenient-xclient", path=path).startswith(b"554 5.7.1")
    assert relayed("lenient-haproxy", port=int(headed["listen"].rpartition(":")[2])).startswith(b"554 5.7.1")
    geomail.log.wait_for(r" error .*backend_refused.*smtpd_authorized_xclient_hosts.*proxy_protocol")
    postfix.log.wait_for(rf"reject: RCPT from {re.escape(told)}.*lenient-xclient")


def relayed(backend: str, *, port: int = 0, path: Path | None = None) -> bytes:
    """The answer to a recipient in a foreign domain, for a client that does not log in."""
    if path is None:
        connection = socket.create_connection((LOOPBACK, port), TIMEOUT, (CLIENT, 0))
    else:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT)
        connection.connect(str(path))
    with connection, connection.makefile("rb") as stream:
        connection.sendall(f"EHLO me\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<x@{backend}.test>\r\n".encode())
        answers = (line.rstrip() for line in iter(stream.readline, b"") if line[3:4] == b" ")
        *_, last = islice(answers, len(("greeting", "EHLO", "MAIL", "RCPT")))
        return last


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
