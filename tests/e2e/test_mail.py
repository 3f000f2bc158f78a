"""Mail goes through geomail and arrives as it was, by the clients of Python's standard library."""

import hashlib
import imaplib
import poplib
import re
import smtplib
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.proxy import CLIENT, CLIENT_NAME, SECURITIES, SOURCES, Protocol, Proxy, Security, Source
from tests.servers.accounts import ALICE, BOB, DAVE, Account
from tests.servers.mail import delivered, fetched, message, queued, retrieved
from tests.together import together

MEGABYTE = 1 << 20

every_source = pytest.mark.parametrize("source", SOURCES)
every_security = pytest.mark.parametrize("security", SECURITIES)


def send(proxy: Proxy, source: Source, security: Security, account: Account, text: bytes) -> str:
    """Send somebody a message from themselves, and wait until it is delivered."""
    with proxy.smtp(source, security) as client:
        client.user, client.password = account.address, account.password
        client.auth("PLAIN", client.auth_plain)
        identity = queued(client, account.address, text)
    proxy.servers.postfix.wait_until_delivered(identity)
    return identity


@every_source
@every_security
@pytest.mark.parametrize("account", [ALICE, BOB], ids=["alice", "bob"])
def test_a_message_comes_back_byte_for_byte(
    proxy: Proxy, source: Source, security: Security, account: Account
) -> None:
    text = message(account)
    send(proxy, source, security, account, text)

    with proxy.imap(source, security) as imap:
        imap.login(account.address, account.password)
        imap.select()
        assert delivered(fetched(imap)) == text
    with proxy.pop3(source, security) as pop3:
        pop3.user(account.address)
        pop3.pass_(account.password)
        assert delivered(retrieved(pop3)) == text


@pytest.mark.long
@pytest.mark.parametrize(("source", "security"), [("passthrough", "plain"), ("auth_http", "implicit")])
def test_fifty_megabytes_pass_both_ways_unchanged(proxy: Proxy, source: Source, security: Security) -> None:
    text = message(ALICE, 50 * MEGABYTE)
    send(proxy, source, security, ALICE, text)
    wanted = hashlib.sha256(text).hexdigest()

    with proxy.imap(source, security) as imap:
        imap.login(ALICE.address, ALICE.password)
        imap.select()
        assert hashlib.sha256(delivered(fetched(imap))).hexdigest() == wanted
        assert imap.append("INBOX", "", "", text)[0] == "OK"
        assert hashlib.sha256(fetched(imap, 2)).hexdigest() == wanted
    with proxy.pop3(source, security) as pop3:
        pop3.user(ALICE.address)
        pop3.pass_(ALICE.password)
        assert hashlib.sha256(delivered(retrieved(pop3))).hexdigest() == wanted


@pytest.mark.parametrize(("source", "method"), [("auth_http", "XCLIENT"), ("passthrough", "PLAIN")])
def test_postfix_logs_the_client_that_xclient_carried(proxy: Proxy, source: Source, method: str) -> None:
    identity = send(proxy, source, "plain", ALICE, message(ALICE))

    found = proxy.servers.postfix.log.wait_for(rf"{identity}: client=(.*)")
    assert found[1] == f"{CLIENT_NAME}[{CLIENT}], sasl_method={method}, sasl_username={ALICE.address}"
    with proxy.imap(source, "plain") as imap:
        imap.login(ALICE.address, ALICE.password)
        imap.select()
        assert f"Received: from client.test ({CLIENT_NAME} [{CLIENT}])".encode() in fetched(imap)


def test_postfix_does_not_learn_a_name_that_does_not_resolve_back(proxy: Proxy) -> None:
    before = proxy.servers.postfix.log.end
    with proxy.smtp("auth_http", "plain", "127.0.0.3") as client:
        client.login(ALICE.address, ALICE.password)
        queued(client, ALICE.address, message(ALICE))
    proxy.servers.postfix.log.wait_for(r"client=unknown\[127\.0\.0\.3\], sasl_method=XCLIENT", after=before)


@every_source
def test_a_password_beyond_ascii_gets_in_by_a_mechanism(proxy: Proxy, source: Source) -> None:
    with proxy.imap(source, "plain") as imap:
        secret = f"\0{DAVE.address}\0{DAVE.password}".encode()
        assert imap.authenticate("PLAIN", lambda _: secret)[0] == "OK"
        assert imap.select()[0] == "OK"


def log_in_by_smtp(client: smtplib.SMTP, password: str) -> None:
    client.user, client.password = ALICE.address, password
    assert client.auth("PLAIN", client.auth_plain)[0] == 235


def log_in_by_imap(client: imaplib.IMAP4, password: str) -> None:
    assert client.login(ALICE.address, password)[0] == "OK"


def log_in_by_pop3(client: poplib.POP3, password: str) -> None:
    client.user(ALICE.address)
    assert client.pass_(password).startswith(b"+OK")


LOG_IN: dict[Protocol, Callable[[Any, str], None]] = {
    "smtp": log_in_by_smtp,
    "imap": log_in_by_imap,
    "pop3": log_in_by_pop3,
}


COMPLAINTS: list[tuple[Source, Protocol, str]] = [
    ("auth_http", "smtp", r"535, b'5\.7\.0 Invalid login or password'"),
    ("auth_http", "imap", r"^b'Invalid login or password'"),
    ("auth_http", "pop3", r"-ERR Invalid login or password"),
    ("passthrough", "smtp", r"535, b'5\.7\.8 "),
    ("passthrough", "imap", r"\[AUTHENTICATIONFAILED\]"),
    ("passthrough", "pop3", r"-ERR \[AUTH\]"),
]


@every_security
def test_a_wrong_password_is_refused_and_the_right_one_is_not(proxy: Proxy, security: Security) -> None:
    refused = (smtplib.SMTPAuthenticationError, imaplib.IMAP4.error, poplib.error_proto)

    def tries_twice(source: Source, protocol: Protocol, complaint: str) -> None:
        geomail = proxy.running[source, protocol]
        before = geomail.log.end
        with proxy.client(protocol, source, security) as client:
            with pytest.raises(refused, match=complaint):
                LOG_IN[protocol](client, "not alice's")
            LOG_IN[protocol](client, ALICE.password)
        said = geomail.log.wait_for(rf".* {protocol} .*{re.escape(ALICE.address)}.*", after=before)[0]
        assert "not alice's" not in geomail.log.text
        assert ALICE.password not in geomail.log.text
        assert "127.0.0." in said

    together(tries_twice, COMPLAINTS)
