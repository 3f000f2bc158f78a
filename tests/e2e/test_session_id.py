"""``pass_session_id``: one id in geomail's log, at the backend and at the auth service."""

import imaplib
import re
from collections.abc import Callable

import pytest

from tests.e2e.proxy import TIMEOUT, Servers
from tests.servers.accounts import ALICE
from tests.servers.auth_http import AuthService
from tests.servers.geomail import Geomail
from tests.servers.support import LOOPBACK, free_port


@pytest.mark.parametrize("tls", ["off", "starttls"])
def test_dovecot_and_the_auth_service_hear_the_id_that_is_in_the_log(
    tls: str, servers: Servers, auth_http: AuthService, geomail_server: Callable[[str], Geomail]
) -> None:
    auth_http.admit(ALICE, servers.ports)
    port, url = free_port(), f"http://{LOOPBACK}:{auth_http.port}/auth"
    server = {"protocol": "imap", "listen": f"{LOOPBACK}:{port}", "auth_http": url, "pass_session_id": True}
    backend = {"address": f"{LOOPBACK}:{servers.ports['imap']}", "tls": tls, "tls_verify": False}
    geomail = geomail_server(servers.configuration([server], backends={"real": backend}))
    start = servers.dovecot.log.end

    with imaplib.IMAP4(LOOPBACK, port, TIMEOUT) as client:
        client.login(ALICE.address, ALICE.password)
    line = geomail.log.wait_for(r"session done .*session=(\S+)")

    session = line[1]
    servers.dovecot.log.wait_for(rf"Login: user=<{ALICE.address}>.*session=<{session}>", after=start)
    assert dict(auth_http.requests[-1].headers)["Auth-Session"] == session


def test_by_default_nobody_is_told(
    servers: Servers, auth_http: AuthService, geomail_server: Callable[[str], Geomail]
) -> None:
    auth_http.admit(ALICE, servers.ports)
    port, url = free_port(), f"http://{LOOPBACK}:{auth_http.port}/auth"
    server = {"protocol": "imap", "listen": f"{LOOPBACK}:{port}", "auth_http": url}
    geomail = geomail_server(servers.configuration([server]))
    start = servers.dovecot.log.end

    with imaplib.IMAP4(LOOPBACK, port, TIMEOUT) as client:
        client.login(ALICE.address, ALICE.password)
    session = geomail.log.wait_for(r"session done .*session=(\S+)")[1]

    said = servers.dovecot.log.wait_for(rf"Login: user=<{re.escape(ALICE.address)}>.*session=<(\S+)>", start)
    assert said[1] != session
    assert "Auth-Session" not in dict(auth_http.requests[-1].headers)
