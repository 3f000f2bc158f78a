import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from geomail.config.load import DEFAULT_PATH, Inspection, examine, find_config, load
from geomail.config.schema import Address, Listen, NameServers, Server
from geomail.errors import ConfigError, Problem

Inspect = Callable[[str], Inspection]

AUTH = 'auth_http = "http://127.0.0.1:9000/auth"\n'


def get_servers(found: Inspection) -> tuple[Server, ...]:
    assert found.config is not None, "\n".join(map(str, found.problems))
    return found.config.servers


def list_problems(found: Inspection) -> list[tuple[int, str, str]]:
    """Return line, key and text of each problem."""
    return [(problem.line, problem.key, problem.text) for problem in found.problems]


def test_a_server_takes_from_mail_what_it_does_not_set(inspect_text: Inspect) -> None:
    found = inspect_text(
        f"""
        [mail]
        {AUTH}
        timeout = "2m"
        max_errors = 7
        imap_capabilities = ["IMAP4rev1", "IDLE"]
        smtp_auth = "plain cram-md5"
        auth_http_header = {{ X-One = "1", X-Two = "2" }}
        [[mail.server]]
        listen = "127.0.0.1:143"
        timeout = "10s"
        imap_capabilities = ["UIDPLUS"]
        [[mail.server]]
        listen = "127.0.0.1:587"
        imap_capabilities = []
        auth_http_header = [["X-Three", "3"]]
        """
    )

    first, second = get_servers(found)
    assert (first.timeout, second.timeout) == (10, 120)
    assert (first.max_errors, second.max_errors) == (7, 7)
    assert (first.max_commands, second.max_commands) == (1000, 1000)
    assert (first.imap_capabilities, second.imap_capabilities) == (("UIDPLUS",), ())
    assert (first.smtp_auth, second.smtp_auth) == (("plain", "cram-md5"), ("plain", "cram-md5"))
    assert first.auth_http_header == (("X-One", "1"), ("X-Two", "2"))
    assert second.auth_http_header == (("X-Three", "3"),)


@pytest.mark.parametrize(
    ("listen", "protocol"),
    [
        ('"127.0.0.1:143"', "imap"),
        ('"127.0.0.1:993 ssl"', "imap"),
        ('"127.0.0.1:110"', "pop3"),
        ('"127.0.0.1:995 ssl"', "pop3"),
        ('"127.0.0.1:25"', "smtp"),
        ('"127.0.0.1:465 ssl"', "smtp"),
        ('"127.0.0.1:587"', "smtp"),
        ('["127.0.0.1:2500", "unix:/x", "127.0.0.1:110", "127.0.0.1:143"]', "pop3"),
        ('"127.0.0.1:2500"\nprotocol = "smtp"', "smtp"),
        ('"127.0.0.1:143"\nprotocol = "smtp"', "smtp"),
    ],
)
def test_the_first_known_port_tells_the_protocol(inspect_text: Inspect, listen: str, protocol: str) -> None:
    text = (
        f'[mail]\n{AUTH}ssl_certificate = "c"\nssl_certificate_key = "k"\n[[mail.server]]\nlisten = {listen}'
    )

    assert [server.protocol for server in get_servers(inspect_text(text))] == [protocol]


@pytest.mark.parametrize("port", [993, 995, 465])
def test_no_port_switches_tls_on(inspect_text: Inspect, port: int) -> None:
    (server,) = get_servers(inspect_text(f'[mail]\n{AUTH}[[mail.server]]\nlisten = "127.0.0.1:{port}"'))

    assert server.listen == (Listen("127.0.0.1", port, ssl=False),)


