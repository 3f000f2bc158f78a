import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geomail.config.load import Inspection, inspect, sort_problems
from geomail.config.probe import probe, probe_files
from tests.servers.certificates import Certificates
from tests.servers.support import program

Inspect = Callable[[str], Inspection]

SERVER = """\
[mail]
auth_http = "http://127.0.0.1:9000"
[[mail.server]]
listen = "127.0.0.1:993 ssl"
"""


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs workers as another user")


def list_problems(found: Inspection) -> list[str]:
    assert found.problems == ()
    return [f"{problem.line} {problem.severity} {problem.key}: {problem.text}" for problem in probe(found)]


def tls(certificate: Path | str, key: Path | str, more: str = "") -> str:
    return f'{SERVER}ssl_certificate = "{certificate}"\nssl_certificate_key = "{key}"\n{more}'


@pytest.fixture
def unusable(tmp_path: Path, certificates: Certificates) -> dict[str, Path]:
    """Files that are neither a key nor a certificate."""
    text, encrypted = tmp_path / "text", tmp_path / "encrypted.key"
    text.write_text("not PEM\n")
    subprocess.run(
        [
            *(program("openssl"), "ec", "-aes128", "-passout", "pass:secret"),
            *("-in", certificates.server.key, "-out", encrypted),
        ],
        check=True,
        capture_output=True,
    )
    return {"text": text, "encrypted": encrypted, "missing": tmp_path / "missing", "folder": tmp_path}


def test_what_is_there_and_matches(inspect_text: Inspect, certificates: Certificates) -> None:
    server, client = certificates.server, certificates.client
    found = inspect_text(
        tls(server.certificate, server.key, 'ssl_ciphers = "ECDHE+AESGCM"\n')
        + f"""
        [backends.b]
        address = "127.0.0.1:143"
        tls = "starttls"
        tls_ca = "{certificates.ca.certificate}"
        tls_certificate = "{client.certificate}"
        tls_certificate_key = "{client.key}"
        """
    )

    assert list_problems(found) == []


def test_a_key_of_another_certificate(inspect_text: Inspect, certificates: Certificates) -> None:
    certificate, key = certificates.server.certificate, certificates.untrusted.key

    assert list_problems(inspect_text(tls(certificate, key))) == [
        "6 error mail.server[0].ssl_certificate_key: "
        f"the key '{key}' does not belong to the certificate '{certificate}' (key values mismatch)"
    ]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("missing", "cannot be read: No such file or directory"),
        ("folder", "cannot be read: Is a directory"),
        ("text", "holds no certificate in PEM"),
    ],
)
def test_a_certificate_that_is_none(
    inspect_text: Inspect, certificates: Certificates, unusable: dict[str, Path], file: str, reason: str
) -> None:
    (only,) = list_problems(inspect_text(tls(unusable[file], certificates.server.key)))

    assert only.startswith(f'5 error mail.server[0].ssl_certificate: "{unusable[file]}" {reason}')


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("missing", '"{}" cannot be read: No such file or directory'),
        ("text", "cannot load key '{}'"),
        ("encrypted", "'{}': the private key is encrypted; add ssl_password_file with its passphrase"),
    ],
)
def test_a_key_that_is_none(
    inspect_text: Inspect, certificates: Certificates, unusable: dict[str, Path], file: str, reason: str
) -> None:
    (only,) = list_problems(inspect_text(tls(certificates.server.certificate, unusable[file])))

    assert only.startswith(f"6 error mail.server[0].ssl_certificate_key: {reason.format(unusable[file])}")


def test_files_of_a_server_without_tls_are_not_looked_at(inspect_text: Inspect) -> None:
    assert list_problems(inspect_text(tls("/missing", "/missing").replace("993 ssl", "143"))) == []


def test_ciphers_that_openssl_does_not_know(inspect_text: Inspect, certificates: Certificates) -> None:
    server = certificates.server
    (only,) = list_problems(inspect_text(tls(server.certificate, server.key, 'ssl_ciphers = "BEST"')))

    assert only == "7 error mail.server[0].ssl_ciphers: 'BEST': OpenSSL has none of these ciphers"


