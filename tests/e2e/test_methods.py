"""Every way to log in that clients of today use ends in the mailbox, with auth_http in between."""

import base64
import re
import socket

import pytest

from tests.e2e.proxy import TIMEOUT, Proxy
from tests.servers.accounts import ALICE
from tests.servers.support import LOOPBACK


@pytest.mark.parametrize("initial_response", [True, False])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_smtp(proxy: Proxy, mechanism: str, initial_response: bool) -> None:
    with proxy.smtp("auth_http", "plain") as client:
        client.user, client.password = ALICE.address, ALICE.password
        authenticate = getattr(client, f"auth_{mechanism.lower().replace('-', '_')}")
        assert client.auth(mechanism, authenticate, initial_response_ok=initial_response)[0] == 235
        assert client.mail(ALICE.address)[0] == 250
        assert client.rcpt(ALICE.address)[0] == 250


def test_imap_plain_with_initial_response(proxy: Proxy) -> None:
    with proxy.imap("auth_http", "plain") as client:
        secret = base64.b64encode(f"\0{ALICE.address}\0{ALICE.password}".encode()).decode()
        client.send(f"a AUTHENTICATE PLAIN {secret}\r\n".encode())
        assert client.readline().startswith(b"a OK")


def test_imap_cram_md5(proxy: Proxy) -> None:
    with proxy.imap("auth_http", "plain") as client:
        assert client.login_cram_md5(ALICE.address, ALICE.password)[0] == "OK"
        assert client.select()[0] == "OK"


def test_pop3_apop(proxy: Proxy) -> None:
    with proxy.pop3("auth_http", "plain") as client:
        assert client.apop(ALICE.address, ALICE.password).startswith(b"+OK")
        assert client.stat() == (0, 0)


def test_what_is_pipelined_behind_the_login_reaches_the_backend(proxy: Proxy) -> None:
    port = proxy.port("auth_http", "imap", "plain")
    with socket.create_connection((LOOPBACK, port), TIMEOUT) as client, client.makefile("rb") as stream:
        client.sendall(
            f'a LOGIN {ALICE.address} "{ALICE.password}"\r\nb SELECT INBOX\r\nc LOGOUT\r\n'.encode()
        )
        said = stream.read()
    assert re.findall(rb"^(\w) OK", said, re.MULTILINE) == [b"a", b"b", b"c"]


def test_a_mechanism_that_is_not_offered_is_refused(proxy: Proxy) -> None:
    with proxy.smtp("passthrough", "plain") as client:
        assert client.docmd("AUTH", "CRAM-MD5")[0] == 504
