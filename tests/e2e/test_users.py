"""``auth = "users"`` in front of real servers: geomail verifies, and they are told who it is."""

import imaplib
import poplib
import re
import smtplib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from geomail import hashes
from tests.console.support import eventually
from tests.e2e.proxy import CLIENT, PROTOCOLS, TIMEOUT, Protocol, Servers
from tests.servers.accounts import ALICE, BOB
from tests.servers.geomail import Geomail, serving
from tests.servers.support import LOOPBACK, free_port

Start = Callable[[str], Geomail]

#: What geomail itself verifies; Dovecot and Postfix know nothing of it.
OWN_PASSWORD = "geomail's own"
HASH = hashes.make_sha512_crypt(OWN_PASSWORD.encode())
ALICES = hashes.make_sha512_crypt(ALICE.password.encode())


def escaped(text: str) -> str:
    return text.replace("%", "%25").replace(" ", "%20")


#: Alice as she is; somebody whom the servers know as Bob; and one who may only send mail.
USERS = f"""\
{ALICE.address}:{ALICES}
frontman:{HASH}:user={BOB.address} password={escaped(BOB.password)}
sender:{HASH}:user={BOB.address} protocols=smtp
"""


@dataclass
class Running:
    """geomail with a users file."""

    geomail: Geomail
    users: Path
    ports: dict[Protocol, int]

    def log_in(self, protocol: Protocol, user: str, password: str) -> str:
        """The first words of what the client hears."""
        port = self.ports[protocol]
        try:
            match protocol:
                case "smtp":
                    with smtplib.SMTP(LOOPBACK, port, timeout=TIMEOUT, source_address=(CLIENT, 0)) as smtp:
                        return str(smtp.login(user, password)[0])
                case "imap":
                    with imaplib.IMAP4(LOOPBACK, port, TIMEOUT) as imap:
                        return imap.login(user, password)[0]
                case "pop3":
                    with closing(poplib.POP3(LOOPBACK, port, TIMEOUT)) as pop3:
                        pop3.user(user)
                        return pop3.pass_(password)[:3].decode()
        except smtplib.SMTPAuthenticationError as refusal:
            return f"{refusal.smtp_code} {refusal.smtp_error!r}"
        except (imaplib.IMAP4.error, poplib.error_proto) as refusal:
            return str(refusal)