@pytest.mark.parametrize(
    ("mail", "server", "source"),
    [
        (AUTH, "", "http"),
        ("", AUTH, "http"),
        (AUTH, 'auth = "http"', "http"),
        ('auth = "http"\n' + AUTH, "", "http"),
        ('auth = "passthrough"', "", "passthrough"),
        (AUTH, 'auth = "passthrough"', "passthrough"),
        ('auth = "passthrough"', AUTH, "http"),
        ('auth = "passthrough"', 'auth = "http"\n' + AUTH, "http"),
    ],
)
def test_the_nearest_level_says_who_is_asked(
    inspect_text: Inspect, mail: str, server: str, source: str
) -> None:
    found = inspect_text(
        f'[mail]\n{mail}\n[[mail.server]]\nlisten = "127.0.0.1:143"\n{server}\n'
        '[auth.passthrough]\ndefault = "b"\n[backends.b]\naddress = "127.0.0.1:1143"'
    )

    (only,) = get_servers(found)
    assert only.auth == source
    assert (only.auth_http is None) == (source == "passthrough")


def test_names_default_to_what_is_there(inspect_text: Inspect) -> None:
    (server,) = get_servers(
        inspect_text(f'[mail]\n{AUTH}[[mail.server]]\nlisten = ["[::1]:143", "127.0.0.1:143"]')
    )

    assert server.name == "[::1]:143"
    assert server.server_name == os.uname().nodename.lower()


def test_paths_start_in_the_folder_of_the_file(inspect_text: Inspect, tmp_path: Path) -> None:
    found = inspect_text(
        """
        [mail]
        auth_http = "unix:auth.sock:/auth"
        ssl_certificate = ["mail.crt", "/etc/mail.crt"]
        ssl_certificate_key = ["keys/mail.key", "/etc/mail.key"]
        auth_http_ca = "ca.pem"
        [[mail.server]]
        protocol = "imap"
        listen = "unix:imap.sock"
        [backends.b]
        address = "unix:dovecot.sock"
        tls = "implicit"
        tls_name = "imap"
        tls_ca = "backend-ca.pem"
        """
    )

    (server,) = get_servers(found)
    assert server.ssl_certificate == (f"{tmp_path}/mail.crt", "/etc/mail.crt")
    assert server.ssl_certificate_key == (f"{tmp_path}/keys/mail.key", "/etc/mail.key")
    assert server.auth_http_ca == f"{tmp_path}/ca.pem"
    assert server.auth_http is not None
    assert server.auth_http.path == f"{tmp_path}/auth.sock"
    assert server.listen[0].path == f"{tmp_path}/imap.sock"
    assert found.config is not None
    backend = found.config.backends["b"]
    assert backend.name == "b"
    assert backend.address == Address(path=f"{tmp_path}/dovecot.sock")
    assert backend.tls_ca == f"{tmp_path}/backend-ca.pem"


def test_a_relative_file_is_found_from_where_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "geomail.toml").write_text(
        f'[mail]\n{AUTH}ssl_certificate = "c"\n[[mail.server]]\nlisten = "127.0.0.1:143"'
    )
    monkeypatch.chdir(tmp_path)

    assert load(Path("geomail.toml")).servers[0].ssl_certificate == (f"{tmp_path}/c",)