@pytest.mark.parametrize(
    ("directive", "value", "reason"),
    [
        ("ssl_dhparam", "{missing}", "'{missing}' cannot be read: No such file or directory"),
        ("ssl_dhparam", "{text}", "'{text}' holds no usable DH parameters in PEM"),
        ("ssl_ecdh_curve", "X25519:nonsense", "'X25519:nonsense' is refused"),
        ("ssl_session_ticket_key", "{missing}", "'{missing}' cannot be read"),
        (
            "ssl_session_ticket_key",
            "{text}",
            "'{text}' must be 48 or 80 bytes: make it with openssl rand -out FILE 80",
        ),
        ("ssl_password_file", "{missing}", "'{missing}' cannot be read"),
    ],
)
def test_settings_that_openssl_refuses(
    inspect_text: Inspect,
    certificates: Certificates,
    unusable: dict[str, Path],
    directive: str,
    value: str,
    reason: str,
) -> None:
    server = certificates.server
    more = f'{directive} = "{value.format(**unusable)}"'
    lines = list_problems(inspect_text(tls(server.certificate, server.key, more)))

    assert lines
    assert lines[0].startswith(f"7 error mail.server[0].{directive}: {reason.format(**unusable)}")


@pytest.mark.parametrize("mode", ["off", "optional_no_ca"])
@pytest.mark.parametrize(
    ("directive", "value", "reason"),
    [
        ("ssl_crl", "{missing}", "'{missing}' cannot be read"),
        ("ssl_crl", "{text}", "'{text}' holds no revocation list in PEM"),
        ("ssl_trusted_certificate", "{text}", "'{text}' holds no certificate in PEM"),
        ("ssl_trusted_certificate", "{missing}", "'{missing}' cannot be read"),
        ("ssl_client_certificate", "{missing}", "'{missing}' cannot be read"),
    ],
)
def test_files_for_clients_certificates_count_where_clients_are_verified(
    inspect_text: Inspect,
    certificates: Certificates,
    unusable: dict[str, Path],
    mode: str,
    directive: str,
    value: str,
    reason: str,
) -> None:
    server = certificates.server
    more = f'{directive} = "{value.format(**unusable)}"\nssl_verify_client = "{mode}"'
    lines = [str(problem) for problem in probe(inspect_text(tls(server.certificate, server.key, more)))]

    assert bool(lines) == (mode != "off")
    assert all(f"{directive}: {reason.format(**unusable)}" in line for line in lines)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", []),
        ("ssl_session_timeout = 300", ["7 warning ssl_session_timeout: this has no effect"]),
        ('proxy_protocol = "v2"', ["7 warning proxy_protocol: a header of version 2 names neither"]),
        ('proxy_protocol = "on"', []),
        ("ssl_session_tickets = false", ["7 error ssl_session_tickets: needs a Python whose ssl module is"]),
        ('ssl_session_cache = "builtin"', ["7 error ssl_session_cache: needs a Python whose ssl module is"]),
        ('ssl_ecdh_curve = "X25519"', ["7 error ssl_ecdh_curve: needs a Python whose ssl module is"]),
        ('ssl_verify_client = "optional_no_ca"', ["7 error ssl_verify_client: needs a Python whose ssl"]),
        ('ssl_conf_command = { Options = "x" }', ["7 error ssl_conf_command: needs a Python whose ssl"]),
    ],
)
def test_where_libssl_is_out_of_reach(
    inspect_text: Inspect,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    more: str,
    told: list[str],
) -> None:
    monkeypatch.setattr("geomail.net.openssl.binding._load", lambda: None)
    server = certificates.server
    lines = [
        line.replace("mail.server[0].", "")
        for line in list_problems(inspect_text(tls(server.certificate, server.key, more)))
    ]

    alpn = (
        "5 warning ssl_certificate: geomail also serves a client whose ALPN names only other protocols, as "
        "the ssl module of this Python is not linked to OpenSSL 3 as a shared library; use another Python"
    )
    assert [line for line in lines if not any(line.startswith(start) for start in told)] == [alpn]
    assert len(lines) == len(told) + 1


