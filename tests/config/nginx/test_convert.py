"""The result of converting an nginx.conf, and the reports of what is left out."""

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geomail.config.load import load
from geomail.config.nginx import Conversion, convert
from geomail.config.nginx.directives import MAIL
from geomail.config.schema import Address, Config, KeepAlive, Listen, NameServers, Server
from geomail.config.schema.options import INTERMEDIATE_CIPHERS

Convert = Callable[..., Conversion]

AUTH = "auth_http 127.0.0.1:9000/auth;"


@pytest.fixture
def convert_text(tmp_path: Path) -> Convert:
    """Convert an nginx.conf given as text."""

    def convert_it(text: str, **options: Any) -> Conversion:
        (tmp_path / "nginx.conf").write_text(text)
        return convert(tmp_path / "nginx.conf", **options)

    return convert_it


def mail(*directives: str, server: str = "listen 127.0.0.1:143;", main: str = "") -> str:
    return f"{main}\nmail {{\n{AUTH}\n{' '.join(directives)}\nserver {{\n{server}\n}}\n}}\n"


def load_result(result: Conversion, folder: Path) -> Config:
    """Return the configuration of the result, which must have no error."""
    assert result.toml is not None, result.problems
    (folder / "geomail.toml").write_text(result.toml)
    return load(folder / "geomail.toml")


VALUES: list[tuple[str, str, object]] = [
    ("timeout 90;", "timeout", 90),
    ("timeout 1m30s;", "timeout", 90),
    ('timeout "1m 30s";', "timeout", 90),
    ("max_errors 0;", "max_errors", 0),
    ("server_name mx.example.org;", "server_name", "mx.example.org"),
    ('server_name "";', "server_name", None),
    ("resolver off;", "resolver", NameServers()),
    ("resolver off 127.0.0.1;", "resolver", NameServers()),
    (
        "resolver 127.0.0.1 [::1]:5353 valid=30s ipv6=off;",
        "resolver",
        NameServers((Address("127.0.0.1", 53), Address("::1", 5353)), valid=30, ipv6=False),
    ),
    ("resolver_timeout 5s;", "resolver_timeout", 5),
    (
        "auth_http_header X-A a; auth_http_header X-A 'b c';",
        "auth_http_header",
        (("X-A", "a"), ("X-A", "b c")),
    ),
    ("auth_http_timeout 5s;", "auth_http_timeout", 5),
    ("auth_http_pass_client_cert on;", "auth_http_pass_client_cert", True),
    ("proxy on;", "proxy", True),
    ("proxy_buffer 16k;", "proxy_buffer", 16384),
    ("proxy_timeout 1d;", "proxy_timeout", 86400),
    ("proxy_pass_error_message ON;", "proxy_pass_error_message", True),
    ("xclient off;", "xclient", "off"),
    ("xclient on;", "xclient", "on"),
    ("proxy_smtp_auth on;", "proxy_smtp_auth", True),
    ("proxy_protocol v2;", "proxy_protocol", "v2"),
    ("imap_auth plain LOGIN; imap_auth external;", "imap_auth", ("plain", "login", "external")),
    ("imap_capabilities IMAP4rev1 IDLE;", "imap_capabilities", ("IMAP4rev1", "IDLE")),
    ("imap_client_buffer 8k;", "imap_client_buffer", 8192),
    ("pop3_auth apop cram-md5;", "pop3_auth", ("apop", "cram-md5")),
    ("pop3_capabilities TOP; pop3_capabilities UIDL;", "pop3_capabilities", ("TOP", "UIDL")),
    ("smtp_auth none;", "smtp_auth", ("none",)),
    ('smtp_capabilities "SIZE 1000" DSN;', "smtp_capabilities", ("SIZE 1000", "DSN")),
    ("smtp_client_buffer 4096;", "smtp_client_buffer", 4096),
    ("smtp_greeting_delay 1500ms;", "smtp_greeting_delay", 1.5),
    ("set_real_ip_from 10.0.0.0/8; set_real_ip_from unix:;", "set_real_ip_from", ("10.0.0.0/8", "unix:")),
    ("starttls on; ssl_certificate a; ssl_certificate_key b;", "starttls", "on"),
    ("ssl_certificate a; ssl_certificate /b;", "ssl_certificate", ("FOLDER/a", "/b")),
    ("ssl_certificate_key ../a;", "ssl_certificate_key", ("FOLDER/../a",)),
    ("ssl_certificate 'data:x';", "ssl_certificate", ("data:x",)),
    ("ssl_password_file p;", "ssl_password_file", "FOLDER/p"),
    ("ssl_certificate_compression on;", "ssl_certificate_compression", True),
    ("ssl_dhparam dh;", "ssl_dhparam", "FOLDER/dh"),
    ("ssl_ecdh_curve X25519:prime256v1;", "ssl_ecdh_curve", "X25519:prime256v1"),
    ("ssl_protocols TLSv1.2; ssl_protocols tlsv1.3;", "ssl_protocols", ("TLSv1.2", "TLSv1.3")),
    ("ssl_protocols SSLv3 TLSv1.2;", "ssl_protocols", ("SSLv3", "TLSv1.2")),
    ("ssl_ciphers HIGH:!aNULL;", "ssl_ciphers", "HIGH:!aNULL"),
    ("ssl_prefer_server_ciphers on;", "ssl_prefer_server_ciphers", True),
    ("ssl_session_cache builtin:1000 shared:SSL:10m;", "ssl_session_cache", "builtin:1000 shared:SSL:10m"),
    ("ssl_session_tickets off;", "ssl_session_tickets", False),
    (
        "ssl_session_ticket_key a; ssl_session_ticket_key b;",
        "ssl_session_ticket_key",
        ("FOLDER/a", "FOLDER/b"),
    ),
    ("ssl_session_timeout 1d;", "ssl_session_timeout", 86400),
    ("ssl_verify_client optional_no_ca;", "ssl_verify_client", "optional_no_ca"),
    ("ssl_verify_depth 2;", "ssl_verify_depth", 2),
    ("ssl_client_certificate ca;", "ssl_client_certificate", "FOLDER/ca"),
    ("ssl_trusted_certificate ca;", "ssl_trusted_certificate", "FOLDER/ca"),
    ("ssl_crl crl;", "ssl_crl", "FOLDER/crl"),
    (
        "ssl_conf_command Options -SessionTicket; ssl_conf_command Certificate c;",
        "ssl_conf_command",
        (("Options", "-SessionTicket"), ("Certificate", "FOLDER/c")),
    ),
]


