"""``geomail preview-handshake --live``: with a real Postfix and Dovecot, and with backends that misbehave."""

import base64
import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from typer.testing import CliRunner, Result

from geomail_cli.main import app
from tests.net.name_server import NameServer
from tests.net.raw_service import closed_port
from tests.preview.speaking import speaking
from tests.servers.accounts import ALICE, BOB, DAVE, Account
from tests.servers.auth_http import AuthService
from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot
from tests.servers.geomail import COMMAND
from tests.servers.postfix import Postfix

CONFIGURATION = """\
[mail]
server_name = "proxy.example.test"
auth_http = "http://127.0.0.1:{auth}/"
timeout = "{timeout}"
{options}
[[mail.server]]
protocol = "{protocol}"
listen = "127.0.0.1:2525"
[backends.real]
address = "127.0.0.1:{port}"
{backend}
"""


class Live:
    """A runner of live previews of one protocol."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "geomail.toml"
        self.password = folder / "password"

    def configure(
        self,
        protocol: str,
        port: int,
        options: str = "",
        backend: str = "",
        auth: int = 1,
        timeout: str = "10s",
    ) -> None:
        text = CONFIGURATION.format(
            protocol=protocol, port=port, options=options, backend=backend, auth=auth, timeout=timeout
        )
        self.file.write_text(text)

    def run(self, *options: str, account: Account | None = ALICE, password: str | None = None) -> Result:
        if account is not None:
            self.password.write_text((account.password if password is None else password) + "\n")
            options = (*options, "--user", account.address, "--password-file", str(self.password))
        return CliRunner().invoke(app, ["preview-handshake", "-c", str(self.file), "--live", *options])

    def __call__(self, *options: str, **given: Any) -> dict[str, Any]:
        result = self.run("--json", *options, **given)
        found: dict[str, Any] = json.loads(result.stdout)
        assert result.exit_code == (found["outcome"] != "ok"), found
        return found


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path)


REAL = ("--backend", "real")


def said(found: dict[str, Any]) -> list[str]:
    return [step["line"] for step in found["steps"] if step["from"] == "geomail"]


def last_reply(found: dict[str, Any]) -> dict[str, Any]:
    found_in: list[dict[str, Any]] = [step for step in found["steps"] if step["from"] == "backend"]
    return found_in[-1]


# -- Postfix --------------------------------------------------------------------------------------


def test_postfix_that_lets_geomail_use_xclient(live: Live, postfix: Postfix) -> None:
    live.configure("smtp", postfix.submission)
    before = postfix.log.end

    found = live(*REAL, "--client", "192.0.2.7", "--ehlo", "pc.example.test")

    assert found["backend"] == f"127.0.0.1:{postfix.submission} (real)"
    assert said(found) == [
        "EHLO proxy.example.test",
        f"XCLIENT ADDR=192.0.2.7 LOGIN={ALICE.address} NAME=[UNAVAILABLE]",
        "EHLO pc.example.test",
        "QUIT",
    ]
    assert found["answer"] == ["235 2.0.0 OK"]
    assert last_reply(found) == {"from": "backend", "line": "221 2.0.0 Bye", "because": ""}
    postfix.log.wait_for(r"disconnect from unknown\[192\.0\.2\.7\] .*quit=1", after=before)


CLIENT = {
    "7.2.0.192.in-addr.arpa. PTR": ("7.2.0.192.in-addr.arpa. 60 IN PTR pc.example.test.",),
    "pc.example.test. A": ("pc.example.test. 60 IN A 192.0.2.7",),
    "pc.example.test. AAAA": (),
}


def test_the_name_of_the_client_is_asked_for_at_a_server_with_a_name(live: Live, postfix: Postfix) -> None:
    with NameServer(CLIENT) as names:
        live.configure("smtp", postfix.submission, f'resolver = "localhost:{names.address[1]} ipv6=off"')
        found = live(*REAL, "--client", "192.0.2.7")

    assert said(found)[1] == f"XCLIENT ADDR=192.0.2.7 LOGIN={ALICE.address} NAME=pc.example.test"


def test_a_name_server_that_is_not_found(live: Live) -> None:
    live.configure("smtp", 1, 'resolver = "dns.invalid"')
    result = live.run(*REAL)

    assert result.exit_code == 1
    assert "host not found in resolver: 'dns.invalid'" in result.stderr
    assert "Traceback" not in result.output


def test_postfix_that_does_not(live: Live, postfix: Postfix) -> None:
    live.configure("smtp", postfix.strict)

    found = live(*REAL)

    assert (found["outcome"], found["step"]) == ("backend_refused", "XCLIENT")
    assert said(found)[-1] == "QUIT"
    [refusal] = [step for step in found["steps"] if step["because"].endswith("stops")]
    assert refusal["line"].startswith("550 ")
    assert "add 127.0.0.1 to smtpd_authorized_xclient_hosts" in " ".join(found["hints"])


def test_on_screen_a_refused_xclient_comes_with_the_hint(live: Live, postfix: Postfix) -> None:
    live.configure("smtp", postfix.strict)

    result = live.run(*REAL)

    assert result.exit_code == 1
    assert "add 127.0.0.1 to smtpd_authorized_xclient_hosts" in result.stdout
    assert result.stdout.splitlines()[-1] == "geomail: the handshake fails at XCLIENT: the backend refuses it"


def test_auto_gets_along_with_both(live: Live, postfix: Postfix) -> None:
    for port, uses in ((postfix.smtp, True), (postfix.strict, False)):
        live.configure("smtp", port, 'xclient = "auto"')
        assert any(line.startswith("XCLIENT") for line in said(live(*REAL))) == uses


@pytest.mark.parametrize(("password", "outcome"), [(None, "ok"), ("wrong", "backend_refused")])
def test_postfix_verifies_the_password(
    live: Live, postfix: Postfix, password: str | None, outcome: str
) -> None:
    live.configure("smtp", postfix.submission, "proxy_smtp_auth = true")

    found = live(*REAL, password=password)

    assert (found["outcome"], said(found)[-2]) == (outcome, "AUTH PLAIN ********")


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_postfix_under_tls(live: Live, postfix: Postfix, certificates: Certificates, tls: str) -> None:
    port = postfix.smtps if tls == "implicit" else postfix.submission
    live.configure("smtp", port, backend=f'tls = "{tls}"\ntls_ca = "{certificates.ca.certificate}"')

    assert "<TLS handshake>" in said(live(*REAL))


def test_a_certificate_that_is_not_trusted(live: Live, postfix: Postfix) -> None:
    live.configure("smtp", postfix.smtps, backend='tls = "implicit"')

    found = live(*REAL)

    assert (found["outcome"], found["step"]) == ("tls_failed", "TLS")
    assert "tls_ca" in " ".join(found["hints"])


def test_postfix_that_wants_a_proxy_header(live: Live, postfix: Postfix) -> None:
    live.configure("smtp", postfix.haproxy, 'proxy_protocol = "on"\nxclient = "off"')
    before = postfix.log.end

    assert live(*REAL, "--client", "192.0.2.9")["outcome"] == "ok"
    postfix.log.wait_for(r"connect from unknown\[192\.0\.2\.9\]", after=before)


def test_postfix_takes_no_xclient_behind_a_proxy_header(live: Live, postfix: Postfix) -> None:
    live.configure("smtp", postfix.haproxy, 'proxy_protocol = "on"')

    found = live(*REAL, "--client", "192.0.2.9")

    assert found["step"] == "XCLIENT"
    assert "set xclient" in found["hints"][0]


@pytest.mark.parametrize(
    ("recipient", "code", "notes"), [(BOB.address, "250", 0), ("nobody@elsewhere.test", "554", 1)]
)
def test_mail_without_a_login_goes_as_far_as_the_recipient(
    live: Live, postfix: Postfix, recipient: str, code: str, notes: int
) -> None:
    live.configure("smtp", postfix.smtp, 'smtp_auth = "none"')

    found = live(*REAL, "--from", "a@example.test", "--to", recipient, account=None)

    assert said(found)[-3:] == ["MAIL FROM:<a@example.test>", f"RCPT TO:<{recipient}>", "QUIT"]
    assert found["answer"][0].startswith(code)
    assert len(found["notes"]) == notes


# -- Dovecot --------------------------------------------------------------------------------------

GOODBYE = {"imap": ("a1 LOGOUT", "a1 OK"), "pop3": ("QUIT", "+OK")}


@pytest.mark.parametrize("account", [ALICE, BOB], ids=["alice", "bob"])
@pytest.mark.parametrize("tls", ["off", "starttls", "implicit"])
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_dovecot(
    live: Live, dovecot: Dovecot, certificates: Certificates, protocol: str, tls: str, account: Account
) -> None:
    port = getattr(dovecot, f"{protocol}{'s' if tls == 'implicit' else ''}")
    ca = "" if tls == "off" else f'tls_ca = "{certificates.ca.certificate}"'
    live.configure(protocol, port, backend=f'tls = "{tls}"\n{ca}')

    found = live(*REAL, account=account)

    goodbye, reply = GOODBYE[protocol]
    assert (found["outcome"], said(found)[-1]) == ("ok", goodbye)
    assert ("<TLS handshake>" in said(found)) == (tls != "off")
    assert last_reply(found)["line"].startswith(reply)


@pytest.mark.parametrize(("protocol", "step"), [("imap", "LOGIN"), ("pop3", "PASS")])
def test_dovecot_refuses_a_wrong_password(live: Live, dovecot: Dovecot, protocol: str, step: str) -> None:
    live.configure(protocol, getattr(dovecot, protocol))

    found = live(*REAL, password="wrong horse")

    assert (found["outcome"], found["step"]) == ("backend_refused", step)
    assert "wrong horse" not in json.dumps(found)


# -- the auth service -----------------------------------------------------------------------------


def test_without_a_backend_the_auth_service_is_asked(
    live: Live, postfix: Postfix, auth_http: AuthService
) -> None:
    auth_http.admit(ALICE, {"smtp": postfix.submission})
    live.configure("smtp", 1, auth=auth_http.port)

    found = live("--client", "192.0.2.7", "--client-name", "pc.example.test")

    assert found["backend"] == f"127.0.0.1:{postfix.submission}"
    assert (auth_http.requests[0]["Client-IP"], auth_http.requests[0]["Client-Host"]) == (
        "192.0.2.7",
        "pc.example.test",
    )
    assert any(ALICE.address in note and "127.0.0.1" in note for note in found["notes"])


def test_another_user_and_password_of_the_auth_service_are_said(
    live: Live, dovecot: Dovecot, auth_http: AuthService
) -> None:
    auth_http.answers["front"] = {
        "Auth-Status": "OK",
        "Auth-Server": "127.0.0.1",
        "Auth-Port": str(dovecot.imap),
        "Auth-User": ALICE.address,
        "Auth-Pass": ALICE.password,
    }
    live.configure("imap", 1, auth=auth_http.port)

    found = live(account=Account("front", "door"))

    user, password = len(ALICE.address), len(ALICE.password)
    assert said(found)[:3] == [f"a1 LOGIN {{{user}+}}", f"{ALICE.address} {{{password}+}}", "********"]
    assert {step["because"] for step in found["steps"] if "LOGIN" in step["line"]} >= {
        "IMAP LOGIN by literals; the backend offers LITERAL+"
    }
    assert ALICE.password not in json.dumps(found)


def test_a_login_that_the_auth_service_refuses(live: Live, auth_http: AuthService) -> None:
    live.configure("smtp", 1, auth=auth_http.port)

    found = live()

    assert (found["outcome"], found["steps"]) == ("refused", [])
    assert found["reason"].endswith("refuses the login: No such user")


def test_an_auth_service_that_is_down(live: Live) -> None:
    live.configure("smtp", 1, auth=closed_port())

    found = live()

    assert found["outcome"] == "auth_error"
    assert "cannot be reached" in found["reason"]


# -- backends that do not behave ------------------------------------------------------------------


def test_a_backend_that_is_down(live: Live) -> None:
    live.configure("smtp", closed_port())

    found = live(*REAL)

    assert (found["outcome"], found["step"], found["steps"]) == ("backend_unreachable", "connect", [])
    assert "Connection refused" in found["reason"]


@pytest.mark.parametrize(
    ("greeting", "outcome", "step"),
    [
        (None, "timeout", "greeting"),
        (b"", "gone", "greeting"),
        (b"SSH-2.0-OpenSSH_9\r\n", "backend_garbage", "greeting"),
        (b"554 go away\r\n", "backend_refused", "greeting"),
        (b"220 " + b"x" * 20000, "too_long", "greeting"),
    ],
)
def test_a_backend_that_speaks_no_smtp(live: Live, greeting: bytes | None, outcome: str, step: str) -> None:
    with speaking(greeting) as port:
        live.configure("smtp", port, timeout="500ms")
        found = live(*REAL)

    assert (found["outcome"], found["step"]) == (outcome, step)
    assert found["reason"]


def test_what_a_backend_says_cannot_steer_the_terminal(live: Live) -> None:
    with speaking(b"554-\x1b[2J\xe2\x80\xae gone \xff\r\n554 \x07\r\n") as port:
        live.configure("smtp", port)
        result = live.run(*REAL)

    assert all(character.isprintable() or character == "\n" for character in result.stdout)
    assert r"554-\x1b[2J\u202e gone \xff" in result.stdout


# -- passwords ------------------------------------------------------------------------------------

SECRETS = [
    "s3cr3t",
    'q"uo\\te {3+} %40:;= x',
    "pässwörd€",
    "p w=+%\t",
    "0123456789012345678901234567890123456789",
]


def plain(user: bytes, password: bytes, _line: bytes) -> bytes:
    return user + b" " + password


def echo(_user: bytes, _password: bytes, line: bytes) -> bytes:
    return line


def spelt(_user: bytes, password: bytes, _line: bytes) -> bytes:
    escaped = password.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    spellings = (
        *(b'"' + escaped + b'"', quote(password).encode(), quote(password, "").lower().encode()),
        *(password.hex().encode(), password.hex().upper().encode(), repr(password).encode()),
        *(b"".join(b"+%02X" % byte for byte in password), b"".join(b"=%02X" % byte for byte in password)),
        *(json.dumps(password.decode()).encode(), password.decode().encode("unicode_escape")),
        *(password.decode().encode("latin-1", "replace"), password.upper(), password.swapcase()),
    )
    return b" ".join(spellings)


def encoded(user: bytes, password: bytes, _line: bytes) -> bytes:
    texts = (
        *(password, b"x" + password, b"xy" + password + b"z", b"\0" + user + b"\0" + password),
        *(password + b"x", password + b"xy", b"long before " + password + b" and long after"),
    )
    standard = [base64.b64encode(text) for text in texts]
    return b" ".join((*standard, *(base64.urlsafe_b64encode(text) for text in texts)))


def spellings_in(text: str, password: str) -> list[str]:
    """Return the spellings of a password in a text, also across its line breaks."""
    flat = re.sub(r"\s+", "", text)
    raw = password.encode()
    candidates = {password, quote(password), quote(password, ""), raw.hex(), repr(password)[1:-1]}
    candidates |= {json.dumps(password)[1:-1], password.replace("\\", "\\\\").replace('"', '\\"')}
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + raw).decode()
        candidates.add(whole[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6])
    squeezed = {re.sub(r"\s+", "", candidate) for candidate in candidates}
    return [candidate for candidate in squeezed if candidate.lower() in flat.lower()]


@pytest.mark.parametrize("columns", [None, 40, 80, 200])
@pytest.mark.parametrize("says", [plain, echo, spelt, encoded])
@pytest.mark.parametrize("password", SECRETS)
@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
def test_a_password_that_the_backend_says_back_is_not_shown(
    live: Live,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    password: str,
    says: Callable[[bytes, bytes, bytes], bytes],
    columns: int | None,
) -> None:
    if columns is not None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
    raw = password.encode()
    refusal = {"smtp": b"535 ", "imap": b"a1 NO ", "pop3": b"-ERR "}[protocol]
    told = {"smtp": b"AUTH PLAIN", "imap": raw, "pop3": b"PASS"}[protocol]

    def answer(line: bytes) -> bytes:
        if line.startswith(told):
            return refusal + says(ALICE.address.encode(), raw, line) + b"\r\n"
        return {"smtp": b"250 ok\r\n", "imap": b"+ ok\r\n", "pop3": b"+OK\r\n"}[protocol]

    greeting = {"smtp": b"220 hi\r\n", "imap": b"* OK hi\r\n", "pop3": b"+OK hi\r\n"}[protocol]
    with speaking(greeting, answer) as port:
        live.configure(protocol, port, "proxy_smtp_auth = true")
        result = live.run(*REAL, *(() if columns else ("--json",)), password=password)

    output = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout + result.stderr)
    assert result.exit_code == 1
    assert "********" in output
    assert spellings_in(output, password) == []


@pytest.mark.parametrize("option", ["--json", "--user=u"])
def test_a_password_is_not_shown_by_a_rehearsal(live: Live, option: str) -> None:
    live.configure("smtp", 1, "proxy_smtp_auth = true")
    live.password.write_text("s3cr3t")

    arguments = ["--user", "u", "--password-file", str(live.password), option]
    result = CliRunner().invoke(app, ["preview-handshake", "-c", str(live.file), *arguments])

    assert result.exit_code == 0
    assert spellings_in(result.stdout + result.stderr, "s3cr3t") == []


def test_a_password_is_read_from_standard_input(live: Live, postfix: Postfix) -> None:
    live.configure("smtp", postfix.submission, "proxy_smtp_auth = true")

    arguments = ["--live", *REAL, "--user", ALICE.address, "--password-file", "-"]
    result = CliRunner().invoke(
        app, ["preview-handshake", "-c", str(live.file), *arguments], input=ALICE.password + "\nmore\n"
    )

    assert result.exit_code == 0, result.stdout


def test_a_password_is_asked_for_at_a_terminal_and_not_echoed(live: Live, postfix: Postfix) -> None:
    live.configure("smtp", postfix.submission, "proxy_smtp_auth = true")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "preview-handshake", "-c", live.file, "--live", *REAL, "--user", ALICE.address],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as command:
        os.close(theirs)
        seen = read_until(ours, b"Password of alice@example.test: ")
        os.write(ours, ALICE.password.encode() + b"\n")
        seen += read_until(ours, b"\n\0")
        status = command.wait(20)
    os.close(ours)

    assert status == 0, seen
    assert b"235 2.0.0 OK" in seen
    assert spellings_in(seen.decode(), ALICE.password) == []


def read_until(descriptor: int, end: bytes, seconds: float = 20) -> bytes:
    """Return the output of a terminal, up to these bytes or to the end of its program."""
    seen, deadline = b"", time.monotonic() + seconds
    while end not in seen and time.monotonic() < deadline:
        if not select.select([descriptor], [], [], 0.2)[0]:
            continue
        try:
            seen += os.read(descriptor, 4096)
        except OSError:
            break
    return seen


def test_no_password_is_asked_for_that_nobody_is_told(live: Live, postfix: Postfix) -> None:
    live.configure("smtp", postfix.submission)

    arguments = ["--live", *REAL, "--user", DAVE.address]
    assert CliRunner().invoke(app, ["preview-handshake", "-c", str(live.file), *arguments]).exit_code == 0