def test_all_mistakes_are_told_at_once(inspect_text: Inspect) -> None:
    found = inspect_text(
        """\
wrokers = 2
[mail]
auth_http = "http://127.0.0.1:9000"
timeuot = "24h"
xclient = "maybe"
listen = "127.0.0.1:1"
max_errors = -1
proxy_pass_error_message = "yes"
[[mail.server]]
protocol = "smpt"
listen = [
  "127.0.0.1:587",
  "127.0.0.1:99999",
]
smtp_auth = "plain foo"
imap_client_buffer = "1g"
[backends.b]
adress = "127.0.0.1:143"
tls = "startls"
[bakends.c]
"""
    )

    assert found.config is None
    assert list_problems(found) == [
        (1, "wrokers", "unknown key; did you mean workers?"),
        (4, "mail.timeuot", "unknown key; did you mean timeout?"),
        (5, "mail.xclient", 'must be on, off or auto, not "maybe"'),
        (6, "mail.listen", "does not belong in [mail]; move it to [metrics] or [[mail.server]]"),
        (7, "mail.max_errors", "must be a whole number, 0 or more, not -1"),
        (8, "mail.proxy_pass_error_message", 'must be true, false, "on" or "off", not "yes"'),
        (10, "mail.server[0].protocol", 'must be smtp, imap or pop3, not "smpt"; did you mean smtp?'),
        (
            13,
            "mail.server[0].listen[1]",
            '"127.0.0.1:99999": the port must be a number from 0 to 65535, not "99999"',
        ),
        (
            15,
            "mail.server[0].smtp_auth[1]",
            'must be plain, login, cram-md5, external or none, not "foo"',
        ),
        (
            16,
            "mail.server[0].imap_client_buffer",
            'must be a number of bytes, or text such as "8k" or "1m", not "1g"',
        ),
        (18, "backends.b.adress", "unknown key; did you mean address?"),
        (
            19,
            "backends.b.tls",
            'must be off, implicit or starttls, not "startls"; did you mean starttls?',
        ),
        (20, "bakends", "unknown key; did you mean backends?"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "key", "said"),
    [
        ("[mail]\ntimeout = 60s", 2, "timeout", "put words, times, sizes and addresses in quotes"),
        ("[mail]\nxclient = on\n", 2, "xclient", "put words, times, sizes and addresses in quotes"),
        ("[mail]\nlisten = 0.0.0.0:25\n", 2, "listen", "put words, times, sizes and addresses in quotes"),
        (
            "[mail]\ntimeout = 1\ntimeout = 2\n",
            3,
            "timeout",
            "is given twice in this table; remove one of the two",
        ),
        ("[mail]\n\n[mail]\n", 3, "", "is declared twice; put all its keys under one header"),
        ("[[mail.server]]\n[mail.server]\n", 2, "", "start each server with [[mail.server]]"),
        (
            '[mail]\nserver_name = "mail\n',
            2,
            "server_name",
            "a text must end on its line; add the missing quote",
        ),
        ("mail {\n", 1, "", 'must be key = value, such as timeout = "60s"'),
        ("include foo.toml\n", 1, "", 'must be key = value, such as timeout = "60s"'),
        ('a = "\\q"\n', 1, "a", "write a backslash in a text as"),
        ('[mail]\na = """x\n\n', 3, "", "add the closing quotes"),
        ("[mail\n", 1, "", "Expected ']' at the end of a table declaration"),
        ("a = " + "9" * 5000, 1, "a", "4300"),
    ],
)
def test_broken_toml(inspect_text: Inspect, text: str, line: int, key: str, said: str) -> None:
    found = inspect_text(text)

    assert found.config is None
    ((found_line, found_key, found_text),) = list_problems(found)
    assert (found_line, found_key) == (line, key)
    assert said in found_text
    assert "(at " not in found_text


def test_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    file = tmp_path / "geomail.toml"
    file.write_bytes(b"[mail]\n# gr\xfc\xdfe\n")

    config, (problem,) = examine(file)

    assert config is None
    assert (problem.line, problem.text) == (2, "this line is not valid UTF-8; save the file as UTF-8")


def test_a_mark_of_byte_order_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "geomail.toml"
    file.write_bytes(
        b"\xef\xbb\xbf[mail]\r\n" + AUTH.encode() + b'[[mail.server]]\r\nlisten = "127.0.0.1:143"\r\n'
    )

    assert load(file).servers[0].protocol == "imap"