@pytest.mark.parametrize(("directives", "key", "value"), VALUES, ids=[row[0] for row in VALUES])
@pytest.mark.parametrize("level", ["mail", "server"])
def test_values(
    convert_text: Convert, directives: str, key: str, value: object, level: str, tmp_path: Path
) -> None:
    text = mail(directives) if level == "mail" else mail(server=f"listen 127.0.0.1:143; {directives}")
    (server,) = load_result(convert_text(text), tmp_path).servers

    expected = os.uname().nodename.lower() if value is None else fill_in_folder(value, tmp_path)
    assert getattr(server, key) == expected


def fill_in_folder(value: Any, folder: Path) -> Any:
    """Replace FOLDER in the value by the folder of the nginx.conf."""
    if isinstance(value, tuple):
        return tuple(fill_in_folder(part, folder) for part in value)
    return value.replace("FOLDER", str(folder)) if isinstance(value, str) else value


def test_no_directive_is_forgotten() -> None:
    tested = {key for _, key, _ in VALUES} | {"listen", "protocol", "auth_http"}

    assert tested == set(MAIL)
    assert set(MAIL) <= set(Server.model_fields)


@pytest.mark.parametrize(
    ("directives", "protocol", "listens"),
    [
        ("listen 110;", "pop3", (Listen("0.0.0.0", 110),)),
        ("listen *:110;", "pop3", (Listen("0.0.0.0", 110),)),
        ("listen [::]:143 ipv6only=off;", "imap", (Listen("::", 143, ipv6only=False),)),
        ("listen localhost:25;", "smtp", (Listen("localhost", 25),)),
        ("listen 1430; protocol pop3; protocol imap;", "imap", (Listen("0.0.0.0", 1430),)),
        ("protocol smtp; listen 143;", "smtp", (Listen("0.0.0.0", 143),)),
        ("listen 143-145;", "imap", (Listen("0.0.0.0", 143, last_port=145),)),
        ("listen 127.0.0.1; protocol imap;", "imap", (Listen("127.0.0.1", 0),)),
        ("listen [::1]; protocol imap;", "imap", (Listen("::1", 0),)),
        ("listen unix:/run/x; protocol imap;", "imap", (Listen(path="/run/x"),)),
        (
            "listen 25 proxy_protocol; listen 10.0.0.1:587 bind backlog=9 rcvbuf=8k sndbuf=8k;",
            "smtp",
            (
                Listen("0.0.0.0", 25, proxy_protocol=True),
                Listen("10.0.0.1", 587, bind=True, backlog=9, rcvbuf=8192, sndbuf=8192),
            ),
        ),
        (
            "listen 25 so_keepalive=30m::10;",
            "smtp",
            (Listen("0.0.0.0", 25, so_keepalive=KeepAlive(1800, None, 10)),),
        ),
        (
            "listen 25 so_keepalive=30m;",
            "smtp",
            (Listen("0.0.0.0", 25, so_keepalive=KeepAlive(1800, None, None)),),
        ),
        (
            "listen 25 so_keepalive=off multipath;",
            "smtp",
            (Listen("0.0.0.0", 25, so_keepalive=False, multipath=True),),
        ),
    ],
)
def test_where_servers_listen(
    convert_text: Convert, directives: str, protocol: str, listens: tuple[Listen, ...], tmp_path: Path
) -> None:
    (server,) = load_result(convert_text(mail(server=directives)), tmp_path).servers

    assert (server.protocol, server.listen) == (protocol, listens)


