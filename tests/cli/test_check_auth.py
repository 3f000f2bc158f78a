"""``geomail check-auth``: the request, the answer, and the findings about it."""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from geomail_cli.main import app
from tests.cli.test_preview_live import CLIENT, SECRETS, encoded, spellings_in, spelt
from tests.net.name_server import NameServer
from tests.net.raw_service import RawService, closed_port
from tests.servers.auth_http import AuthService, Request, listening

CONFIGURATION = """\
[mail]
server_name = "mx.test"
auth_http = "http://127.0.0.1:{port}/auth"
auth_http_timeout = "2s"
{options}
[[mail.server]]
name = "in"
listen = "127.0.0.1:25"
smtp_auth = "plain none cram-md5 external"
[[mail.server]]
name = "pop"
listen = "127.0.0.1:110"
pop3_auth = "plain apop"
[[mail.server]]
name = "through"
listen = "127.0.0.1:143"
auth = "passthrough"
[auth.passthrough]
default = "mx"
[backends.mx]
address = "192.0.2.25:25"
"""
OK = {"Auth-Status": "OK", "Auth-Server": "192.0.2.1", "Auth-Port": "25"}


class Check:
    """A runner of the command against a service."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "geomail.toml"
        self.password = folder / "password"

    def run(self, port: int, *options: str, password: str | None = "s3cr3t", more: str = "") -> Result:
        self.file.write_text(CONFIGURATION.format(port=port, options=more))
        if password is not None:
            self.password.write_text(password)
            options = (*options, "--password-file", str(self.password))
        return CliRunner().invoke(app, ["check-auth", "-c", str(self.file), *options])

    def __call__(self, port: int, *options: str, **given: Any) -> dict[str, Any]:
        result = self.run(port, "--json", *options, **given)
        found: dict[str, Any] = json.loads(result.stdout)
        assert result.exit_code == (not found["ok"])
        return found


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


@pytest.fixture
def service() -> Iterator[AuthService]:
    """A service that accepts the user ``u``, and mail without a login."""
    service = AuthService(answers={"u": OK, "": OK})
    with listening(service):
        yield service


def test_the_name_of_the_client_is_asked_for_at_a_server_with_a_name(
    check: Check, service: AuthService
) -> None:
    with NameServer(CLIENT) as names:
        more = f'resolver = "localhost:{names.address[1]} ipv6=off"'
        found = check(service.port, *("--server", "in", "--client", "192.0.2.7", "--user", "u"), more=more)

    assert "Client-Host: pc.example.test" in found["request"]


def test_the_question_is_the_one_that_geomail_puts(check: Check, service: AuthService) -> None:
    more = 'auth_http_header = { X-Auth-Key = "the key" }'

    found = check(
        service.port, "--user", "u", "--client", "2001:db8::7", "--client-name", "pc.test", more=more
    )

    [request] = service.requests
    assert [request.line, *(f"{name}: {value}" for name, value in request.headers)] == [
        "GET /auth HTTP/1.1",
        "Host: 127.0.0.1",
        "Auth-Method: plain",
        "Auth-User: u",
        "Auth-Pass: s3cr3t",
        "Auth-Protocol: smtp",
        "Auth-Login-Attempt: 1",
        "Client-IP: 2001:db8::7",
        "Client-Host: pc.test",
        "X-Auth-Key: the key",
    ]
    hidden = {"Auth-Pass: s3cr3t": "Auth-Pass: ********", "X-Auth-Key: the key": "X-Auth-Key: ********"}
    heard = [request.line, *(f"{name}: {value}" for name, value in request.headers)]
    assert found["request"] == [hidden.get(line, line) for line in heard]


def test_json_is_all_of_it(check: Check, service: AuthService) -> None:
    service.answers["u"] = {**OK, "Auth-Server": "mx.test", "X-Trace": "7"}

    found = check(service.port, "--user", "u")

    assert found.pop("request")[0] == "GET /auth HTTP/1.1"
    assert 0 <= found.pop("seconds") < 30
    assert found == {
        "server": "in",
        "protocol": "smtp",
        "service": f"http://127.0.0.1:{service.port}/auth",
        "ok": True,
        "verdict": "accepted",
        "reason": "the login is accepted: u goes to mx.test:25",
        "answer": [
            "HTTP/1.1 200 OK",
            "Auth-Status: OK",
            "Auth-Server: mx.test",
            "Auth-Port: 25",
            "X-Trace: 7",
            "Content-Length: 0",
        ],
        "findings": [
            {"line": 0, "severity": "ok", "text": ""},
            {"line": 1, "severity": "ok", "text": "the login is accepted"},
            {
                "line": 2,
                "severity": "warning",
                "text": "a host name: geomail resolves it, nginx accepts only an IP address",
            },
            {"line": 3, "severity": "ok", "text": ""},
            {"line": 4, "severity": "note", "text": "geomail and nginx ignore this header"},
            {"line": 5, "severity": "ok", "text": ""},
        ],
    }


def test_a_plain_table_in_a_pipe(check: Check, service: AuthService) -> None:
    service.answers["u"] = {"Auth-Status": "OK", "Auth-Server": "192.0.2.1"}

    result = check.run(service.port, "--user", "u")

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"smtp server in asks the auth service http://127.0.0.1:{service.port}/auth"
    assert "geomail  Auth-Pass: ********" in lines
    assert f"{'service  Auth-Status: OK':<73}  ok: the login is accepted" in lines
    assert (
        f"{'service':<73}  error: Auth-Port is missing: geomail does not know which backend to connect to"
        in lines
    )
    assert lines[-1] == "geomail: the answer cannot be used (1 error)"


@pytest.mark.parametrize(
    ("answer", "verdict", "ok"),
    [
        (OK, "accepted", True),
        ({"Auth-Status": "go away", "Auth-Wait": "1"}, "refused", True),
        ({"Auth-Status": "WAIT", "Auth-Wait": "1"}, "wait", True),
        ({"Auth-Status": "ok"}, "refused", False),
        ({"Auth-Status": "OK"}, "unusable", False),
        ({**OK, "Auth-Port": "0"}, "unusable", False),
    ],
)
def test_verdicts(check: Check, service: AuthService, answer: dict[str, str], verdict: str, ok: bool) -> None:
    service.answers["u"] = answer

    found = check(service.port, "--user", "u")

    assert (found["verdict"], found["ok"]) == (verdict, ok)


def test_the_service_is_asked_once_even_if_it_says_wait(check: Check, service: AuthService) -> None:
    service.answers["u"] = {"Auth-Status": "WAIT", "Auth-Wait": "1"}
    check(service.port, "--user", "u")

    assert len(service.requests) == 1


def test_mail_without_a_login(check: Check, service: AuthService) -> None:
    found = check(
        service.port, "--helo", "pc", "--from", "a@example.test", "--to", "b@example.test", password=None
    )

    assert found["request"][-3:] == [
        "Auth-SMTP-Helo: pc",
        "Auth-SMTP-From: MAIL FROM:<a@example.test>",
        "Auth-SMTP-To: RCPT TO:<b@example.test>",
    ]
    assert found["reason"] == "the login is accepted: the mail goes to 192.0.2.1:25"


def cram_md5(request: Request) -> str:
    return hmac.new(b"s3cr3t", request["Auth-Salt"].encode(), "md5").hexdigest()


def apop(request: Request) -> str:
    return hashlib.md5(request["Auth-Salt"].encode() + b"s3cr3t").hexdigest()


@pytest.mark.parametrize(
    ("server", "method", "digest"), [("in", "cram-md5", cram_md5), ("pop", "apop", apop)]
)
def test_digests_are_made_as_clients_make_them(
    check: Check, service: AuthService, server: str, method: str, digest: Any
) -> None:
    def answer(request: Request) -> dict[str, str]:
        assert request["Auth-Method"] == method
        right = request["Auth-Pass"] == digest(request)
        return {**OK, "Auth-Pass": "s3cr3t"} if right else {"Auth-Status": "no"}

    service.answers["u"] = answer
    found = check(service.port, "--server", server, "--user", "u", "--method", method)

    assert found["verdict"] == "accepted"
    assert "Auth-Pass: ********" in found["request"]
    assert "Auth-Pass: ********" in found["answer"]


def test_external_has_no_password(check: Check, service: AuthService) -> None:
    found = check(service.port, "--user", "u", "--method", "external", password=None)

    assert found["request"][2:5] == ["Auth-Method: external", "Auth-User: u", "Auth-Pass: "]


def test_a_client_that_must_have_tls_has_it(check: Check, service: AuthService) -> None:
    found = check(
        service.port,
        "--user",
        "u",
        more='starttls = "only"\nssl_certificate = "c"\nssl_certificate_key = "k"',
    )

    assert found["request"][-3:] == [
        "Auth-SSL: on",
        "Auth-SSL-Protocol: TLSv1.3",
        "Auth-SSL-Cipher: TLS_AES_256_GCM_SHA384",
    ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--server", "through", "--user", "u"), "server through does not use an auth service"),
        (("--server", "pop", "--user", "u", "--method", "cram-md5"), "does not take cram-md5 (pop3_auth)"),
        (("--user", "u", "--method", "none"), "give --from and --to"),
        ((), "give --user, or --from and --to"),
        (("--from", "a"), "go together"),
        (("--from", "a", "--to", "b", "--method", "cram-md5"), "give --user for a login by cram-md5"),
        (("--user", "u", "--ehlo", "a", "--helo", "b"), "exclude each other"),
    ],
)
def test_wrong_usage(check: Check, options: tuple[str, ...], complaint: str) -> None:
    result = check.run(closed_port(), *options, password="x" if "--user" in options else None)

    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.replace("│", " ").split())


def test_without_a_terminal_the_password_must_be_in_a_file(check: Check) -> None:
    result = check.run(closed_port(), "--user", "u", password=None)

    assert result.exit_code == 2
    assert "give --password-file" in " ".join(result.stderr.split())


def test_a_service_that_is_down(check: Check) -> None:
    found = check(closed_port(), "--user", "u")

    assert (found["verdict"], found["ok"], found["answer"]) == ("unusable", False, [])
    assert "cannot be reached" in found["reason"]


@pytest.mark.parametrize("columns", [None, 40, 80])
@pytest.mark.parametrize("says", [spelt, encoded])
@pytest.mark.parametrize("password", SECRETS)
def test_no_secret_is_shown_that_the_service_says_back(
    check: Check, monkeypatch: pytest.MonkeyPatch, password: str, says: Any, columns: int | None
) -> None:
    if columns is not None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
    raw = says(b"u", password.encode(), b"")
    head = (b"HTTP/1.1 200 OK", b"Auth-Status: wrong: " + raw, b"Auth-Pass: other secret", b"X-It: " + raw)
    with RawService(b"\r\n".join((*head, b"X-Key: the key", b"", b""))) as service:
        result = check.run(
            service.port,
            "--user",
            "u",
            *(() if columns else ("--json",)),
            password=password,
            more='auth_http_header = { X-Key = "the key" }',
        )

    output = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout + result.stderr)
    assert "wrong:" in output
    assert spellings_in(output, password) == []
    assert spellings_in(output, "other secret") == []
    assert spellings_in(output, "the key") == []


def test_an_answer_cannot_steer_the_terminal(check: Check) -> None:
    with RawService(b"HTTP/1.1 200 OK\r\nAuth-Status: \x1b[2J\xe2\x80\xae\xff\r\n\r\n") as service:
        result = check.run(service.port, "--user", "u")

    assert all(character.isprintable() or character == "\n" for character in result.stdout)
    assert r"\x1b[2J\u202e\xff" in result.stdout
