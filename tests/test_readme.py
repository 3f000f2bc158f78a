"""README.md tells the truth: its configuration works, and its commands and files exist."""

import imaplib
import poplib
import re
import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from geomail.config.load import inspect
from geomail_cli.main import app
from tests.servers.accounts import ALICE
from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot
from tests.servers.geomail import Geomail
from tests.servers.mail import delivered, fetched, message, queued, retrieved
from tests.servers.postfix import Postfix
from tests.servers.support import LOOPBACK, free_port

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TIMEOUT = 20


def configuration(ports: dict[int, int], certificates: Certificates, backend: dict[str, int]) -> str:
    """Return README.md's configuration with this machine's ports, files and backends."""
    [text] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    text = re.sub(r', "\[::\]:\d+( ssl)?"', "", text)
    text = re.sub(r"0\.0\.0\.0:(\d+)", lambda found: f"{LOOPBACK}:{ports[int(found[1])]}", text)
    for protocol, port in backend.items():
        text = re.sub(rf'^{protocol} = ".*"', f'{protocol} = "{LOOPBACK}:{port}"', text, flags=re.MULTILINE)
    text = re.sub(r'\w+\.internal"', 'localhost"', text)
    files = {
        "mail.crt": certificates.server.certificate,
        "mail.key": certificates.server.key,
        "internal-ca.crt": certificates.ca.certificate,
    }
    return re.sub(r"/etc/geomail/([\w.-]+)\"", lambda found: f'{files[found[1]]}"', text)


def test_its_configuration_works_in_front_of_postfix_and_dovecot(
    postfix: Postfix,
    dovecot: Dovecot,
    certificates: Certificates,
    geomail_server: Callable[[str], Geomail],
) -> None:
    ports = {port: free_port() for port in (587, 465, 143, 993, 995)}
    backend = {"smtp": postfix.submission, "imap": dovecot.imap_haproxy, "pop3": dovecot.pop3_haproxy}
    geomail_server('[control]\nsocket = "off"\n' + configuration(ports, certificates, backend))
    tls, text = certificates.client_context(), message(ALICE)

    with smtplib.SMTP(LOOPBACK, ports[587], "client.test", TIMEOUT, ("127.0.0.2", 0)) as client:
        client.starttls(context=tls)
        client.login(ALICE.address, ALICE.password)
        identity = queued(client, ALICE.address, text)
    postfix.wait_until_delivered(identity)
    postfix.log.wait_for(rf"{identity}: client=.*\[127\.0\.0\.2\], .*sasl_username={ALICE.address}")
    with smtplib.SMTP_SSL(LOOPBACK, ports[465], "client.test", timeout=TIMEOUT, context=tls) as client:
        assert client.login(ALICE.address, ALICE.password)[0] == 235

    with imaplib.IMAP4(LOOPBACK, ports[143], TIMEOUT) as imap:
        imap.starttls(tls)
        imap.login(ALICE.address, ALICE.password)
        imap.select()
        assert delivered(fetched(imap)) == text
    with imaplib.IMAP4_SSL(LOOPBACK, ports[993], ssl_context=tls, timeout=TIMEOUT) as imap:
        assert imap.login(ALICE.address, ALICE.password)[0] == "OK"
    pop3 = poplib.POP3_SSL(LOOPBACK, ports[995], timeout=TIMEOUT, context=tls)
    pop3.user(ALICE.address)
    pop3.pass_(ALICE.password)
    assert delivered(retrieved(pop3)) == text
    pop3.quit()


def test_its_configuration_has_no_problem(tmp_path: Path) -> None:
    [text] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "geomail.toml"
    file.write_text(text)
    assert [str(problem) for problem in inspect(file).problems] == []


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)|`(samples/[^`]+)`", README))))
def test_the_files_that_it_names_exist(link: tuple[str, str]) -> None:
    assert (ROOT / "".join(link)).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([\w-]+)", README, re.MULTILINE))))
def test_its_targets_are_in_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "line", sorted(set(re.findall(r"(?:^|`)geomail (?!is )([a-z][a-z-]+[^`\n#]*)", README, re.MULTILINE)))
)
def test_its_commands_and_their_options_exist(line: str) -> None:
    name, *words = line.split()
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_it_names_every_command() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert {name for name in commands if f"geomail {name}" not in README} == set()
