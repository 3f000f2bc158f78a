"""The servers of the other tests work as these tests expect, without geomail."""

import http.client
import imaplib
import poplib
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.servers import auth_http as service
from tests.servers.accounts import ACCOUNTS, ALICE, BOB, CAROL, Account
from tests.servers.certificates import Certificate, Certificates
from tests.servers.dovecot import Dovecot
from tests.servers.mail import delivered, fetched, message, queued, retrieved
from tests.servers.postfix import Postfix
from tests.servers.support import LOOPBACK

ASCII_ACCOUNTS = [account for account in ACCOUNTS if account.password.isascii()]


def smtp(port: int) -> smtplib.SMTP:
    client = smtplib.SMTP(LOOPBACK, port, "client.test", timeout=20)
    client.ehlo()
    return client


@pytest.mark.parametrize("account", ASCII_ACCOUNTS, ids=lambda account: account.address)
def test_postfix_asks_dovecot_and_delivers_to_its_mailboxes(
    postfix: Postfix, dovecot: Dovecot, account: Account
) -> None:
    text = message(account)
    with smtp(postfix.submission) as client:
        client.login(account.address, account.password)
        postfix.wait_until_delivered(queued(client, account.address, text))

    with imaplib.IMAP4(LOOPBACK, dovecot.imap, 20) as imap:
        imap.authenticate("PLAIN", lambda _: f"\0{account.address}\0{account.password}".encode())
        imap.select()
        assert delivered(fetched(imap)) == text

    pop = poplib.POP3(LOOPBACK, dovecot.pop3, 20)
    pop.user(account.address)
    pop.pass_(account.password)
    assert delivered(retrieved(pop)) == text
    pop.quit()


def test_postfix_refuses_a_wrong_password_and_clients_without_a_login(postfix: Postfix) -> None:
    with smtp(postfix.submission) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
            client.login(ALICE.address, "wrong")
        client.mail(BOB.address)
        assert client.rcpt(ALICE.address)[0] == 554


def test_xclient_changes_the_client_in_postfixs_log(postfix: Postfix, dovecot: Dovecot) -> None:
    del dovecot
    with smtp(postfix.submission) as client:
        assert client.docmd("XCLIENT", f"ADDR=192.0.2.7 NAME=far.test LOGIN={CAROL.address}")[0] == 220
        client.ehlo()
        identity = queued(client, ALICE.address, message(ALICE))

    found = postfix.log.wait_for(rf"{identity}: client=(.*)")
    assert found[1] == f"far.test[192.0.2.7], sasl_method=XCLIENT, sasl_username={CAROL.address}"


def test_postfix_refuses_xclient_on_the_strict_port(postfix: Postfix) -> None:
    with smtp(postfix.strict) as client:
        assert not client.has_extn("xclient")
        assert client.docmd("XCLIENT", "ADDR=192.0.2.7")[0] == 550


def test_postfix_takes_the_client_of_a_proxy_header(postfix: Postfix) -> None:
    before = postfix.log.end
    with socket.create_connection((LOOPBACK, postfix.haproxy), 20) as client:
        client.sendall(b"PROXY TCP4 192.0.2.8 192.0.2.9 1234 25\r\n")
        assert client.recv(512).startswith(b"220 ")
    postfix.log.wait_for(r"connect from unknown\[192\.0\.2\.8\]", after=before)


@pytest.mark.parametrize(("port", "protocol"), [("imap_haproxy", b"* OK"), ("pop3_haproxy", b"+OK")])
def test_dovecot_takes_the_client_of_a_proxy_header(dovecot: Dovecot, port: str, protocol: bytes) -> None:
    before = dovecot.log.end
    with socket.create_connection((LOOPBACK, getattr(dovecot, port)), 20) as client:
        client.sendall(b"PROXY TCP4 192.0.2.8 192.0.2.9 1234 143\r\n")
        assert client.recv(512).startswith(protocol)
    dovecot.log.wait_for(r"rip=192\.0\.2\.8", after=before)


def starttls_smtp(postfix: Postfix, _: Dovecot, tls: ssl.SSLContext) -> None:
    with smtp(postfix.smtp) as client:
        client.starttls(context=tls)
        assert client.ehlo()[0] == 250