@pytest.mark.parametrize(
    ("directive", "label"),
    [
        ("127.0.0.1:9000/auth?a=b", "http://127.0.0.1:9000/auth?a=b"),
        ("http://auth.example.org", "http://auth.example.org:80/"),
        ("http://[::1]:9000/x", "http://[::1]:9000/x"),
        ("unix:/run/auth:/x", "http://unix:/run/auth:/x"),
        ("http://unix:auth", "http://unix:FOLDER/auth:/"),
        ("one; auth_http two", "http://two:80/"),
    ],
)
def test_who_is_asked(convert_text: Convert, directive: str, label: str, tmp_path: Path) -> None:
    text = mail().replace(AUTH, f"auth_http {directive};")
    (server,) = load_result(convert_text(text), tmp_path).servers

    assert server.auth_http is not None
    assert server.auth_http.label == label.replace("FOLDER", str(tmp_path))


def test_lists_are_inherited_whole_or_not_at_all(convert_text: Convert, tmp_path: Path) -> None:
    outer = "imap_capabilities A; set_real_ip_from 10.0.0.0/8; auth_http_header X-A a;"
    inner = "listen 127.0.0.1:143; imap_capabilities B C; auth_http_header X-B b;"
    (server,) = load_result(convert_text(mail(outer, server=inner)), tmp_path).servers

    assert server.imap_capabilities == ("B", "C")
    assert server.set_real_ip_from == ("10.0.0.0/8",)
    assert server.auth_http_header == (("X-B", "b"),)


@pytest.mark.parametrize(
    "directive", ["ssl_dhparam", "ssl_client_certificate", "ssl_trusted_certificate", "ssl_crl"]
)
def test_a_server_may_do_without_a_file(convert_text: Convert, directive: str, tmp_path: Path) -> None:
    inner = f'listen 127.0.0.1:143; {directive} "";'
    (server,) = load_result(convert_text(mail(f"{directive} file;", server=inner)), tmp_path).servers

    assert getattr(server, directive) is None