@pytest.mark.parametrize(
    ("name", "reason"), [("missing.toml", "No such file or directory"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / name)
    (problem,) = refused.value.problems
    assert str(problem) == f"{tmp_path / name}: error: cannot be read: {reason}"


def test_load_raises_everything_that_was_found(tmp_path: Path) -> None:
    file = tmp_path / "geomail.toml"
    file.write_text("[mail]\ntimeout = 0\n[[mail.server]]\nmax_errors = 0\n")

    with pytest.raises(ConfigError) as refused:
        load(file)

    assert [(problem.line, problem.severity) for problem in refused.value.problems] == [
        (2, "error"),  # timeout
        (3, "error"),  # no listen
        (3, "error"),  # nobody is asked
        (4, "warning"),
    ]
    assert f"{file}:2: error: mail.timeout: must be more than 0" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mail = 3", "must be a table, not 3"),
        ("[mail]\nserver = 3", "must be an array [ … ], not 3"),
        ("[mail.server]\nprotocol = 'imap'", "double brackets"),
        ("[mail]\nserver = [3]", "must be a table, not 3"),
        ("[[mail]]\n", "must be a table, not an array"),
        ("[[server]]\n", "does not belong at the top of the file; move it to [mail]"),
        ("backends = 3", "must be a table, not 3"),
        ("[backends]\nb = 3", "must be a table, not 3"),
        ("[backends.'a b']\naddress = '127.0.0.1:1'", "is not a valid name of a backend"),
        (
            "[backends.b]\naddress = '127.0.0.1:1'\nname = 'c'",
            "a backend has its name from its table, [backends.b]; remove the key name",
        ),
        ("[backends.b]\n", "the backend has no address"),
        ("[backends.b]\naddress = 143", "must be an address such as"),
        ("[backends.b]\naddress = '127.0.0.1'", "has no port"),
        ("[auth]\nfoo = 1", "unknown key; allowed: passthrough"),
        ("[auth.passthrough]\ndomains = { '@example.org' = 'b' }", "is not a domain"),
        ("[auth.passthrough]\nusers = { joe = 3 }", "must be text in quotes, not 3"),
        ("[mail]\nserver_name = 'a b'", "must be a host name without spaces"),
        ("[mail]\nserver_name = 3", "must be text in quotes, not 3"),
        ("[mail]\nresolver = '192.0.2.1:x'", 'the port must be a number from 1 to 65535, not "x"'),
        ("[mail]\nresolver = [53]", "must be IP addresses or host names, such as"),
        ("[mail]\nresolver = true", "must be IP addresses or host names, such as"),
        ("[mail]\nresolver = 'unix:/run/dns'", "must be an IP address or a host name, not a Unix socket"),
        ("[mail]\nresolver = 'valid=30s'", "names no DNS server; add its address"),
        ("[mail]\nresolver = '192.0.2.1 valid=x'", "valid: must be a number of seconds"),
        ("[mail]\nresolver = '192.0.2.1 valid=500ms'", "y M w d h m s"),
        ("[mail]\nresolver = '192.0.2.1 ipv4=off ipv6=off'", "ipv4 and ipv6 must not both be off"),
        ("[mail]\nresolver = '192.0.2.1 ipv6=no'", 'ipv6: must be true, false, "on" or "off", not "no"'),
        ("[mail]\nresolver = '192.0.2.1 status_zone=x'", "is not a parameter of resolver"),
        ("[mail]\nset_real_ip_from = '10.0.0.1/33'", "is not a network"),
        ("[mail]\nset_real_ip_from = '10.0.0.0/255.0.0.0'", "is not a network"),
        ("[mail]\nset_real_ip_from = '10.0.0'", "is not an IPv4 address"),
        ("[mail]\nset_real_ip_from = 'a b'", "is neither an IP address nor a host name"),
        ("[mail]\nsmtp_auth = []", "must have at least one word"),
        ("[mail]\npop3_auth = 'login'", "must be plain, apop, cram-md5 or external, not"),
        ("[mail]\nimap_auth = 'apop'", "must be plain, login, cram-md5 or external, not"),
        ("[mail]\nsmtp_capabilities = 'SIZE DSN'", "must be an array with one text for each capability"),
        ('[mail]\nsmtp_capabilities = ["SIZE\\r\\n250 X"]', "must not hold CR, LF or NUL"),
        ("[mail]\nssl_protocols = 'SSLv4'", "must be SSLv2, SSLv3, TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3, not"),
        ("[mail]\nssl_certificate = ''", 'must be the name of a file, not ""'),
        ("[mail]\nssl_certificate_key = 'engine:pkcs11:x'", "engine: is not supported"),
        ("[mail]\nssl_certificate_key = 'store:pkcs11:x'", "store: is not supported"),
        ("[mail]\nssl_crl = 'data:x'", "data: is not supported"),
        ("[mail]\nssl_ecdh_curve = ''", "must have at least one character"),
        ("[mail]\nssl_verify_client = 'yes'", "must be off, on, optional or optional_no_ca, not"),
        ("[mail]\nssl_verify_depth = '-1'", 'must be a whole number, 0 or more, not "-1"'),
        ("[mail]\nssl_session_timeout = '500ms'", "y M w d h m s"),
        ("[mail]\nssl_session_timeout = 0", "must be more than 0, not 0"),
        (
            "[mail]\nssl_session_cache = 'memcache'",
            'must be off, none, builtin, "builtin:1000" or "shared:NAME:10m", not',
        ),
        (
            "[mail]\nssl_session_cache = 'off builtin'",
            'must be off, none, builtin, "builtin:1000" or "shared:NAME:10m", not',
        ),
        (
            "[mail]\nssl_session_cache = 'shared::10m'",
            'must be off, none, builtin, "builtin:1000" or "shared:NAME:10m", not',
        ),
        (
            "[mail]\nssl_session_cache = 'shared:m'",
            'must be off, none, builtin, "builtin:1000" or "shared:NAME:10m", not',
        ),
        ("[mail]\nssl_session_cache = 'shared:m:4k'", "the cache is too small"),
        ("[mail]\nssl_session_cache = 'builtin shared:m:1'", "the cache is too small"),
        ("[mail]\nssl_conf_command = 'Options'", "a table of names and values"),
        ("[mail]\nssl_conf_command = [['Options']]", "both text"),
        ("[mail]\nssl_certificate = [3]", "must be text in quotes, not 3"),
        ("[mail]\nproxy_protocol = 'v1'", "must be off, on or v2, not"),
        ("[mail]\nstarttls = 'yes'", "must be off, on or only, not"),
        ("[mail]\nproxy_timeout = 0", "must be more than 0, not 0"),
        ("[mail]\nproxy_buffer = 0", "must be more than 0, not 0"),
        ("[mail]\nauth = 'ldap'", "must be http, users or passthrough, not"),
        ("[mail]\nauth_http_header = 'X-Key secret'", "a table of names and values"),
        ("[mail]\nauth_http_header = { X-Key = 3 }", "both text"),
        ("[mail]\nauth_http_header = [['X-Key']]", "both text"),
        ("[mail]\nauth_http_header = { 'X Key' = 'secret' }", "the name of header 1 is not valid"),
        (
            '[mail]\nauth_http_header = { X-Key = "a\\r\\nb" }',
            "the value of X-Key must not hold a line break",
        ),
        ("[[mail.server]]\nname = ''", "and not empty"),
        ("worker_connections = 0", "must be more than 0, not 0"),
    ],
)
def test_values_that_are_refused(inspect_text: Inspect, text: str, said: str) -> None:
    found = inspect_text(text)

    texts = [problem.text for problem in found.problems if problem.severity == "error"]
    assert [line for line in texts if said in line], texts


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("server_name = 'mx.test'", "server_name", "mx.test"),
        ("xclient = true", "xclient", "on"),
        ("xclient = 'AUTO'", "xclient", "auto"),
        ("starttls = false", "starttls", "off"),
        ("proxy_protocol = 'V2'", "proxy_protocol", "v2"),
        ("proxy_smtp_auth = 'on'", "proxy_smtp_auth", True),
        ("proxy_buffer = '8k'", "proxy_buffer", 8192),
        ("pop3_client_buffer = 128", "pop3_client_buffer", 128),
        ("smtp_greeting_delay = '1s500ms'", "smtp_greeting_delay", 1.5),
        ("max_commands = '0'", "max_commands", 0),
        ("smtp_auth = ['PLAIN', 'none']", "smtp_auth", ("plain", "none")),
        ("ssl_protocols = 'tlsv1.3'", "ssl_protocols", ("TLSv1.3",)),
        ("ssl_protocols = ['TLSv1.2', 'TLSv1.3']", "ssl_protocols", ("TLSv1.2", "TLSv1.3")),
        ("smtp_capabilities = ['SIZE 1000', 'DSN']", "smtp_capabilities", ("SIZE 1000", "DSN")),
        ("resolver = 'off'", "resolver", NameServers()),
        ("resolver = false", "resolver", NameServers()),
        (
            "resolver = '127.0.0.1 [::1]:5353'",
            "resolver",
            NameServers((Address("127.0.0.1", 53), Address("::1", 5353))),
        ),
        (
            "resolver = ['127.0.0.1:54', '::1']",
            "resolver",
            NameServers((Address("127.0.0.1", 54), Address("::1", 53))),
        ),
        (
            "resolver = 'ns.example.org valid=1M ipv6=off'",
            "resolver",
            NameServers((Address("ns.example.org", 53),), valid=2592000, ipv6=False),
        ),
        ("set_real_ip_from = '10.0.0.0/8'", "set_real_ip_from", ("10.0.0.0/8",)),
        ("set_real_ip_from = ['lb.example.org', 'unix:']", "set_real_ip_from", ("lb.example.org", "unix:")),
        ("server_name = ''", "server_name", os.uname().nodename.lower()),
        ("ssl_session_timeout = '1d'", "ssl_session_timeout", 86400),
        ("ssl_session_cache = 'off'", "ssl_session_cache", "off"),
        ("ssl_session_cache = 'shared:m:4m'", "ssl_session_cache", "shared:m:4m"),
        ("ssl_session_cache = 'shared:m:4m builtin:9'", "ssl_session_cache", "shared:m:4m builtin:9"),
        (
            "ssl_session_cache = ['builtin:9', 'shared:m:32K']",
            "ssl_session_cache",
            "builtin:9 shared:m:32K",
        ),
        ("ssl_conf_command = { Options = '-Ticket' }", "ssl_conf_command", (("Options", "-Ticket"),)),
        (
            "ssl_conf_command = [['Ciphersuites', 'a'], ['PrivateKey', '/k']]",
            "ssl_conf_command",
            (("Ciphersuites", "a"), ("PrivateKey", "/k")),
        ),
        ("ssl_certificate_key = 'data:x'", "ssl_certificate_key", ("data:x",)),
        ("ssl_verify_client = true", "ssl_verify_client", "on"),
    ],
)
def test_values_that_are_taken(inspect_text: Inspect, text: str, key: str, value: object) -> None:
    (server,) = get_servers(inspect_text(f'[mail]\n{AUTH}{text}\n[[mail.server]]\nlisten = "127.0.0.1:143"'))

    assert getattr(server, key) == value