def implicit_smtp(postfix: Postfix, _: Dovecot, tls: ssl.SSLContext) -> None:
    with smtplib.SMTP_SSL("localhost", postfix.smtps, "client.test", timeout=20, context=tls) as client:
        assert client.noop()[0] == 250


def starttls_imap(_: Postfix, dovecot: Dovecot, tls: ssl.SSLContext) -> None:
    with imaplib.IMAP4("localhost", dovecot.imap, 20) as client:
        assert client.starttls(tls)[0] == "OK"


def implicit_imap(_: Postfix, dovecot: Dovecot, tls: ssl.SSLContext) -> None:
    with imaplib.IMAP4_SSL("localhost", dovecot.imaps, ssl_context=tls, timeout=20) as client:
        assert client.noop()[0] == "OK"


def starttls_pop3(_: Postfix, dovecot: Dovecot, tls: ssl.SSLContext) -> None:
    client = poplib.POP3("localhost", dovecot.pop3, 20)
    assert client.stls(tls).startswith(b"+OK")
    client.quit()


def implicit_pop3(_: Postfix, dovecot: Dovecot, tls: ssl.SSLContext) -> None:
    client = poplib.POP3_SSL("localhost", dovecot.pop3s, timeout=20, context=tls)
    assert client.quit().startswith(b"+OK")


@pytest.mark.parametrize(
    "connects",
    [starttls_smtp, implicit_smtp, starttls_imap, implicit_imap, starttls_pop3, implicit_pop3],
)
def test_every_server_speaks_tls(
    postfix: Postfix,
    dovecot: Dovecot,
    certificates: Certificates,
    connects: Callable[[Postfix, Dovecot, ssl.SSLContext], None],
) -> None:
    connects(postfix, dovecot, certificates.client_context())


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("misnamed", "Hostname mismatch"),
        ("expired", "certificate has expired"),
        ("untrusted", "self-signed certificate"),
    ],
)
def test_bad_certificates_are_bad_in_the_way_their_name_says(
    certificates: Certificates, name: str, complaint: str
) -> None:
    bad: Certificate = getattr(certificates, name)
    with service.listening(auth := service.AuthService(), tls=bad.server_context()):
        connection = http.client.HTTPSConnection(
            "localhost", auth.port, timeout=20, context=certificates.client_context()
        )
        with closing(connection), pytest.raises(ssl.SSLCertVerificationError, match=complaint):
            connection.request("GET", "/")


def ask(connection: http.client.HTTPConnection, account: Account, password: str) -> http.client.HTTPMessage:
    connection.request(
        "GET",
        "/auth",
        headers={
            "Auth-Method": "plain",
            "Auth-User": quote(account.address),
            "Auth-Pass": quote(password),
            "Auth-Protocol": "imap",
        },
    )
    answer = connection.getresponse()
    answer.read()
    return answer.headers


@pytest.mark.parametrize(("ending", "connections"), [("kept", 1), ("close", 2), ("1.0", 2)])
def test_auth_http_checks_passwords_and_ends_connections_as_set(
    auth_http: service.AuthService, ending: service.Ending, connections: int
) -> None:
    auth_http.ending = ending
    auth_http.admit(BOB, {"imap": 143})
    with closing(http.client.HTTPConnection(LOOPBACK, auth_http.port, timeout=20)) as connection:
        assert ask(connection, BOB, BOB.password)["Auth-Port"] == "143"
        assert ask(connection, BOB, "wrong")["Auth-Status"] == "Invalid login or password"
    assert auth_http.connections == connections
    assert [request["Auth-Pass"] for request in auth_http.requests] == [BOB.password, "wrong"]


def test_auth_http_listens_on_a_unix_socket(tmp_path: Path) -> None:
    auth = service.AuthService()
    with service.listening(auth, tmp_path / "auth"), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "auth"))
        client.sendall(b"GET / HTTP/1.1\r\nAuth-User: nobody\r\n\r\n")
        assert b"Auth-Status: No such user" in client.recv(512)
    assert auth.requests[0].line == "GET / HTTP/1.1"
