"""``geomail preview-handshake`` with an imagined backend: the output for operators and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from geomail_cli.main import app

ONE = """\
[mail]
server_name = "mx.test"
auth_http = "http://127.0.0.1:9000/auth"
[[mail.server]]
name = "in"
listen = "127.0.0.1:2525"
protocol = "smtp"
smtp_auth = "plain none"
[backends.postfix]
address = "192.0.2.25:25"
"""
ALL = (
    ONE
    + """\
[[mail.server]]
name = "out"
listen = ["0.0.0.0:587", "[::]:587", "unix:/run/geomail/out"]
proxy_smtp_auth = true
proxy_protocol = "on"
xclient = "auto"
[[mail.server]]
listen = "127.0.0.1:143"
auth = "passthrough"
[auth.passthrough]
domains = { "example.org" = "dovecot" }
[backends.dovecot]
address = "192.0.2.26:993"
tls = "implicit"
"""
)
SERVICE = "the auth service http://127.0.0.1:9000/auth"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "geomail.toml"


def run(file: Path, text: str, *options: str) -> Result:
    file.write_text(text)
    return CliRunner().invoke(app, ["preview-handshake", "-c", str(file), *options])


def shown(file: Path, text: str, *options: str) -> dict[str, Any]:
    result = run(file, text, "--json", *options)
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (found["outcome"] != "ok")
    return found


def said(found: dict[str, Any]) -> list[str]:
    return [step["line"] for step in found["steps"] if step["from"] == "geomail"]


def test_a_rehearsal_is_a_plain_table_in_a_pipe(file: Path) -> None:
    result = run(file, ONE, "--backend", "postfix", "--user", "me@example.org", "--helo", "pc.example.org")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "smtp server in, client 192.0.2.1",
        "backend 192.0.2.25:25 (postfix), imagined",
        f"note: this preview does not ask {SERVICE}, which may replace user and password",
        *(
            f"{who:<7}  {line:<64}  {because}"
            for who, line, because in (
                ("backend", "220 backend.example ESMTP", "220 expected; goes on"),
                ("geomail", "EHLO mx.test", "xclient = on"),
                ("backend", "250-backend.example", "250 expected; goes on"),
                ("backend", "250-AUTH PLAIN LOGIN", "250 expected; goes on"),
                (
                    "backend",
                    "250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT",
                    "250 expected; goes on",
                ),
                (
                    "geomail",
                    "XCLIENT ADDR=192.0.2.1 LOGIN=me@example.org NAME=[UNAVAILABLE]",
                    "xclient = on",
                ),
                ("backend", "220 backend.example ESMTP", "220 or 250 expected; goes on"),
                ("geomail", "HELO pc.example.org", "the client said HELO"),
                ("backend", "250 backend.example", "250 expected; goes on"),
            )
        ),
        "geomail: the handshake would succeed; the client would get 235 2.0.0 OK",
    ]


def test_json_is_all_of_it(file: Path) -> None:
    assert shown(file, ALL, "--server", "in", "--without", "XCLIENT", "--user", "me") == {
        "server": "in",
        "protocol": "smtp",
        "client": "192.0.2.1",
        "backend": None,
        "live": False,
        "outcome": "backend_refused",
        "step": "XCLIENT",
        "reason": "the backend refuses it",
        "answer": [],
        "notes": [
            f"{SERVICE} chooses the backend; give --backend to see one",
            "the backend does not offer XCLIENT; sent because xclient = on",
        ],
        "hints": [
            "allow XCLIENT in the backend: in Postfix, add the address that geomail connects from to"
            " smtpd_authorized_xclient_hosts",
            'if the backend does not know XCLIENT, set xclient = "off"; "auto" uses it if it is offered',
        ],
        "steps": [
            {"from": "backend", "line": "220 backend.example ESMTP", "because": "220 expected; goes on"},
            {"from": "geomail", "line": "EHLO mx.test", "because": "xclient = on"},
            {"from": "backend", "line": "250-backend.example", "because": "250 expected; goes on"},
            {"from": "backend", "line": "250 AUTH PLAIN LOGIN", "because": "250 expected; goes on"},
            {
                "from": "geomail",
                "line": "XCLIENT ADDR=192.0.2.1 LOGIN=me NAME=[UNAVAILABLE]",
                "because": "xclient = on",
            },
            {
                "from": "backend",
                "line": "550 5.7.0 Error: insufficient authorization",
                "because": "220 or 250 expected; stops",
            },
        ],
    }


def test_a_handshake_that_would_fail_says_where_why_and_what_to_do(file: Path) -> None:
    result = run(file, ONE, "--without", "xclient")

    assert result.exit_code == 1
    assert "smtpd_authorized_xclient_hosts" in result.stdout
    assert result.stdout.splitlines()[-1] == (
        "geomail: the handshake would fail at XCLIENT: the backend refuses it"
    )


OUT = ("--server", "out", "--user", "u")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        pytest.param(("--client", "198.51.100.7:99"), "PROXY TCP4 198.51.100.7 192.0.2.2 99 587", id="v4"),
        pytest.param(("--client", "2001:db8::9"), "PROXY TCP6 2001:db8::9 2001:db8::2 50000 587", id="v6"),
        pytest.param(
            ("--client", "[2001:db8::9]:9"), "PROXY TCP6 2001:db8::9 2001:db8::2 9 587", id="v6 port"
        ),
        pytest.param(("--client", "unix:"), "PROXY UNKNOWN", id="unix"),
        pytest.param(("--ehlo", "me"), "EHLO me", id="ehlo"),
        pytest.param(("--ehlo", " my  printer "), "EHLO my_printer", id="ehlo of several words"),
        pytest.param((), "EHLO [192.0.2.1]", id="no ehlo"),
        pytest.param(("--client", "2001:db8::9"), "EHLO [IPv6:2001:db8::9]", id="no ehlo, v6"),
        pytest.param(("--helo", "me"), "HELO me", id="helo"),
        pytest.param(("--helo", ""), "EHLO mx.test", id="neither"),
        pytest.param((), "AUTH PLAIN ********", id="auth"),
        pytest.param(("--offers", "AUTH LOGIN"), "AUTH LOGIN", id="auth login"),
        pytest.param(
            ("--offers", "xclient ADDR NAME", "--client-name", "PC.example.org"),
            "XCLIENT ADDR=192.0.2.1 NAME=pc.example.org",
            id="client name",
        ),
    ],
)
def test_options_that_say_who_the_client_is(file: Path, options: tuple[str, ...], line: str) -> None:
    assert line in said(shown(file, ALL, *OUT, *options))


def test_auto_does_not_use_what_is_not_offered(file: Path) -> None:
    lines = said(shown(file, ALL, *OUT, "--without", "XCLIENT", "--ehlo", "me"))

    assert lines[1:] == ["EHLO mx.test", "AUTH PLAIN ********"]


def test_mail_without_a_login(file: Path) -> None:
    found = shown(file, ONE, "--from", "a@example.org", "--to", "<b@example.org> NOTIFY=NEVER")

    assert said(found)[-2:] == ["MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org> NOTIFY=NEVER"]
    assert found["answer"] == ["250 2.1.5 Ok"]


def test_mail_without_a_login_goes_to_no_backend_that_takes_it_for_geomails(file: Path) -> None:
    text = ONE.replace('smtp_auth = "plain none"', 'smtp_auth = "plain none"\nxclient = "auto"')
    asked = ("--from", "a@example.org", "--to", "b@example.org")
    found = shown(file, text, *asked, "--offers", "XCLIENT NAME HELO")

    assert (found["outcome"], found["step"]) == ("backend_refused", "XCLIENT")
    assert "has not logged in" in found["reason"]
    assert "smtpd_authorized_xclient_hosts" in found["reason"]
    assert said(found)[1:] == ["XCLIENT HELO=[192.0.2.1] NAME=[UNAVAILABLE]", "EHLO [192.0.2.1]"]
    assert shown(file, text, *asked)["outcome"] == "ok"


def test_no_hint_leads_to_a_backend_that_relays_for_strangers(file: Path) -> None:
    refused = shown(file, ONE, "--from", "a@example.org", "--to", "b@example.org", "--without", "XCLIENT")

    assert refused["step"] == "XCLIENT"
    assert not any("xclient =" in hint for hint in refused["hints"])
    assert "proxy_protocol" in refused["hints"][-1]


def test_the_null_sender(file: Path) -> None:
    assert "MAIL FROM:<>" in said(shown(file, ONE, "--from", "", "--to", "b@example.org"))


def test_imap_is_routed_by_passthrough_without_asking_anybody(file: Path) -> None:
    found = shown(file, ALL, "--protocol", "imap", "--user", "me@example.org")

    assert found["backend"] == "192.0.2.26:993 (dovecot)"
    assert said(found) == ["<TLS handshake>", "a1 LOGIN {14}", "me@example.org {8}", "********"]


def test_passthrough_without_a_route(file: Path) -> None:
    found = shown(file, ALL, "--server", "143", "--user", "me@elsewhere.example")

    assert (found["outcome"], found["steps"]) == ("refused", [])
    why = "no route leads to a backend of this protocol"
    assert found["reason"] == f'auth = "passthrough" refuses the login: {why}'


def test_pop3(file: Path) -> None:
    text = ONE.replace('"smtp"', '"pop3"').replace('smtp_auth = "plain none"', "")

    assert said(shown(file, text, "--user", "me")) == ["USER me", "PASS ********"]


@pytest.mark.parametrize(
    "wanted", ["out", "587", "0.0.0.0:587", "[::]:587", "[0::0]:587", "unix:/run/geomail/out"]
)
def test_a_server_is_found_by_name_and_by_address(file: Path, wanted: str) -> None:
    assert shown(file, ALL, "--server", wanted)["server"] == "out"


def test_an_imap_backend_gets_the_id_of_the_session(file: Path) -> None:
    text = ALL.replace('listen = "127.0.0.1:143"', 'listen = "127.0.0.1:143"\npass_session_id = true')
    found = shown(file, text, "--protocol", "imap", "--user", "me@example.org")

    assert found["outcome"] == "ok"
    assert any(line.startswith("geomail ID (") for line in said(found)), said(found)


def test_the_only_server_of_smtp_comes_before_others(file: Path) -> None:
    one_of_each = ONE + '[[mail.server]]\nlisten = "127.0.0.1:143"\n'

    assert shown(file, one_of_each)["server"] == "in"
    assert shown(file, one_of_each, "--protocol", "imap")["server"] == "127.0.0.1:143"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--server", "nowhere"), "no server has the name or address nowhere"),
        (("--protocol", "pop3"), "there is no pop3 server"),
        (("--protocol", "imap", "--server", "in"), "no imap server has the name or address in"),
        ((), "choose one with --server: in (smtp), out (smtp)"),
        (("--server", "in", "--ehlo", "a", "--helo", "b"), "exclude each other"),
        (("--server", "in", "--ehlo", "a\tb"), "'a\\tb' must not hold spaces"),
        (("--server", "in", "--client", "example.org"), "--client example.org: must be an IP address"),
        (("--server", "in", "--client", "192.0.2.1:0"), "the port must be a number from 1"),
        (("--server", "in", "--client-name", "a_b"), "a host name of letters"),
        (("--server", "in", "--from", "a"), "--from and --to go together"),
        (("--server", "in", "--user", "u", "--from", "a", "--to", "b"), "for mail without a login"),
        (("--server", "in", "--from", "a\nb", "--to", "b"), "control character"),
        (("--server", "out", "--from", "a", "--to", "b"), "takes no mail without a login"),
        (("--server", "143", "--from", "a", "--to", "b"), "are SMTP's"),
        (("--server", "143", "--without", "IDLE"), "IMAP has no EHLO"),
        (("--server", "in", "--offers", " "), "must be a keyword"),
        (
            ("--server", "in", "--backend", "nothing"),
            "--backend nothing: neither a [backends] table nor an address",
        ),
        (("--server", "in", "--user", "a\nb"), "CR, LF or NUL"),
        (("--server", "in", "--live"), "--live needs a login"),
        (("--server", "in", "--live", "--user", "u"), "give --password-file"),
        (("--server", "in", "--live", "--user", "u", "--without", "AUTH"), "leave them out, or --live"),
    ],
)
def test_wrong_usage(file: Path, options: tuple[str, ...], complaint: str) -> None:
    result = run(file, ALL, *options)

    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""


def test_a_port_of_a_range_is_an_address_too(file: Path) -> None:
    text = ONE.replace("127.0.0.1:2525", "127.0.0.1:2525-2527").replace(
        "[mail]", '[mail]\nproxy_protocol = "on"'
    )

    found = shown(file, text, "--server", "127.0.0.1:2526")
    assert said(found)[0] == "PROXY TCP4 192.0.2.1 127.0.0.1 50000 2526"


def test_a_users_file_is_not_opened(file: Path) -> None:
    text = ONE.replace('auth_http = "http://127.0.0.1:9000/auth"', 'auth = "users"')
    text = text.replace("plain none", "plain") + '[auth.users]\nfile = "people"\ndefault = "postfix"\n'

    found = shown(file, text)
    assert found["notes"] == [
        f"the users file {file.parent / 'people'} chooses the backend; give --backend to see one"
    ]


def test_a_server_for_mail_alone_says_what_is_missing(file: Path) -> None:
    result = run(file, ONE.replace("plain none", "none"))

    assert result.exit_code == 2
    assert "give --from and --to" in result.stderr


def test_a_broken_configuration_shows_its_errors(file: Path) -> None:
    result = run(file, ONE.replace("smtp_auth", "smtp_outh"))

    assert result.exit_code == 1
    assert "unknown key" in result.stderr


def test_a_file_that_the_configuration_names_is_missing(file: Path) -> None:
    result = run(file, ALL.replace("tls =", 'tls_ca = "none.pem"\ntls ='), "--protocol", "imap")

    assert result.exit_code == 1
    assert "No such file" in result.stderr


@pytest.mark.parametrize(
    ("options", "note"),
    [
        (OUT, "192.0.2.2 is a placeholder for the address that the client connects to"),
        (
            ("--server", "in"),
            "http://127.0.0.1:9000/auth chooses the backend; give --backend to see one",
        ),
        (("--server", "in", "--backend", "postfix"), "this preview does not ask the auth service"),
        (
            ("--protocol", "imap", "--user", "u@example.org"),
            "sends u@example.org to 192.0.2.26:993 (dovecot)",
        ),
    ],
)
def test_notes_tell_what_is_not_real(file: Path, options: tuple[str, ...], note: str) -> None:
    assert note in "\n".join(shown(file, ALL, *options)["notes"])


def test_a_name_that_would_be_looked_up_is_not(file: Path) -> None:
    text = ONE.replace("[mail]", '[mail]\nresolver = "192.0.2.53"')

    assert any("--client-name" in note for note in shown(file, text)["notes"])
    assert not any("--client-name" in note for note in shown(file, text, "--client-name", "pc.test")["notes"])