def test_users(inspect_text: Inspect, tmp_path: Path) -> None:
    found = inspect_text(
        """\
        [mail]
        auth = "users"
        [[mail.server]]
        listen = "127.0.0.1:143"
        [[mail.server]]
        listen = "127.0.0.1:110"
        auth_http = "127.0.0.1:9000"
        [auth.users]
        file = "etc/users"
        default = "b"
        domains = { "Example.ORG" = "b" }
        [backends.b]
        address = "127.0.0.1:1143"
        """
    )

    assert found.config is not None, found.problems
    users = found.config.users
    assert (users.file, users.default) == (str(tmp_path / "etc/users"), "b")
    assert users.domains == {"example.org": "b"}
    assert [(server.auth, server.auth_http is None) for server in found.config.servers] == [
        ("users", True),
        ("http", False),
    ]


def test_routes(inspect_text: Inspect) -> None:
    found = inspect_text(
        """
        [mail]
        auth = "passthrough"
        [[mail.server]]
        listen = "127.0.0.1:143"
        [auth.passthrough]
        default = "b"
        domains = { "Example.ORG" = "b" }
        [auth.passthrough.users]
        "Joe@example.org" = "b"
        [backends.b]
        address = "127.0.0.1:1143"
        """
    )

    assert found.config is not None
    assert found.config.passthrough.default == "b"
    assert found.config.passthrough.domains == {"example.org": "b"}
    assert found.config.passthrough.users == {"Joe@example.org": "b"}