# -- differences between geomail and nginx ----------------------------------------------------------


def test_nothing_is_limited_that_nginx_does_not_limit(convert_text: Convert, tmp_path: Path) -> None:
    config = load_result(convert_text(mail()), tmp_path)
    (server,) = config.servers

    assert (config.workers, config.worker_connections, config.user) == (1, 512, "nobody")
    assert (server.max_commands, server.max_login_attempts, server.smtp_greeting_delay) == (0, 0, 0)
    assert config.worker_shutdown_timeout is None


@pytest.mark.parametrize(
    ("main", "key", "value"),
    [
        ("user www-data;", "user", "www-data:www-data"),
        ("user nobody nogroup;", "user", "nobody:nogroup"),
        ("worker_processes 3;", "workers", 3),
        ("worker_processes auto;", "workers", None),
        ("events { worker_connections 19000; }", "worker_connections", 19000),
        ("worker_shutdown_timeout 5m;", "worker_shutdown_timeout", 300),
        ("worker_shutdown_timeout 0;", "worker_shutdown_timeout", None),
        ("worker_shutdown_timeout 0s;", "worker_shutdown_timeout", None),
    ],
)
def test_processes(convert_text: Convert, main: str, key: str, value: object, tmp_path: Path) -> None:
    config = load_result(convert_text(mail(main=main)), tmp_path)

    assert getattr(config, key) == value or (key == "workers" and value is None)


LOGS = [
    ("error_log logs/e.log;", "FOLDER/logs/e.log", "error", ""),
    ("error_log /var/log/e.log info;", "/var/log/e.log", "info", ""),
    ("error_log e warn;", "FOLDER/e", "warning", ""),
    ("error_log e crit;", "FOLDER/e", "error", ""),
    ("error_log e debug_mail debug_core;", "FOLDER/e", "debug", ""),
    ("error_log stderr notice;", "stderr", "notice", ""),
    ('error_log "" notice;', "stderr", "notice", ""),
    ("error_log syslog:server=unix:/dev/log,facility=local3 info;", "syslog", "info", ""),
    ("error_log syslog:server=unix:/run/log info;", "syslog:/run/log", "info", ""),
    ("error_log syslog:server=unix:/dev/log,tag=mx,nohostname info;", "syslog", "info", "loses its tag"),
    ("error_log syslog:server=192.0.2.1 info;", "stderr", "info", "cannot log to"),
    ("error_log memory:32m debug;", "stderr", "info", "cannot log to"),
    ("error_log a info; error_log b;", "FOLDER/a", "info", "geomail has only one log"),
]


@pytest.mark.parametrize(("main", "target", "level", "note"), LOGS, ids=[row[0] for row in LOGS])
def test_the_log(
    convert_text: Convert, main: str, target: str, level: str, note: str, tmp_path: Path
) -> None:
    result = convert_text(mail(main=main))
    log = load_result(result, tmp_path).log

    assert (log.target, log.level) == (target.replace("FOLDER", str(tmp_path)), level)
    assert bool(note) == bool(result.notes)
    assert all(note in found.text for found in result.notes)


def test_the_log_of_mail_comes_before_that_of_all(convert_text: Convert, tmp_path: Path) -> None:
    result = convert_text(mail("error_log m info;", main="error_log e;"))

    assert load_result(result, tmp_path).log.target == f"{tmp_path}/m"
    assert [(note.line, note.key) for note in result.notes] == [(1, "error_log")]


