"""Real mail clients, facing an operator's mistakes and answers to what they say themselves."""

import imaplib
import json
import poplib
import re
import smtplib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import toml

from tests.e2e.proxy import PROTOCOLS, TIMEOUT, Protocol, Servers
from tests.servers.accounts import ALICE, SPACE, Account
from tests.servers.dovecot import Dovecot
from tests.servers.geomail import COMMAND, Geomail, serving
from tests.servers.mail import message, queued
from tests.servers.support import LOOPBACK, free_port, program

HINT = "perhaps the backend does not expect the PROXY header"
#: Words that make a client ask its user for another password.
WRONG_PASSWORD = re.compile("AUTHENTICATIONFAILED|AUTHORIZATIONFAILED|\\[AUTH\\]|535")
OWN_ID = '("name" "geomail")'


@dataclass
class Front:
    """geomail, and its ports: those of ``mistaken`` send a PROXY header where the backend expects none."""

    geomail: Geomail
    configuration: Path
    mistaken: dict[Protocol, int]
    good: dict[Protocol, int]


@pytest.fixture(scope="module")
def front(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    mistaken = {protocol: free_port() for protocol in PROTOCOLS}
    good = {protocol: free_port() for protocol in PROTOCOLS}
    table = [
        {
            "name": f"{name} {protocol}",
            "protocol": protocol,
            "listen": f"{LOOPBACK}:{ports[protocol]}",
            "proxy_protocol": header,
        }
        for name, ports, header in (("mistaken", mistaken, "on"), ("good", good, "off"))
        for protocol in PROTOCOLS
    ]
    more = {
        "auth": "passthrough",
        "imap_id": OWN_ID,
        "imap_capabilities": ["IMAP4rev1", "LITERAL+", "ID"],
        "pop3_capabilities": ["USER", "UIDL", "RESP-CODES", "AUTH-RESP-CODE"],
        "xclient": "auto",
    }
    document = toml.loads(
        servers.configuration(
            table,
            auth={"passthrough": {"default": "real"}},
            backends={"real": {key: f"{LOOPBACK}:{port}" for key, port in servers.ports.items()}},
            log={"format": "json"},
            control={"socket": "off"},
        )
    )
    document["mail"] |= more
    folder = tmp_path_factory.mktemp("trouble")
    with serving(toml.dumps(document), folder) as geomail:
        yield Front(geomail, folder / "geomail.toml", mistaken, good)


def record(front: Front, before: int) -> dict[str, object]:
    """The record of Alice's session that ends next."""
    line = front.geomail.log.wait_for(rf'.*session\.closed.*"user":"{ALICE.address}".*', after=before)[0]
    found: dict[str, object] = json.loads(line)
    return found


# -- a PROXY header where none is expected --------------------------------------------------------


def pop3_refusal(port: int) -> str:
    client = poplib.POP3(LOOPBACK, port, TIMEOUT)
    client.user(ALICE.address)
    with pytest.raises(poplib.error_proto) as caught:
        client.pass_(ALICE.password)
    client.close()
    return str(caught.value)


def imap_refusal(port: int) -> str:
    client = imaplib.IMAP4(LOOPBACK, port, TIMEOUT)
    with pytest.raises(imaplib.IMAP4.error) as caught:
        client.login(ALICE.address, ALICE.password)
    client.shutdown()
    return str(caught.value)


def smtp_refusal(port: int) -> str:
    client = smtplib.SMTP(LOOPBACK, port, timeout=TIMEOUT)
    client.ehlo()
    client.user, client.password = ALICE.address, ALICE.password
    with pytest.raises(smtplib.SMTPException) as caught:
        client.auth("PLAIN", client.auth_plain)
    client.close()
    return str(caught.value)


REFUSALS = {"pop3": pop3_refusal, "imap": imap_refusal, "smtp": smtp_refusal}
FOR_NOW = {"pop3": "[SYS/TEMP]", "imap": "[UNAVAILABLE]", "smtp": "454"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_operators_mistake_is_no_wrong_password(front: Front, protocol: Protocol) -> None:
    before = front.geomail.log.end
    heard = REFUSALS[protocol](front.mistaken[protocol])

    assert FOR_NOW[protocol] in heard
    assert not WRONG_PASSWORD.search(heard)
    closed = record(front, before)
    assert HINT in str(closed["reason"])
    refused = closed["step"] == "LOGIN" and closed["outcome"] == "backend_refused"
    code = "proxy_dest_auth_failed" if refused else "temp_fail"
    assert (closed["side"], closed["dovecot"], closed["refusals"]) == ("backend", {"code": code}, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_live_preview_names_the_mistake(front: Front, protocol: Protocol, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(ALICE.password + "\n")
    command: list[str | Path] = [
        *(str(COMMAND), "preview-handshake", "--live", "--json"),
        *("-c", str(front.configuration), "--server", f"mistaken {protocol}"),
        *("--user", ALICE.address, "--password-file", str(tmp_path / "password")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)

    found = json.loads(done.stdout)
    assert found["outcome"] != "ok"
    assert any(HINT in hint for hint in found["hints"]), found


def fetchmail(folder: Path, account: Account, port: int) -> tuple[int, str]:
    """Run fetchmail once over POP3; its exit status, and all that it says."""
    rc = folder / "fetchmailrc"
    rc.write_text(
        f"poll {LOOPBACK} proto pop3 port {port} auth password\n"
        f'user "{account.address}" password "{account.password}" sslproto "" keep mda "cat >{folder}/mail"\n'
    )
    rc.chmod(0o600)
    command: list[str | Path] = [
        program("fetchmail"),
        "-v",
        "--nosyslog",
        "-f",
        rc,
        "--pidfile",
        folder / "pid",
        "--timeout",
        "20",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False, env={"HOME": str(folder)}
    )
    return done.returncode, done.stdout + done.stderr


def mbsync(folder: Path, account: Account, port: int) -> tuple[int, str]:
    """Run isync's mbsync once over IMAP; its exit status, and all that it says."""
    (folder / "box").mkdir()
    rc = folder / "mbsyncrc"
    rc.write_text(
        f"IMAPAccount a\nHost {LOOPBACK}\nPort {port}\nUser {account.address}\n"
        f"PassCmd \"printf %s '{account.password}'\"\nSSLType None\nAuthMechs LOGIN\n\n"
        f"IMAPStore far\nAccount a\n\nMaildirStore near\nPath {folder}/box/\nInbox {folder}/box/INBOX\n\n"
        "Channel c\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\n"
        f"SyncState {folder}/state-\n"
    )
    command: list[str | Path] = [program("mbsync"), "-V", "-D", "-c", rc, "c"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False)
    return done.returncode, done.stdout + done.stderr


@dataclass
class Tried:
    """The command line of a mail program, and its output."""

    run: Callable[[Path, Account, int], tuple[int, str]]
    protocol: Protocol
    good: int
    wrong: str
    for_now: str


PROGRAMS = {
    "fetchmail": Tried(fetchmail, "pop3", 1, "Query status=3 (AUTHFAIL)", "Server busy error on"),
    "mbsync": Tried(mbsync, "imap", 0, "NO [AUTHENTICATIONFAILED]", "NO [UNAVAILABLE]"),
}
every_program = pytest.mark.parametrize(
    "tried", [pytest.param(one, id=name) for name, one in PROGRAMS.items()]
)


@every_program
def test_programs_take_a_failure_for_what_it_is(front: Front, tried: Tried, tmp_path: Path) -> None:
    said = tried.run(tmp_path, ALICE, front.mistaken[tried.protocol])[1]

    assert tried.for_now in said
    assert tried.wrong not in said


@every_program
def test_programs_take_a_wrong_password_for_what_it_is(front: Front, tried: Tried, tmp_path: Path) -> None:
    said = tried.run(tmp_path, Account(ALICE.address, "wrong"), front.good[tried.protocol])[1]

    assert tried.wrong in said
    assert tried.for_now not in said


@every_program
def test_a_password_that_begins_with_spaces(front: Front, tried: Tried, tmp_path: Path) -> None:
    status, said = tried.run(tmp_path, SPACE, front.good[tried.protocol])

    assert status == tried.good, said


def test_a_greeting_with_capabilities_saves_a_question(front: Front, tmp_path: Path) -> None:
    said = mbsync(tmp_path, ALICE, front.good["imap"])[1]

    assert "* OK [CAPABILITY IMAP4rev1 LITERAL+ ID AUTH=PLAIN] IMAP4 ready" in said
    assert re.findall(r">>> \d+ (\w+)", said)[0] == "LOGIN"


# -- what clients say of themselves ---------------------------------------------------------------


def test_a_clients_id_is_answered_and_recorded(front: Front) -> None:
    before = front.geomail.log.end
    imaplib.Commands.setdefault("ID", ("NONAUTH", "AUTH", "SELECTED"))
    client = imaplib.IMAP4(LOOPBACK, front.good["imap"], TIMEOUT)
    assert client._simple_command("ID", '("name" "A client" "version" "1")')[0] == "OK"
    assert client.response("ID")[1] == [OWN_ID.encode()]
    client.login(ALICE.address, ALICE.password)
    client.logout()

    assert record(front, before)["client_id"] == "name: A client, version: 1"


def test_a_printers_name_reaches_postfix(front: Front, servers: Servers, dovecot: Dovecot) -> None:
    with smtplib.SMTP(LOOPBACK, front.good["smtp"], "My Office Jet", TIMEOUT) as client:
        client.login(ALICE.address, ALICE.password)
        servers.postfix.wait_until_delivered(queued(client, ALICE.address, message(ALICE)))

    [stored] = [file.read_bytes() for file in dovecot.maildir(ALICE).glob("new/*")]
    assert b"Received: from My_Office_Jet " in stored