SECRETS = """
[mail]
auth_http = "http://127.0.0.1:9000"
auth_http_header = { X-Key = "s3cret" }
[[mail.server]]
listen = "127.0.0.1:143"
"""


def test_no_secret_in_a_repr(inspect_text: Inspect) -> None:
    found = inspect_text(SECRETS)

    assert get_servers(found)[0].auth_http_header == (("X-Key", "s3cret"),)
    assert "s3cret" not in repr(found.config)


@pytest.mark.parametrize(
    "text",
    [
        "[mail]\nauth_http_header = 's3cret'",
        "[mail]\nauth_http_header = ['X-Key', 's3cret']",
        '[mail]\nauth_http_header = { X-Key = "s3cret\\n" }',
        "[mail]\nauth_http_header = { 's3cret=' = 'X-Key' }",
        "[mail]\nauth_http_headers = { X-Key = 's3cret' }",
        "[mail]\nauth_http_header = { X-Key = 's3cret }",
        "[mail]\nauth_http_header = [['X-Key', 's3cret'], 's3cret']",
        "[mail]\nauth_http = 'http://joe:s3cret@127.0.0.1/'",
        "[mail]\nssl_certificate_key = 'data:s3cret'",
        "[backends.b]\naddress = '127.0.0.1:1'\ntls_certificate_key = 'data:s3cret'",
    ],
)
def test_no_secret_in_a_message(inspect_text: Inspect, text: str) -> None:
    found = inspect_text(text)

    assert found.config is None
    assert "s3cret" not in "\n".join(map(str, found.problems))