def test_logs_start_in_the_prefix(convert_text: Convert, tmp_path: Path) -> None:
    result = convert_text(mail("ssl_crl c;", main="error_log logs/e; pid p;"), prefix=Path("/srv/nginx"))
    config = load_result(result, tmp_path)

    assert (config.log.target, config.servers[0].ssl_crl) == ("/srv/nginx/logs/e", f"{tmp_path}/c")
    assert any("/srv/nginx/p" in note.text for note in result.notes)


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("pid /run/nginx.pid;", "pid is left out: geomail does not write /run/nginx.pid"),
        ("daemon off;", "daemon is left out: geomail stays in the foreground"),
        ("load_module modules/ngx_mail_module.so;", "load_module is left out"),
        ("worker_rlimit_nofile 9;", "worker_rlimit_nofile is left out"),
        ("worker_priority 5;", "worker_priority is left out: geomail has no such option"),
        ("unheard_of 5 { with { a; block; } }", "unheard_of is left out: geomail has no such option"),
        ("http { server { listen 80; } }", "http is left out: geomail converts only mail {}"),
        ("stream { server { listen 80; } }", "stream is left out: geomail converts only mail {}"),
        ("events { use epoll; }", "use is left out: geomail has no such option"),
    ],
)
def test_what_is_left_behind_is_told(convert_text: Convert, main: str, said: str, tmp_path: Path) -> None:
    result = convert_text(mail(main=main))
    load_result(result, tmp_path)

    (note,) = result.notes
    assert f"{note.key} {note.text}".startswith(said)
    assert (note.file, note.line) == (str(tmp_path / "nginx.conf"), 1)


# -- the text --------------------------------------------------------------------------------------


def test_every_value_says_where_it_comes_from(convert_text: Convert, tmp_path: Path) -> None:
    (tmp_path / "tls.conf").write_text("\nssl_certificate a;\nssl_certificate b;\n")
    result = convert_text(mail("include tls.conf;", "timeout 5s;"))
    assert result.toml is not None

    assert "\nworkers = 1 " in result.toml
    comments = {line.split()[0]: line.partition("# ")[2] for line in result.toml.splitlines() if "#" in line}
    assert comments["timeout"] == "nginx.conf:4"
    assert comments["listen"] == "nginx.conf:6"
    assert comments["[[mail.server]]"] == "nginx.conf:5"
    assert comments[f'"{tmp_path}/b",'] == "tls.conf:3"
    assert comments["workers"] == "nginx's default"
    assert comments["max_commands"] == "nginx has no such limit"


@pytest.mark.parametrize(
    ("everywhere", "server", "timeout"),
    [
        ("resolver 127.0.0.1;", "", 30),
        ("resolver 127.0.0.1; resolver_timeout 9s;", "", 9),
        ("", "resolver 127.0.0.1;", 30),
        ("", "resolver 127.0.0.1; resolver_timeout 9s;", 9),
        ("resolver_timeout 9s;", "resolver 127.0.0.1;", 9),
        ("resolver off;", "", 5),
        ("", "", 5),
    ],
)
def test_name_servers_are_waited_for_as_long_as_by_nginx(
    everywhere: str, server: str, timeout: int, convert_text: Convert, tmp_path: Path
) -> None:
    result = convert_text(mail(everywhere, server=f"listen 127.0.0.1:143; {server}"))

    assert load_result(result, tmp_path).servers[0].resolver_timeout == timeout


TLS = "listen 127.0.0.1:993 ssl; ssl_certificate a; ssl_certificate_key b;"


@pytest.mark.parametrize(
    ("everywhere", "server", "differs"),
    [
        ("", TLS, True),
        ("", f"starttls on; {TLS.replace(' ssl;', ';')}", True),
        ("starttls only;", TLS.replace(" ssl;", ";"), True),
        ("", f"ssl_ciphers HIGH; {TLS}", False),
        ("ssl_ciphers HIGH;", TLS, False),
        ("starttls on;", "listen 127.0.0.1:143; starttls off;", False),
        ("", "listen 127.0.0.1:143;", False),
    ],
)
def test_it_is_told_where_other_ciphers_are_allowed(
    everywhere: str, server: str, differs: bool, convert_text: Convert, tmp_path: Path
) -> None:
    result = convert_text(mail(everywhere, server=server))
    (made,) = load_result(result, tmp_path).servers

    assert [f"{note.line} {note.key} {note.text}"[:26] for note in result.notes] == [
        "5 server has no ssl_cipher"
    ] * differs
    assert made.ssl_ciphers == ("HIGH" if "HIGH" in everywhere + server else INTERMEDIATE_CIPHERS)