def test_a_command_that_openssl_does_not_know(inspect_text: Inspect, certificates: Certificates) -> None:
    server = certificates.server
    (only,) = list_problems(
        inspect_text(tls(server.certificate, server.key, 'ssl_conf_command = { Nonsense = "x" }'))
    )

    assert only.startswith("7 error mail.server[0].ssl_conf_command: 'Nonsense', 'x' is refused")


def test_everything_that_is_wrong_with_tls_is_told_at_once(
    inspect_text: Inspect, certificates: Certificates, unusable: dict[str, Path]
) -> None:
    found = inspect_text(
        tls(
            unusable["missing"],
            certificates.server.key,
            f"""
            ssl_client_certificate = "{unusable["missing"]}"
            ssl_verify_client = "optional"
            ssl_ciphers = "BEST"
            ssl_ecdh_curve = "nonsense"
            ssl_session_ticket_key = "{unusable["text"]}"
            """,
        )
    )
    keys = {problem.key.rpartition(".")[2] for problem in probe(found)}

    assert keys == {
        "ssl_certificate",
        "ssl_client_certificate",
        "ssl_ciphers",
        "ssl_ecdh_curve",
        "ssl_session_ticket_key",
    }


def test_a_key_that_the_password_file_opens(
    inspect_text: Inspect, certificates: Certificates, unusable: dict[str, Path], tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    configuration = tls(
        certificates.server.certificate, unusable["encrypted"], f'ssl_password_file = "{passwords}"'
    )
    passwords.write_text("wrong\nsecret\n")
    assert list_problems(inspect_text(configuration)) == []

    passwords.write_text("wrong\n")
    (only,) = list_problems(inspect_text(configuration))
    assert only.startswith(
        "6 error mail.server[0].ssl_certificate_key: no line of ssl_password_file is the passphrase of"
    )


def test_certificates_that_stand_in_the_configuration(
    inspect_text: Inspect, certificates: Certificates
) -> None:
    certificate, key = certificates.server.certificate.read_text(), certificates.server.key.read_text()
    files = f"ssl_certificate = '''data:{certificate}'''\nssl_certificate_key = '''data:{key}'''\n"

    assert list_problems(inspect_text(SERVER + files)) == []
    (only,) = list_problems(inspect_text(SERVER + files.replace("PRIVATE", "PUBLIC")))
    assert "data:…" in only
    assert key.splitlines()[1] not in only


def test_ca_files(inspect_text: Inspect, unusable: dict[str, Path]) -> None:
    found = inspect_text(
        f"""\
[mail]
auth_http = "https://127.0.0.1"
auth_http_ca = "{unusable["text"]}"
[[mail.server]]
listen = "127.0.0.1:143"
[backends.b]
address = "127.0.0.1:1143"
tls = "implicit"
tls_ca = "{unusable["missing"]}"
tls_certificate = "{unusable["missing"]}"
"""
    )

    missing = f'"{unusable["missing"]}" cannot be read: No such file or directory'
    assert [line.partition(" (")[0] for line in list_problems(found)] == [
        f'3 error mail.auth_http_ca: "{unusable["text"]}" holds no certificate in PEM',
        f"9 error backends.b.tls_ca: {missing}",
        f"10 error backends.b.tls_certificate: {missing}",
    ]


def test_what_is_wrong_otherwise_does_not_stop_it(inspect_text: Inspect) -> None:
    found = inspect_text(tls("/missing", "/missing", "timeout = 0"))

    assert found.config is None
    assert [problem.key for problem in probe(found)] == [
        "mail.server[0].ssl_certificate",
        "mail.server[0].ssl_certificate_key",
    ]
    assert probe(inspect_text("not TOML")) == []


def test_names_that_nginx_needs(inspect_text: Inspect) -> None:
    found = inspect_text(
        """\
[mail]
auth_http = "127.0.0.1:9000"
resolver = "dns.invalid"
set_real_ip_from = ["10.0.0.0/8", "proxy.invalid", "unix:"]
[[mail.server]]
listen = "mail.invalid:143"
"""
    )

    lines = [f"{problem.line} {problem.severity} {problem.key}: {problem.text}" for problem in probe(found)]
    assert [line.partition(" now: ")[0] for line in lines] == [
        '6 error mail.server[0].listen[0]: "mail.invalid" cannot be resolved',
        '3 error mail.resolver: "dns.invalid" cannot be resolved',
        '4 error mail.set_real_ip_from: "proxy.invalid" cannot be resolved',
    ]


TAKEN = """\
[mail]
auth_http = "127.0.0.1:9000"
[[mail.server]]
listen = ["localhost:143", "127.0.0.1:1110", "localhost:1143"]
[[mail.server]]
protocol = "imap"
listen = ["127.0.0.1:140-150", "LOCALHOST:1144"]
"""


def test_addresses_that_names_make_the_same(inspect_text: Inspect) -> None:
    assert list_problems(inspect_text(TAKEN)) == [
        "7 error mail.server[1].listen[0]: 127.0.0.1:143 is the same as localhost:143 in line 4; remove one"
    ]


FOREIGN = """\
[mail]
auth_http = "127.0.0.1:9000"
[[mail.server]]
listen = ["192.0.2.1:143", "*:143", "[::]:143", "[2001:db8::1]:143", "127.0.0.1:143", "unix:/run/imap",
    "[::ffff:127.0.0.1]:143", "[::ffff:127.0.0.1]:144 ipv6only=off"]
[metrics]
listen = "192.0.2.1:9197"
"""


def test_addresses_of_other_machines(inspect_text: Inspect) -> None:
    found = inspect_text(FOREIGN)

    assert [f"{problem.severity} {problem.key}: {problem.text}" for problem in probe(found)] == [
        "error mail.server[0].listen[0]: 192.0.2.1 is not an address of this machine; use one that is",
        "error mail.server[0].listen[3]: 2001:db8::1 is not an address of this machine; use one that is",
        "error mail.server[0].listen[6]: ::ffff:127.0.0.1 cannot be listened on: Invalid argument; "
        "use another address",
        "error metrics.listen: 192.0.2.1 is not an address of this machine; use one that is",
    ]
    assert probe_files(found) == []


def test_sockets_that_cannot_be_made(inspect_text: Inspect, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "old"))
    lines = 'protocol = "imap"\nlisten = ["unix:new", "unix:old", "unix:file", "unix:gone/new"]'

    assert list_problems(inspect_text(NAMELESS.replace('listen = "127.0.0.1:143"', lines))) == [
        f'5 error mail.server[0].listen[2]: "{tmp_path}/file" exists and is not a socket; '
        "remove it, or use another path",
        f'5 error mail.server[0].listen[3]: there is no folder "{tmp_path}/gone"; create it',
    ]