@pytest.fixture(scope="module")
def lasting(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A geomail whose users file is left as it is."""
    with ExitStack() as opened:

        def begin(text: str) -> Geomail:
            return opened.enter_context(serving(text, tmp_path_factory.mktemp("geomail")))

        yield start(servers, begin, tmp_path_factory.mktemp("users"))


@pytest.fixture
def running(servers: Servers, geomail_server: Start, tmp_path: Path) -> Running:
    """A geomail whose users file a test may change."""
    return start(servers, geomail_server, tmp_path)


def start(servers: Servers, geomail_server: Start, folder: Path, **smtp: Any) -> Running:
    """geomail for three protocols, and one backend for all."""
    users = folder / "users"
    users.write_text(USERS)
    users.chmod(0o640)
    ports: dict[Protocol, int] = {protocol: free_port() for protocol in PROTOCOLS}
    tables = [
        {"protocol": protocol, "listen": f"{LOOPBACK}:{port}", "auth": "users"}
        for protocol, port in ports.items()
    ]
    tables[0] |= smtp
    behind = {protocol: f"{LOOPBACK}:{port}" for protocol, port in servers.ports.items()}
    text = servers.configuration(
        tables, auth={"users": {"file": str(users), "default": "real"}}, backends={"real": behind}
    )
    return Running(geomail_server("workers = 1\n" + text), users, ports)


WELCOME: dict[Protocol, str] = {"smtp": "235", "imap": "OK", "pop3": "+OK"}
WRONG: dict[Protocol, str] = {
    "smtp": "535 b'5.7.8 Authentication credentials invalid'",
    "imap": "b'[AUTHENTICATIONFAILED] Authentication failed'",
    "pop3": "b'-ERR [AUTH] Authentication failed'",
}
LATER: dict[Protocol, str] = {
    "smtp": "454 b'4.7.0 Temporary authentication failure'",
    "imap": "b'[UNAVAILABLE] Temporary authentication failure'",
    "pop3": "b'-ERR [SYS/TEMP] Service temporarily unavailable'",
}
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


@every_protocol
def test_who_gets_in_and_who_does_not(lasting: Running, protocol: Protocol) -> None:
    running = lasting
    assert running.log_in(protocol, ALICE.address, ALICE.password) == WELCOME[protocol]
    assert running.log_in(protocol, "frontman", OWN_PASSWORD) == WELCOME[protocol]
    refused = [
        running.log_in(protocol, ALICE.address, BOB.password),
        running.log_in(protocol, BOB.address, BOB.password),
        running.log_in(protocol, "frontman", BOB.password),
    ]
    assert refused == [WRONG[protocol]] * 3


def test_the_log_says_why(lasting: Running) -> None:
    running = lasting
    running.log_in("imap", "nobody", "s3cret")
    running.log_in("imap", "frontman", "s3cret")
    running.log_in("imap", "sender", OWN_PASSWORD)

    for user, reason in (
        ("nobody", "unknown user"),
        ("frontman", "wrong password"),
        ("sender", "the user is not allowed to use imap"),
    ):
        running.geomail.log.wait_for(f'imap login refused .* user={user} .* side=auth reason="{reason}"')
    assert "s3cret" not in running.geomail.log.text


def test_no_password_can_be_read_from_what_is_missing_in_the_log(lasting: Running) -> None:
    before = lasting.geomail.log.end
    lasting.log_in("pop3", "frontman", "wrong")

    lasting.geomail.log.wait_for('pop3 login refused .*user=frontman .*reason="wrong password"', before)


def test_dovecot_sees_the_other_name(lasting: Running, servers: Servers) -> None:
    before = servers.dovecot.log.end
    lasting.log_in("imap", "frontman", OWN_PASSWORD)

    servers.dovecot.log.wait_for(f"imap-login: .*Login: user=<{BOB.address}>", before)


@pytest.mark.parametrize("xclient", ["on", "auto"])
def test_postfix_learns_the_name_by_xclient(
    servers: Servers, geomail_server: Start, tmp_path: Path, xclient: str
) -> None:
    running = start(servers, geomail_server, tmp_path, xclient=xclient)
    before = servers.postfix.log.end

    send(running, "sender")

    servers.postfix.log.wait_for(
        rf"client=\S+\[{CLIENT}\].*sasl_method=XCLIENT, sasl_username={BOB.address}", before
    )


def test_geomail_logs_in_to_postfix_by_the_name_and_password_of_the_entry(
    servers: Servers, geomail_server: Start, tmp_path: Path
) -> None:
    running = start(servers, geomail_server, tmp_path, proxy_smtp_auth=True)
    before = servers.postfix.log.end

    send(running, "frontman")

    servers.postfix.log.wait_for(rf"sasl_method=PLAIN, sasl_username={BOB.address}", before)


def send(running: Running, user: str) -> None:
    port = running.ports["smtp"]
    with smtplib.SMTP(LOOPBACK, port, timeout=TIMEOUT, source_address=(CLIENT, 0)) as client:
        client.login(user, OWN_PASSWORD)
        client.sendmail(BOB.address, [ALICE.address], b"Subject: Hello\r\n\r\nHello\r\n")


def test_users_come_and_go_while_geomail_runs(running: Running) -> None:
    assert running.log_in("imap", "sender", OWN_PASSWORD) == WRONG["imap"]
    fresh = running.users.with_suffix(".new")
    fresh.write_text(f"newcomer:{HASH}:user={BOB.address} password={escaped(BOB.password)}\n")
    fresh.replace(running.users)
    eventually(lambda: running.log_in("imap", "newcomer", OWN_PASSWORD) == WELCOME["imap"])

    assert running.log_in("imap", ALICE.address, ALICE.password) == WRONG["imap"]
    running.geomail.log.wait_for(f"notice users file {running.users} was read again: 1 users")


def test_a_broken_file_changes_nothing_but_the_log(running: Running) -> None:
    running.log_in("imap", "frontman", OWN_PASSWORD)
    running.users.write_text(f"{USERS}newcomer:s3cret\n")
    told = f"error users file {running.users}:4: error: newcomer: .*; the users read before stay in force"

    def is_told() -> bool:
        assert running.log_in("imap", "frontman", OWN_PASSWORD) == WELCOME["imap"]
        return re.search(told, running.geomail.log.text) is not None

    eventually(is_told)
    assert "s3cret" not in running.geomail.log.text


def test_a_file_that_is_gone_before_anybody_came(running: Running) -> None:
    running.users.unlink()

    for protocol in PROTOCOLS:
        assert running.log_in(protocol, "frontman", OWN_PASSWORD) == LATER[protocol]
    running.geomail.log.wait_for(f"error users file {running.users} cannot be read: .*; no user can log in")
    running.users.write_text(USERS)
    for protocol in PROTOCOLS:
        eventually(lambda: running.log_in(protocol, "frontman", OWN_PASSWORD) == WELCOME[protocol])  # noqa: B023


def test_geomail_does_not_start_with_a_broken_file(
    servers: Servers, geomail_server: Start, tmp_path: Path
) -> None:
    (tmp_path / "users").write_text("ann\n")
    text = servers.configuration(
        [{"protocol": "imap", "listen": f"{LOOPBACK}:{free_port()}", "auth": "users"}],
        auth={"users": {"file": str(tmp_path / "users"), "default": "real"}},
        backends={"real": {"address": f"{LOOPBACK}:143"}},
    )

    with pytest.raises(
        pytest.fail.Exception, match="users:1: error: must be name:hash, but there is no colon"
    ):
        geomail_server(text)