def test_the_same_file_gives_the_same_text(convert_text: Convert) -> None:
    assert convert_text(mail()).toml == convert_text(mail()).toml


@pytest.mark.parametrize("text", ["a\\b", 'a"b', "a'b", "a # b", "tab\there", "ä€", "\x7f"])
def test_texts_survive(convert_text: Convert, text: str, tmp_path: Path) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    (server,) = load_result(convert_text(mail(f'ssl_ciphers "{quoted}";')), tmp_path).servers

    assert server.ssl_ciphers == text


def test_a_file_name_cannot_break_out_of_its_comment(tmp_path: Path) -> None:
    folder = tmp_path / 'a\nworkers = 99 #"'
    folder.mkdir()
    (folder / "nginx.conf").write_text(mail("include x*;"))
    (folder / "x\nworkers = 98").write_text("timeout 5s;")
    config = load_result(convert(folder / "nginx.conf"), tmp_path)

    assert (config.workers, config.servers[0].timeout) == (1, 5)


# -- whole files -----------------------------------------------------------------------------------

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.conf"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_files_as_they_are_used(sample: Path, tmp_path: Path) -> None:
    result = convert(sample)
    config = load_result(result, tmp_path)

    assert [problem for problem in result.problems if problem.severity == "error"] == []
    assert len(config.servers) == {"debian": 2, "front": 4, "nginx.org": 4, "openresty": 3}[sample.stem]
    assert convert(sample) == result


def test_a_front_is_what_it_was(tmp_path: Path) -> None:
    (sample,) = (path for path in SAMPLES if path.stem == "front")
    config = load_result(convert(sample), tmp_path)
    exchange, submission, imap, pop3 = config.servers

    assert (config.user, config.workers, config.worker_connections) == ("nginx:nginx", 2, 4096)
    assert (config.worker_shutdown_timeout, config.log.level) == (600, "info")
    assert [listen.words for listen in submission.listen] == [
        "0.0.0.0:587",
        "[::]:587",
        "0.0.0.0:465 ssl",
        "[::]:465 ssl",
    ]
    assert (exchange.smtp_greeting_delay, exchange.smtp_auth) == (0.5, ("none",))
    assert exchange.auth_http_header == (("X-Auth-Secret", 's3 cret; with {braces} and "quotes"'),)
    assert submission.auth_http_header == (("Auth-Port", "587"),)
    assert imap.ssl_certificate == tuple(
        str(sample.parent / "tls" / name) for name in ("fullchain.pem", "ecdsa.pem")
    )
    assert (imap.ssl_session_tickets, imap.ssl_session_timeout) == (False, 600)
    assert (pop3.max_errors, pop3.listen[0].path) == (3, "/run/nginx/sieve-like.sock")


# -- directives of old versions of nginx -------------------------------------------------------------

CERTIFICATE = "ssl_certificate c.pem; ssl_certificate_key k.pem;"


@pytest.mark.parametrize(
    ("outer", "server", "listens"),
    [
        ("ssl on;", "listen 127.0.0.1:993;", [True]),
        ("", "listen 127.0.0.1:993; ssl on;", [True]),
        ("", "ssl ON; listen 127.0.0.1:993;", [True]),
        ("ssl on;", "listen 127.0.0.1:993; listen 127.0.0.1:994 ssl; listen unix:/s;", [True] * 3),
        ("ssl on;", "listen 127.0.0.1:143; ssl off;", [False]),
        ("ssl off;", "listen 127.0.0.1:993; ssl on;", [True]),
        ("ssl off;", "listen 127.0.0.1:143;", [False]),
        ("", "listen 127.0.0.1:143; listen 127.0.0.1:993 ssl; ssl off;", [False, True]),
        ("ssl on;", "listen 127.0.0.1:993 backlog=9 proxy_protocol;", [True]),
    ],
)
@pytest.mark.parametrize("lenient", [False, True])
def test_ssl_is_behind_each_listen_of_its_level(
    convert_text: Convert, tmp_path: Path, outer: str, server: str, listens: list[bool], lenient: bool
) -> None:
    text = mail(CERTIFICATE, outer, server=f"protocol imap; {server}")
    config = load_result(convert_text(text, lenient=lenient), tmp_path)

    assert [listen.ssl for listen in config.servers[0].listen] == listens


