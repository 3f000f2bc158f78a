"""The samples work unchanged: every configuration is valid, and the auth service accepts its users."""

import imaplib
import importlib.util
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import toml
from typer.testing import CliRunner

from geomail_cli.main import app
from tests.e2e.proxy import TIMEOUT
from tests.servers.accounts import ALICE, DAVE, Account
from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot
from tests.servers.geomail import Geomail
from tests.servers.support import LOOPBACK, Daemon, free_port

SAMPLES = Path(__file__).parents[1] / "samples"
CONFIGURATIONS = sorted(path.name for path in SAMPLES.glob("*.toml"))
USER, PASSWORD = "alice@example.org", "wonderland"

every_configuration = pytest.mark.parametrize("name", CONFIGURATIONS)


@pytest.fixture
def samples(tmp_path: Path, certificates: Certificates) -> Path:
    """Copy the samples as an operator would: with a certificate, and the users file closed to others."""
    folder = tmp_path / "samples"
    shutil.copytree(SAMPLES, folder)
    shutil.copy(certificates.server.certificate, folder / "mail.crt")
    shutil.copy(certificates.server.key, folder / "mail.key")
    (folder / "users").chmod(0o600)
    return folder


@every_configuration
def test_a_configuration_has_neither_errors_nor_warnings(samples: Path, name: str) -> None:
    result = CliRunner().invoke(app, ["check-config", "--strict", "-c", str(samples / name)])

    assert result.exit_code == 0, result.stderr


@every_configuration
def test_every_server_has_a_handshake_that_would_succeed(samples: Path, name: str) -> None:
    servers = toml.loads((samples / name).read_text())["mail"]["server"]
    assert servers
    for server in servers:
        server_name = server.get("name", server["listen"])
        arguments = ["preview-handshake", "-c", str(samples / name), "--server", server_name, "--user", USER]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output


def test_the_readme_names_every_sample() -> None:
    text = (SAMPLES / "README.md").read_text()

    assert [
        path.name for path in SAMPLES.iterdir() if path.suffix in (".toml", ".py") and path.name not in text
    ] == []


# -- auth_service.py ------------------------------------------------------------------------------


@pytest.fixture
def check(samples: Path, tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Run the service, and check-auth with it."""
    port = free_port()
    service = Daemon([sys.executable, str(samples / "auth_service.py"), str(port)], tmp_path / "log")
    service.wait_until_accepting([(LOOPBACK, port)])
    file, password_file = samples / "auth_http.toml", tmp_path / "password"
    text = (
        file.read_text()
        .replace("127.0.0.1:9000", f"{LOOPBACK}:{port}")
        .replace("plain login", "plain none cram-md5")
    )
    file.write_text(text)

    def run(*options: str, password: str = PASSWORD) -> dict[str, Any]:
        password_file.write_text(password)
        arguments = ["check-auth", "-c", str(file), "--json", "--password-file", str(password_file), *options]
        found: dict[str, Any] = json.loads(CliRunner().invoke(app, arguments).stdout)
        assert {finding["severity"] for finding in found["findings"]} == {"ok"}, found
        return found

    try:
        yield run
    finally:
        service.stop()


@pytest.mark.parametrize(("protocol", "port"), [("smtp", 10025), ("imap", 10143), ("pop3", 10110)])
def test_the_service_accepts_its_user(check: Callable[..., dict[str, Any]], protocol: str, port: int) -> None:
    found = check("--protocol", protocol, "--user", USER)

    assert found["reason"] == f"the login is accepted: {USER} goes to 127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("user", "password"), [(USER, "wrong"), (USER, ""), ("nobody@example.org", PASSWORD), ("", "")]
)
def test_the_service_refuses_all_others(
    check: Callable[..., dict[str, Any]], user: str, password: str
) -> None:
    assert check("--user", user, password=password)["reason"].endswith("Invalid login or password")


@pytest.mark.parametrize(
    ("recipient", "verdict"), [("bob@example.org", "accepted"), ("bob@elsewhere.example", "refused")]
)
def test_the_service_takes_mail_for_its_domains(
    check: Callable[..., dict[str, Any]], recipient: str, verdict: str
) -> None:
    assert check("--from", "a@b.example", "--to", recipient)["verdict"] == verdict


@contextmanager
def running(service: ModuleType) -> Iterator[int]:
    """Run the service in this process; return its port."""
    server = service.ThreadingHTTPServer((LOOPBACK, 0), service.Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("account", [ALICE, DAVE], ids=["alice", "dave"])
def test_the_service_works_with_geomail_and_a_real_mail_server(
    dovecot: Dovecot, geomail_server: Callable[[str], Geomail], account: Account
) -> None:
    spec = importlib.util.spec_from_file_location("auth_service", SAMPLES / "auth_service.py")
    assert spec is not None
    assert spec.loader is not None
    service = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(service)
    service.USERS[account.address] = ("00", service.hash_password(account.password, "00"))
    service.BACKENDS["imap"] = (LOOPBACK, dovecot.imap)
    service.Handler.log_message = lambda *_: None
    port = free_port()
    with running(service) as asked:
        configuration = toml.loads((SAMPLES / "auth_http.toml").read_text())
        configuration["mail"]["auth_http"] = f"http://{LOOPBACK}:{asked}/auth"
        configuration["mail"]["server"] = [{"protocol": "imap", "listen": f"{LOOPBACK}:{port}"}]
        geomail_server(toml.dumps(configuration))
        with imaplib.IMAP4(LOOPBACK, port, TIMEOUT) as client:
            secret = f"\0{account.address}\0{account.password}".encode()
            assert client.authenticate("PLAIN", lambda _: secret)[0] == "OK"
            assert client.select()[0] == "OK"