@only_root
@pytest.mark.parametrize(
    ("user", "reasons"),
    [
        ("nobody", []),
        ("nobody:nogroup", []),
        ("nosuchuser", ['user "nosuchuser"']),
        ("nosuchuser:nosuchgroup", ['user "nosuchuser"', 'group "nosuchgroup"']),
        ("nobody:nosuchgroup", ['group "nosuchgroup"']),
        ("", ['user ""']),
        ("0", ['user "0"']),
    ],
)
def test_users_who_are_none(inspect_text: Inspect, user: str, reasons: list[str]) -> None:
    assert list_problems(inspect_text(f'user = "{user}"\n{NAMELESS}')) == [
        f"1 error user: there is no {reason}; create it, or use another" for reason in reasons
    ]


def test_a_user_does_not_matter_where_nobody_can_become_one(
    inspect_text: Inspect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert list_problems(inspect_text(f'user = "nosuchuser"\n{NAMELESS}')) == []


NAMELESS = """\
[mail]
auth_http = "127.0.0.1:9000"
[[mail.server]]
listen = "127.0.0.1:143"
"""


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('[log]\ntarget = "stderr"', ""),
        ('[log]\ntarget = "syslog:/gone/log"', ""),
        ('[log]\ntarget = "new.log"', ""),
        (
            '[log]\ntarget = "gone/log"',
            'error log.target: "FOLDER/gone/log" cannot be written: '
            'there is no folder "FOLDER/gone"; create it',
        ),
        (
            '[log]\ntarget = "."',
            'error log.target: "FOLDER" cannot be written: it is a folder; use the path of a file',
        ),
        (
            '[log]\ntarget = "closed"',
            'error log.target: "FOLDER/closed" cannot be written: '
            "permission denied; change its mode or owner",
        ),
        (
            '[control]\ngroup = "nosuchgroup"',
            'error control.group: there is no group "nosuchgroup"; create it, or use another',
        ),
        ('[control]\nsocket = "off"\ngroup = "nosuchgroup"', ""),
        ('[control]\nsocket = "new.sock"', ""),
        (
            '[control]\nsocket = "gone/sock"',
            'warning control.socket: the folder "FOLDER/gone" does not exist now, '
            "and geomail does not create it",
        ),
    ],
)
def test_what_processes_write_and_open(
    inspect_text: Inspect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, told: str
) -> None:
    (tmp_path / "closed").touch()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "closed")
    found = list_problems(inspect_text(f"{NAMELESS}{lines}\n"))

    assert [line.partition(" ")[2] for line in found] == (
        [told.replace("FOLDER", str(tmp_path))] if told else []
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["closed", "geomail.toml"]


NAMES = """\
[mail]
auth_http = "http://auth.invalid"
[[mail.server]]
listen = ["127.0.0.1:143", "localhost:1143"]
[backends.b]
address = "imap.invalid:143"
[backends.c]
address = "127.0.0.1:143"
[backends.d]
address = "unix:/run/x"
"""


def test_names_that_do_not_resolve(inspect_text: Inspect) -> None:
    found = inspect_text(NAMES)

    lines = [line.partition(" now: ")[0] for line in list_problems(found)]
    assert lines == [
        '2 error mail.auth_http: "auth.invalid" cannot be resolved',
        '6 warning backends.b.address: "imap.invalid" cannot be resolved',
    ]
    assert probe_files(found) == []


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that does not answer, and a shorter time limit."""

    def wait(*_args: object, **_options: object) -> list[object]:
        time.sleep(20)
        return []

    monkeypatch.setattr("socket.getaddrinfo", wait)
    monkeypatch.setattr("geomail.config.probe.addresses.RESOLVE_TIME", 0.2)


@pytest.mark.usefixtures("silent_resolver")
def test_a_silent_resolver_does_not_hold_it_up(inspect_text: Inspect) -> None:
    started = time.monotonic()
    lines = list_problems(inspect_text(NAMES))

    assert time.monotonic() - started < 10
    assert [line.rpartition(": ")[2] for line in lines] == [
        "no answer within 0.2 seconds; check the name and the DNS"
    ] * 3


def test_a_name_that_no_resolver_can_ask_for(inspect_text: Inspect) -> None:
    (only,) = list_problems(
        inspect_text(SERVER.replace("993 ssl", "143").replace("//127.0.0.1", f"//{'x' * 70}.invalid"))
    )

    assert "cannot be resolved now" in only


USERS = """\
[mail]
auth = "users"
[[mail.server]]
listen = "127.0.0.1:143"
[backends.b]
address = "127.0.0.1:1143"
[auth.users]
file = "users"
"""
ANN = "ann:$2y$05$uZG.IlXfHUgW2xp5isOtr.40.2HsMNPQkMV9MUNwXOiADoIXkvp7K:backend=b\n"


#: The end of a message about what the workers' user may not do.
DENIED = "Permission denied; change its mode or owner"


def users_file(folder: Path, text: str, mode: int) -> Path:
    file = folder / "users"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_users_who_can_be_read(inspect_text: Inspect, tmp_path: Path) -> None:
    users_file(tmp_path, ANN, 0o640)

    assert list_problems(inspect_text(USERS)) == []


def test_no_users_file(inspect_text: Inspect, tmp_path: Path) -> None:
    assert list_problems(inspect_text(USERS)) == [
        f'8 error auth.users.file: "{tmp_path}/users" cannot be read: No such file or directory'
    ]


def test_a_users_file_that_nobody_asks_for(inspect_text: Inspect) -> None:
    found = inspect_text(USERS.replace('auth = "users"', 'auth_http = "127.0.0.1:9000"'))

    assert probe(found) == []


def test_users_are_told_by_their_lines_in_their_file(inspect_text: Inspect, tmp_path: Path) -> None:
    file = users_file(tmp_path, f"{ANN}bob:s3cret\n{ANN}", 0o640)

    problems = [*inspect_text(USERS).problems, *probe(inspect_text(USERS))]
    assert [str(problem) for problem in problems] == [
        f"{file}:2: error: bob: this is not a password hash that geomail can verify, or not a complete one; "
        "make one with geomail hash-password",
        f"{file}:3: error: ann: is given twice; the first is in line 1; remove one",
    ]


def test_problems_of_two_files_do_not_mix(inspect_text: Inspect, tmp_path: Path) -> None:
    file = users_file(tmp_path, f"bob:x\n{ANN}", 0o644)
    found = inspect_text(USERS.replace("[mail]", "[mail]\nmax_errors = 0"))

    problems = sort_problems([*found.problems, *probe(found)])
    assert [(problem.file, problem.line) for problem in problems] == [
        (found.source.file, 2),
        (found.source.file, 9),
        (str(file), 1),
    ]


def test_a_backend_that_is_wrong_is_no_fault_of_users(inspect_text: Inspect, tmp_path: Path) -> None:
    users_file(tmp_path, ANN, 0o640)

    assert probe(inspect_text(USERS.replace("127.0.0.1:1143", "127.0.0.1"))) == []


OLD_TLS = """\
[mail]
auth_http = "http://127.0.0.1:9"
ssl_certificate = "{certificate}"
ssl_certificate_key = "{key}"
{options}
[[mail.server]]
protocol = "imap"
listen = "127.0.0.1:14993 ssl"
"""


@pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO < (3,), reason="older versions speak it at level 1 as well")
@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ('ssl_protocols = ["TLSv1", "TLSv1.1", "TLSv1.2"]', "TLSv1 and TLSv1.1"),
        ('ssl_protocols = "TLSv1.1 TLSv1.2"', "TLSv1.1"),
        ('ssl_protocols = "TLSv1.1"\nssl_ciphers = "HIGH:@SECLEVEL=1"', "TLSv1.1"),
        ('ssl_protocols = "TLSv1.1"\nssl_ciphers = "HIGH:@SECLEVEL=0"', ""),
        ('ssl_protocols = "TLSv1"\nssl_conf_command = { CipherString = "DEFAULT@SECLEVEL=0" }', ""),
        ('ssl_protocols = "TLSv1.2 TLSv1.3"', ""),
        ('ssl_protocols = "TLSv1"\nssl_ciphers = "nonsense"', ""),
    ],
    ids=repr,
)
def test_an_old_tls_that_no_client_can_use(
    inspect_text: Inspect, certificates: Certificates, options: str, idle: str
) -> None:
    files = {"certificate": certificates.server.certificate, "key": certificates.server.key}
    problems = probe(inspect_text(OLD_TLS.format(options=options, **files)))
    told = [problem for problem in problems if "OpenSSL 3" in problem.text]

    assert len(told) == bool(idle)
    for problem in told:
        assert (problem.severity, problem.key, problem.line) == ("warning", "mail.ssl_protocols", 5)
        assert problem.text.startswith(f"{idle}: no client can use it")
        assert "add @SECLEVEL=0 to ssl_ciphers" in problem.text


def test_hashes_that_everybody_can_read(inspect_text: Inspect, tmp_path: Path) -> None:
    file = users_file(tmp_path, ANN, 0o644)

    assert list_problems(inspect_text(USERS)) == [
        f'8 warning auth.users.file: every account on this machine can read "{file}", '
        "and its hashes help an attacker guess passwords; use mode 0640"
    ]


@only_root
@pytest.mark.parametrize(
    ("user", "owner", "group", "mode", "closed"),
    [
        ("nobody", "root", "root", 0o640, True),
        ("nobody", "root", "root", 0o600, True),
        ("nobody", "root", "nogroup", 0o640, False),
        ("nobody", "root", "nogroup", 0o600, True),
        ("nobody", "nobody", "root", 0o600, False),
        ("nobody", "nobody", "root", 0o040, True),
        ("nobody:mail", "root", "mail", 0o640, False),
        ("nobody:mail", "root", "nogroup", 0o640, True),
        ("root", "nobody", "nogroup", 0o000, False),
    ],
)
def test_whom_workers_run_as_must_be_able_to_read(
    inspect_open: Inspect, open_folder: Path, user: str, owner: str, group: str, mode: int, closed: bool
) -> None:
    file = users_file(open_folder, ANN, mode)
    shutil.chown(file, owner, group)

    told = list_problems(inspect_open(f'user = "{user}"\n{USERS}'))
    text = f'nobody, the user of the workers, cannot read "{file}": {DENIED}'
    assert told == ([f"9 error auth.users.file: {text}"] if closed else [])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike the folders of pytest."""
    with tempfile.TemporaryDirectory(prefix="geomail-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def inspect_open(open_folder: Path) -> Inspect:
    """A function that checks a configuration in that folder."""

    def read(text: str) -> Inspection:
        file = open_folder / "geomail.toml"
        file.write_text(text)
        return inspect(file)

    return read


@only_root
def test_a_folder_on_the_way_to_the_users_file_counts(inspect_open: Inspect, open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    shutil.chown(users_file(closed, ANN, 0o600), "nobody")

    [told] = list_problems(
        inspect_open('user = "nobody"\n' + USERS.replace('file = "users"', 'file = "closed/users"'))
    )
    assert f'nobody, the user of the workers, cannot read "{closed}/users": {DENIED}' in told


@only_root
@pytest.mark.parametrize(("mode", "closed"), [(0o755, False), (0o711, False), (0o700, True)])
def test_the_log_must_be_within_reach_when_it_is_opened_again(
    inspect_open: Inspect, open_folder: Path, mode: int, closed: bool
) -> None:
    folder = open_folder / "logs"
    folder.mkdir()
    folder.chmod(mode)
    told = list_problems(inspect_open(f'user = "nobody"\nlog.target = "{folder}/log"\n{NAMELESS}'))
    text = f'nobody, the user of the workers, cannot open "{folder}/log" again: {DENIED}'
    assert told == ([f"2 error log.target: {text}"] if closed else [])


@only_root
@pytest.mark.parametrize(("mode", "closed"), [(0o666, False), (0o600, True)])
def test_syslog_must_let_in_whom_workers_run_as(
    inspect_open: Inspect, open_folder: Path, mode: int, closed: bool
) -> None:
    path = open_folder / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        path.chmod(mode)
        told = list_problems(inspect_open(f'user = "nobody"\nlog.target = "syslog:{path}"\n{NAMELESS}'))
    text = f'nobody, the user of the workers, cannot connect again to syslog at "{path}": {DENIED}'
    assert told == ([f"2 error log.target: {text}"] if closed else [])


@only_root
def test_root_without_an_account_for_workers(inspect_text: Inspect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geomail.privileges._USUAL", ("geomail-no-such", "nobody"))
    assert list_problems(inspect_text(NAMELESS)) == [
        "0 warning user: is not set, and there is no account geomail, so workers run as nobody; "
        "create that account (useradd --system geomail), or set user"
    ]
    assert list_problems(inspect_text(f'user = "root"\n{NAMELESS}')) == []