@pytest.mark.parametrize(
    ("outer", "server", "probed"),
    [
        ("so_keepalive on;", "listen 127.0.0.1:143;", True),
        ("so_keepalive on;", "listen 127.0.0.1:143 so_keepalive=off;", False),
        ("so_keepalive on;", "so_keepalive off; listen 127.0.0.1:143;", None),
    ],
)
def test_so_keepalive_too(
    convert_text: Convert, tmp_path: Path, outer: str, server: str, probed: bool | None
) -> None:
    result = convert_text(mail(outer, server=server))
    load_result(result, tmp_path)

    assert (
        re.findall(r"so_keepalive=(\w+)", result.toml or "")
        == {True: ["on"], False: ["off"], None: []}[probed]
    )


@pytest.mark.parametrize(
    ("outer", "server", "error"),
    [
        ("ssl on; ssl on;", "", "is given twice here; remove one"),
        ("ssl maybe;", "", 'must be "on" or "off", not "maybe"'),
        ("ssl;", "", "must have 1 argument, not 0"),
        ("", "ssl on; starttls on;", '"ssl on" conflicts with "starttls"; remove one of them'),
        ("", "starttls only; ssl on;", '"ssl on" conflicts with "starttls"; remove one of them'),
        ("ssl on;", "", "no ssl_certificate is defined"),
    ],
)
def test_what_nginx_did_not_take_either(convert_text: Convert, outer: str, server: str, error: str) -> None:
    result = convert_text(mail(outer, server=f"listen 127.0.0.1:143; {server}"), lenient=True)

    assert result.toml is None
    assert any(error in problem.text for problem in result.problems), result.problems


@pytest.mark.parametrize(
    "directive",
    [
        *("auth plain apop;", "proxy_ssl on;", "proxy_ssl_verify on;", "ssl_stapling on;", "ssl_ocsp on;"),
        *("starttls_required on;", "imap_sasl gssapi;", "allow 10.0.0.0/8;", "deny all;", "client_cert on;"),
    ],
)
@pytest.mark.parametrize("lenient", [False, True])
def test_nothing_that_may_protect_is_left_out(convert_text: Convert, directive: str, lenient: bool) -> None:
    result = convert_text(mail(directive), lenient=lenient)

    assert result.toml is None
    assert not result.has_unknown, "and --lenient is no way out"
    [error] = [problem for problem in result.problems if problem.severity == "error"]
    assert error.text.startswith(f'unknown directive "{directive.split()[0]}"')
    assert "it is never left out" in error.text


@pytest.mark.parametrize("name", ["ssl on;", "starttls on;"])
def test_no_protection_outside_of_mail_is_passed_over(convert_text: Convert, name: str) -> None:
    result = convert_text(mail(main=name), lenient=True)

    assert result.toml is None


def test_the_block_that_nginx_called_imap_once(convert_text: Convert) -> None:
    result = convert_text(mail().replace("mail {", "imap {"), lenient=True)

    assert result.toml is None
    assert any("nginx has called this block mail since 0.5.15" in problem.text for problem in result.problems)


def test_what_clients_hear_is_nginxs(convert_text: Convert, tmp_path: Path) -> None:
    [server] = load_result(convert_text(mail()), tmp_path).servers

    assert (server.nginx_replies, server.imap_greeting_capability) == (True, False)