def test_a_secret_of_another_type_is_not_shown(inspect_text: Inspect) -> None:
    found = inspect_text("[mail]\nssl_certificate_key = [31337]")

    assert (2, "mail.ssl_certificate_key[0]", "must be text in quotes") in list_problems(found)


def test_nothing_in_a_message_steers_a_terminal(inspect_text: Inspect) -> None:
    found = inspect_text(
        r"""
        [mail]
        "\u001b[31m" = 1
        xclient = "\u001b]0;x\u0007"
        server_name = "\u202ea b"
        [[mail.server]]
        listen = ["unix:/\u001b[31m", "unix:/\u001b[31m"]
        """
    )

    assert [problem for problem in found.problems if "is given twice" in problem.text]
    assert all(problem.text.isprintable() and problem.key.isprintable() for problem in found.problems)


def test_a_configuration_does_not_change(inspect_text: Inspect) -> None:
    (server,) = get_servers(inspect_text(SECRETS))

    with pytest.raises(ValidationError):
        server.timeout = 1  # type: ignore[misc]


def test_which_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOMAIL_CONFIG", raising=False)
    assert find_config(None) == DEFAULT_PATH == Path("/etc/geomail/geomail.toml")
    monkeypatch.setenv("GEOMAIL_CONFIG", "/env.toml")
    assert find_config(None) == Path("/env.toml")
    assert find_config(Path("/option.toml")) == Path("/option.toml")


def test_a_problem_of_a_whole_file_has_no_line() -> None:
    whole, one = Problem("geomail.toml", 0, "user", "is not set"), Problem("geomail.toml", 3, "user", "no")

    assert (whole.place, str(whole)) == ("geomail.toml", "geomail.toml: error: user: is not set")
    assert (one.place, str(one)) == ("geomail.toml:3", "geomail.toml:3: error: user: no")