# -- errors ------------------------------------------------------------------------------------------


def test_all_that_is_wrong_is_told_with_file_and_line(convert_text: Convert, tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("\n\nxclient maybe;\n")
    result = convert_text(
        "mail {\n auth_http a;\n timeout x;\n include more.conf;\n"
        " server {\n listen 143 tls;\n listen 25;\n nonsense;\n }\n}\n"
    )

    assert result.toml is None
    found = {(Path(p.file).name, p.line, p.key) for p in result.problems if p.severity == "error"}
    assert found == {
        ("nginx.conf", 3, "timeout"),
        ("more.conf", 3, "xclient"),
        ("nginx.conf", 6, "listen"),
        ("nginx.conf", 8, "nonsense"),
    }


def test_lenient_leaves_out_what_is_unknown(convert_text: Convert, tmp_path: Path) -> None:
    text = mail("limit_rate 'a b' \"\";", "blocks { a; }", server="listen 127.0.0.1:143; max_bugs 5;")
    result = convert_text(text, lenient=True)
    config = load_result(result, tmp_path)

    assert len(config.servers) == 1
    assert [(p.severity, p.key) for p in result.problems] == [
        ("warning", "limit_rate"),
        ("warning", "blocks"),
        ("warning", "max_bugs"),
    ]
    assert result.toml is not None
    lines = [re.sub(r" +", " ", line) for line in result.toml.splitlines() if line.startswith("# ")]
    assert '# limit_rate "a b" ""; # nginx.conf:4' in lines
    assert "# blocks { … } # nginx.conf:4" in lines
    assert "# max_bugs 5; # nginx.conf:6" in lines


def test_lenient_or_not_a_wrong_value_is_one(convert_text: Convert) -> None:
    assert convert_text(mail("timeout x;"), lenient=True).toml is None


def test_no_control_character_of_what_was_left_out_reaches_the_file(
    convert_text: Convert, tmp_path: Path
) -> None:
    result = convert_text(mail("evil '\nworkers = 99\n' \x1b[31m;"), lenient=True)

    assert load_result(result, tmp_path).workers == 1
    assert result.toml is not None
    assert "\x1b" not in result.toml


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_bytes(
        b"# caf\xe9\n" + mail("auth_http_header X-A caf\xe9;").encode("latin-1")
    )
    result = convert(tmp_path / "nginx.conf")

    assert [(problem.line, problem.text) for problem in result.problems] == [
        (5, "is not valid UTF-8, but geomail.toml must be; rename it")
    ]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_bytes(b"user caf\xe9;\n" + mail().encode())
    (problem,) = convert(tmp_path / "nginx.conf").problems

    assert problem.text == "a name in it is not valid UTF-8, but geomail.toml must be; rename it"


def test_a_file_without_mail(convert_text: Convert) -> None:
    (problem,) = [p for p in convert_text("events { }").problems if p.severity == "error"]

    assert problem.text == "there is no mail {} in this file; add it, or use another file"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (problem,) = convert(tmp_path / "gone").problems

    assert "cannot be read: No such file or directory" in problem.text


def test_notes_stand_in_the_order_of_the_file(convert_text: Convert) -> None:
    text = mail("error_log m;", server="listen 127.0.0.1:143; error_log s;", main="error_log e;")
    result = convert_text(text + "http { }")

    assert [(note.line, note.key) for note in result.notes] == [
        (1, "error_log"),
        (6, "error_log"),
        (9, "http"),
    ]


def test_a_secret_is_written_and_not_told(convert_text: Convert) -> None:
    result = convert_text(mail("auth_http_header X-Key s3cret; auth_http_header 'bad name' s3cret;"))

    assert result.problems
    assert "s3cret" not in " ".join(map(str, result.problems))
    good = convert_text(mail("auth_http_header X-Key s3cret;")).toml
    assert good is not None
    assert tomllib.loads(good)["mail"]["auth_http_header"] == [["X-Key", "s3cret"]]
