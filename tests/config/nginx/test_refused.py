"""Everything that nginx refuses when it reads its configuration, one row for each of its messages."""

import re
from pathlib import Path

import pytest

from geomail.config.load import inspect
from geomail.config.nginx import convert
from geomail.config.probe import probe
from tests.servers.certificates import Certificates

AUTH = "auth_http 127.0.0.1:9000;"
SERVER = "listen 127.0.0.1:143;"

#: What stands in ``server {}``, nginx's message, and what geomail says in its place.
IN_SERVER = [
    # values
    (
        "xclient yes;",
        'invalid value "yes" in "xclient" directive, it must be "on" or "off"',
        '"yes" is unknown',
    ),
    (
        "xclient auto;",
        'invalid value "auto" in "xclient" directive',
        '"auto" is unknown; allowed: "on", "off"',
    ),
    (
        "xclient true;",
        'invalid value "true" in "xclient" directive',
        '"true" is unknown; allowed: "on", "off"',
    ),
    ("starttls maybe;", 'invalid value "maybe"', '"maybe" is unknown; allowed: off, on, only'),
    ("starttls true;", 'invalid value "true"', '"true" is unknown; allowed: off, on, only'),
    ("imap_auth plan;", 'invalid value "plan"', '"plan" is unknown; allowed: plain, login'),
    ("max_errors 5x;", '"max_errors" directive invalid number', '"5x" is no number'),
    ("max_errors 99999999999999999999;", '"max_errors" directive invalid number', "is no number"),
    ("max_errors -1;", '"max_errors" directive invalid number', '"-1" is no number'),
    ("imap_client_buffer 1g;", '"imap_client_buffer" directive invalid value', '"1g" is no size'),
    ("timeout 1y;", '"timeout" directive invalid value', '"1y"'),
    ("timeout 1M;", '"timeout" directive invalid value', '"1M"'),
    ("timeout 30s1m;", '"timeout" directive invalid value', "from large to small"),
    ("timeout 1.5s;", '"timeout" directive invalid value', '"1.5s" is no time'),
    ("ssl_session_timeout 500ms;", '"ssl_session_timeout" directive invalid value', '"500ms"'),
    # once on a level
    ("xclient on; xclient on;", '"xclient" directive is duplicate', '"xclient" directive is duplicate'),
    ("starttls off; starttls off;", '"starttls" directive is duplicate', '"starttls" directive is duplicate'),
    ("max_errors 1; max_errors 1;", '"max_errors" directive is duplicate', '"max_errors" directive is dupl'),
    ("proxy_buffer 4k; proxy_buffer 4k;", '"proxy_buffer" directive is duplicate', "is duplicate"),
    ("timeout 1; timeout 1;", '"timeout" directive is duplicate', "is duplicate"),
    ("server_name a; server_name a;", '"server_name" directive is duplicate', "is duplicate"),
    ("ssl_crl a; ssl_crl a;", '"ssl_crl" directive is duplicate', "is duplicate"),
    ("ssl_dhparam a; ssl_dhparam a;", '"ssl_dhparam" directive is duplicate', "is duplicate"),
    # arguments
    ("timeout;", 'invalid number of arguments in "timeout" directive', "invalid number of arguments"),
    ("timeout 1 2;", 'invalid number of arguments in "timeout" directive', "invalid number of arguments"),
    ("imap_auth;", 'invalid number of arguments in "imap_auth" directive', "invalid number of arguments"),
    ("listen;", 'invalid number of arguments in "listen" directive', "invalid number of arguments"),
    ("server_name a b;", 'invalid number of arguments in "server_name" directive', "invalid number of argu"),
    ("protocol imap pop3;", 'invalid number of arguments in "protocol" directive', "invalid number of argu"),
    (
        "auth_http_header X-Key;",
        'invalid number of arguments in "auth_http_header" directive',
        "invalid numb",
    ),
    ("ssl_conf_command a;", 'invalid number of arguments in "ssl_conf_command" directive', "invalid number"),
    (
        "ssl_session_cache a b c;",
        'invalid number of arguments in "ssl_session_cache" directive',
        "invalid nu",
    ),
    (
        "set_real_ip_from a b;",
        'invalid number of arguments in "set_real_ip_from" directive',
        "invalid number",
    ),
    # directives
    ("frobnicate on;", 'unknown directive "frobnicate"', 'unknown directive "frobnicate"'),
    ("daemon off;", '"daemon" directive is not allowed here', 'unknown directive "daemon"'),
    ("server { }", '"server" directive is not allowed here', 'unknown directive "server"'),
    ("timeout { }", 'directive "timeout" is not terminated by ";"', "is not terminated"),
    ("timeout 1s }", 'unexpected "}"', "is not terminated"),
    # core
    ("protocol IMAP;", 'unknown protocol "IMAP"', '"IMAP" is unknown; allowed: smtp, imap, pop3'),
    ("protocol nntp;", 'unknown protocol "nntp"', '"nntp" is unknown; allowed: smtp, imap, pop3'),
    ("error_log;", 'invalid number of arguments in "error_log" directive', "invalid number of arguments"),
    ("error_log x loud;", 'invalid log level "loud"', 'invalid log level "loud"'),
    ("error_log x debug_nope;", 'invalid log level "debug_nope"', 'invalid log level "debug_nope"'),
    ("error_log x info debug_mail;", 'invalid log level "debug_mail"', 'invalid log level "debug_mail"'),
    ("error_log x debug_mail debug;", 'duplicate log level "debug"', 'duplicate log level "debug"'),
    ("error_log syslog:;", 'unknown syslog parameter ""', 'unknown syslog parameter ""'),
    ("error_log syslog:facility=mail;", "no syslog server specified", "no syslog server specified"),
    ("error_log syslog:server=;", 'no host in syslog server ""', "no syslog server specified"),
    (
        "error_log syslog:server=unix:/l,server=unix:/l;",
        'duplicate syslog "server"',
        "duplicate syslog parameter",
    ),
    (
        "error_log syslog:server=unix:/l,tag=a-b;",
        'syslog "tag" only allows alphanumeric characters and underscore',
        "letters, digits and _",
    ),
    (
        "error_log syslog:server=unix:/l,severity=x;",
        'unknown syslog severity "x"',
        'unknown syslog severity "x"',
    ),
    ("error_log x info warn;", 'duplicate log level "warn"', 'duplicate log level "warn"'),
    ("resolver 127.0.0.1; resolver 127.0.0.1;", '"resolver" directive is duplicate', "is duplicate"),
    ("resolver 127.0.0.1:x;", 'invalid port in resolver "127.0.0.1:x"', '"x" is no port'),
    ("resolver 127.0.0.1:0;", 'invalid port in resolver "127.0.0.1:0"', '"0" is no port'),
    ("resolver nowhere.invalid;", 'host not found in resolver "nowhere.invalid"', "cannot be resolved now"),
    (
        'resolver "127.0.0.1 127.0.0.2";',
        'host not found in resolver "127.0.0.1 127.0.0.2"',
        '"127.0.0.1 127.0.0.2": invalid parameter',
    ),
    ("resolver ::1;", 'invalid port in resolver "::1"', "invalid port; an IPv6 address goes in brackets"),
    ("resolver 127.0.0.1 ipv6=ON;", "invalid parameter: ipv6=ON", '"ipv6=ON" is unknown'),
    ("resolver 127.0.0.1 valid=x;", "invalid parameter: valid=x", '"x" is no time'),
    ("resolver 127.0.0.1 ipv6=x;", "invalid parameter: ipv6=x", '"x" is unknown'),
    ("resolver 127.0.0.1 ipv4=off ipv6=off;", '"ipv4" and "ipv6" cannot both be "off"', "cannot both be off"),
    ("resolver valid=10s;", "no name servers defined", "no name servers are defined"),
    ("resolver 127.0.0.1 status_zone=x;", "invalid parameter: status_zone=x", "no parameter of resolver"),
    # listen
    ("listen 127.0.0.1:x;", 'invalid port in "127.0.0.1:x" of the "listen" directive', '"x" is no port'),
    ("listen 0;", 'invalid port in "0" of the "listen" directive', '"0": invalid port'),
    ("listen 127.0.0.1:0;", 'invalid port in "127.0.0.1:0"', '"127.0.0.1:0": invalid port'),
    ("listen 127.0.0.1:65536;", 'invalid port in "127.0.0.1:65536"', '"65536" is no port'),
    ("listen 145-143;", 'invalid port range in "145-143"', "145-143 is no range of ports"),
    ("listen 127.0.0.1:143-99999;", 'invalid port range in "127.0.0.1:143-99999"', "is no range of ports"),
    ("listen a/b:143;", 'invalid host in "a/b:143"', "is no host name"),
    ("listen :143;", 'no host in ":143"', "the host is missing"),
    ("listen nowhere.invalid:143;", 'host not found in "nowhere.invalid:143"', "cannot be resolved now"),
    ("listen [::x]:143;", 'invalid IPv6 address in "[::x]:143"', "not an IPv6 address"),
    ("listen unix:;", 'no path in the unix domain socket in "unix:"', "the path is missing"),
    (f"listen unix:/{'x' * 108};", "too long path in the unix domain socket", "at most 107 bytes"),
    ("listen 110 tls;", 'invalid parameter "tls"', '"tls" is no parameter of listen'),
    ("listen 110 default_server;", 'invalid parameter "default_server"', "is no parameter of listen"),
    ("listen 110 reuseport;", 'invalid parameter "reuseport"', "is no parameter of listen"),
    ("listen 110 ssl=on;", 'invalid parameter "ssl=on"', "is no parameter of listen"),
    ('listen 110 "ssl bind";', 'invalid parameter "ssl bind"', '"ssl bind": invalid parameter'),
    ("listen 110 backlog=0;", 'invalid backlog "backlog=0"', "backlog: 0"),
    ("listen 110 backlog=x;", 'invalid backlog "backlog=x"', '"x" is no number'),
    ("listen 110 rcvbuf=1g;", 'invalid rcvbuf "rcvbuf=1g"', '"1g" is no size'),
    ("listen 110 sndbuf=x;", 'invalid sndbuf "sndbuf=x"', '"x" is no size'),
    ("listen 110 ipv6only=ok;", 'invalid ipv6only flags "ipv6only=ok"', '"ok" is unknown'),
    ("listen 110 ipv6only=yes;", 'invalid parameter "ipv6only=yes"', '"yes" is unknown'),
    ("listen 110 ipv6only=ON;", 'invalid parameter "ipv6only=ON"', '"ipv6only=ON" is unknown'),
    ("listen 110 so_keepalive=ON;", 'invalid so_keepalive value: "ON"', '"so_keepalive=ON" is unknown'),
    ("listen 110 so_keepalive=maybe;", 'invalid so_keepalive value: "maybe"', "so_keepalive is on, off, or"),
    ("listen 110 so_keepalive=::;", 'invalid so_keepalive value: "::"', "so_keepalive is on, off, or"),
    ("listen 110 so_keepalive=0:0:0;", 'invalid so_keepalive value: "0:0:0"', "so_keepalive is on, off, or"),
    (
        "listen 127.0.0.1:143;",
        'duplicate "127.0.0.1:143" address and port pair',
        "127.0.0.1:143 is given twice",
    ),
    (
        "listen localhost:143;",
        'duplicate "127.0.0.1:143" address and port pair',
        "localhost:143 is 127.0.0.1:143 too",
    ),
    ("listen 127.0.0.1:142-144;", 'duplicate "127.0.0.1:143" address and port pair', "is given twice"),
    # auth_http
    ("auth_http https://a/;", 'invalid port in auth_http "https://a/"', "invalid port in auth_http"),
    ("auth_http HTTP://a/;", 'invalid port in auth_http "HTTP://a/"', "invalid port in auth_http"),
    ("auth_http nowhere.invalid;", 'host not found in auth_http "nowhere.invalid"', "cannot be resolved now"),
    ('auth_http "";', 'no host in auth_http ""', "the host is missing"),
    ("auth_http 127.0.0.1:x/;", 'invalid port in auth_http "127.0.0.1:x/"', '"x" is no port'),
    ("auth_http unix:;", 'no path in the unix domain socket in auth_http "unix:"', "the path is missing"),
    (
        "auth_http http://127.0.0.1:9000#x;",
        'invalid port in auth_http "127.0.0.1:9000#x"',
        '"9000#x" is no port',
    ),
    ("auth_http_pass_client_cert x;", "invalid value", '"x" is unknown'),
    ("auth_http_timeout x;", '"auth_http_timeout" directive invalid value', '"x" is no time'),
    # proxy
    ("proxy x;", "invalid value", '"x" is unknown'),
    ("proxy_buffer x;", '"proxy_buffer" directive invalid value', '"x" is no size'),
    ("proxy_timeout x;", '"proxy_timeout" directive invalid value', '"x" is no time'),
    ("proxy_pass_error_message x;", "invalid value", '"x" is unknown'),
    ("proxy_smtp_auth x;", "invalid value", '"x" is unknown'),
    ("proxy_protocol v1;", 'invalid value "v1"', '"v1" is unknown; allowed: off, on, v2'),
    # imap, pop3, smtp
    ("imap_auth apop;", 'invalid value "apop"', '"apop" is unknown'),
    ("imap_auth none;", 'invalid value "none"', '"none" is unknown'),
    ("pop3_auth login;", 'invalid value "login"', '"login" is unknown'),
    ("smtp_auth apop;", 'invalid value "apop"', '"apop" is unknown'),
    ("smtp_greeting_delay x;", '"smtp_greeting_delay" directive invalid value', '"x" is no time'),
    ("smtp_client_buffer x;", '"smtp_client_buffer" directive invalid value', '"x" is no size'),
    # realip
    ("set_real_ip_from 10.0.0.1/33;", 'host not found in set_real_ip_from "10.0.0.1/33"', "is no network"),
    (
        "set_real_ip_from nowhere.invalid;",
        'host not found in set_real_ip_from "nowhere.invalid"',
        "resolved now",
    ),
    # ssl
    ("ssl_protocols SSLv4;", 'invalid value "SSLv4"', "is unknown; allowed: SSLv2"),
    ("ssl_verify_client yes;", 'invalid value "yes"', '"yes" is unknown; allowed: off, on, optional'),
    ("ssl_verify_depth x;", '"ssl_verify_depth" directive invalid number', '"x" is no number'),
    ("ssl_session_cache memcache;", 'invalid session cache "memcache"', '"memcache": allowed: off, none'),
    ("ssl_session_cache shared:m;", 'invalid session cache "shared:m"', "allowed: off, none, builtin"),
    ("ssl_session_cache shared:m:8k;", 'session cache "shared:m:8k" is too small', "the cache is too small"),
    (
        'ssl_session_cache "builtin shared:m:1m";',
        'invalid session cache "builtin shared:m:1m"',
        '"builtin shared:m:1m": invalid parameter',
    ),
    ("ssl_password_file gone;", 'open() "gone" failed', "cannot be read"),
    ("ssl_session_tickets x;", "invalid value", '"x" is unknown'),
    ("ssl_prefer_server_ciphers x;", "invalid value", '"x" is unknown'),
    (
        "ssl_certificate_compression x;",
        'invalid value "x" in "ssl_certificate_compression" directive',
        '"x" is unknown',
    ),
]

#: The same, where ``{crt}`` and ``{key}`` are a certificate and its key, ``{other}`` another key.
WITH_TLS = [
    (
        "ssl_certificate {crt};",
        'no "ssl_certificate_key" is defined for the "starttls" directive',
        "no ssl_certificate_key",
    ),
    (
        "ssl_certificate {crt}; ssl_certificate {crt}; ssl_certificate_key {key};",
        'no "ssl_certificate_key" is defined for certificate "C"',
        "no ssl_certificate_key is defined for the certificate",
    ),
    (
        "ssl_certificate {key}; ssl_certificate_key {key};",
        'cannot load certificate "K"',
        "holds no certificate",
    ),
    ("ssl_certificate gone; ssl_certificate_key {key};", 'cannot load certificate "gone"', "cannot be read"),
    (
        "ssl_certificate {crt}; ssl_certificate_key {other};",
        'SSL_CTX_use_PrivateKey("O") failed (SSL: …key values mismatch',
        "key values mismatch",
    ),
    ("{both} ssl_password_file gone;", 'open() "gone" failed', "gone' cannot be read"),
    ("{both} ssl_password_file {long};", 'too long line in "L"', "too long line in"),
    ("{both} ssl_dhparam gone;", 'BIO_new_file("gone") failed', "gone' cannot be read"),
    (
        "{both} ssl_ecdh_curve nonsense;",
        'SSL_CTX_set1_curves_list("nonsense") failed',
        "'nonsense' is refused",
    ),
    ("{both} ssl_ciphers BEST;", 'SSL_CTX_set_cipher_list("BEST") failed', "no cipher can be selected"),
    ("{both} ssl_session_ticket_key {long};", '"L" must be 48 or 80 bytes', "must be 48 or 80 bytes"),
    (
        "{both} ssl_verify_client on;",
        "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client",
        "needs ssl_client_certificate or ssl_trusted_certificate",
    ),
    (
        "{both} ssl_verify_client on; ssl_client_certificate gone;",
        'load_verify_locations("gone") failed',
        "gone' cannot",
    ),
    (
        "{both} ssl_verify_client optional_no_ca; ssl_trusted_certificate gone;",
        'load_verify_locations("gone") failed',
        "gone' cannot be read",
    ),
    (
        "{both} ssl_verify_client optional_no_ca; ssl_crl gone;",
        'X509_LOOKUP_load_file("gone") failed',
        "gone' cannot be read",
    ),
    (
        "{both} ssl_conf_command Nonsense x;",
        'SSL_CONF_cmd("Nonsense", "x") failed',
        "'Nonsense', 'x' is refused",
    ),
    (
        "ssl_certificate {crt}; ssl_certificate_key engine:e:k;",
        "ENGINE_by_id() failed",
        "engine: is not supported",
    ),
    (
        "ssl_certificate {crt}; ssl_certificate_key store:s:k;",
        'OSSL_STORE_open("store:s:k") failed',
        "store: is not supported",
    ),
]

#: Whole files.
FILES = [
    (f"mail {{ {AUTH} }} mail {{ }}", '"mail" directive is duplicate', '"mail" directive is duplicate'),
    ("mail;", 'directive "mail" has no opening "{"', 'directive "mail" has no opening "{"'),
    ("mail on { }", 'invalid number of arguments in "mail" directive', "invalid number of arguments"),
    (f"mail {{ {AUTH} server; }}", 'directive "server" has no opening "{"', "has no opening"),
    (f"mail {{ {AUTH} listen 143; }}", '"listen" directive is not allowed here', "is not allowed here"),
    (f"mail {{ {AUTH} protocol imap; }}", '"protocol" directive is not allowed here', "is not allowed here"),
    ("timeout 1s;", '"timeout" directive is not allowed here', "is not allowed here"),
    (
        f"mail {{ {AUTH} server {{ protocol imap; }} }}",
        'no "listen" is defined for server',
        "no listen is defined",
    ),
    (
        f"mail {{ {AUTH} server {{ listen 1430; }} }}",
        "unknown mail protocol for server",
        "the protocol is unknown",
    ),
    (
        f"mail {{ {AUTH} server {{ listen unix:/x; }} }}",
        "unknown mail protocol for server",
        "the protocol is unkn",
    ),
    (
        f"mail {{ server {{ {SERVER} }} }}",
        'no "auth_http" is defined for server',
        "nobody is asked about logins",
    ),
    (
        f"mail {{ {AUTH} server {{ {SERVER} }}",
        'unexpected end of file, expecting "}"',
        "unexpected end of file",
    ),
    (f"mail {{ {AUTH} }} }}", 'unexpected "}"', 'unexpected "}"'),
    (f"mail {{ {AUTH} ; }}", 'unexpected ";"', 'unexpected ";"'),
    ("mail { timeout 1s", 'unexpected end of file, expecting ";" or "}"', 'is not terminated by ";"'),
    ('mail { server_name "x; }', 'unexpected end of file, expecting ";" or "}"', "a quote is missing"),
    ('mail { server_name "x"y; }', 'unexpected "y"', 'unexpected "y"'),
    ("include gone.conf;", 'open() "gone.conf" failed', "cannot be read"),
    ("include;", 'invalid number of arguments in "include" directive', "invalid number of arguments"),
    ("worker_processes none; mail { }", '"worker_processes" directive invalid value', '"none" is no number'),
    (
        "worker_processes 1; worker_processes 1; mail { }",
        '"worker_processes" directive is duplicate',
        "is duplic",
    ),
    (
        "worker_shutdown_timeout x; mail { }",
        '"worker_shutdown_timeout" directive invalid value',
        '"x" is no time',
    ),
    (
        "user a b c; mail { }",
        'invalid number of arguments in "user" directive',
        "invalid number of arguments",
    ),
    (
        f"mail {{ {AUTH} ssl_session_cache shared:m:1m;\n"
        f" server {{ {SERVER} ssl_session_cache builtin shared:m:2m; }} }}",
        'the size 2097152 of shared memory zone "m" conflicts with already declared size 1048576',
        'the cache "m" has another size in line',
    ),
    (
        f"error_log /gone/log; mail {{ {AUTH} server {{ listen 127.0.0.1:1430; protocol imap; }} }}",
        'open() "/gone/log" failed',
        "there is no folder",
    ),
    ("pid a b; mail { }", 'invalid number of arguments in "pid" directive', "invalid number of arguments"),
    ("daemon maybe; mail { }", 'invalid value "maybe" in "daemon" directive', '"maybe" is unknown'),
    ("daemon; mail { }", 'invalid number of arguments in "daemon" directive', "invalid number of arguments"),
    ("server { } mail { }", '"server" directive is not allowed here', "is not allowed here"),
    (
        f"mail {{ {AUTH} server {{ listen unix:/gone/s; protocol imap; }} }}",
        "bind() to unix:/gone/s failed",
        "there is no folder",
    ),
    (
        f"mail {{ {AUTH} server {{ listen 192.0.2.99:1430; protocol imap; }} }}",
        "bind() to 192.0.2.99:1430 failed",
        "192.0.2.99 is no address of this machine",
    ),
    (
        f"mail {{ {AUTH} server {{ listen localhost:1430; protocol imap; }}\n"
        " server { listen 127.0.0.1:1430; protocol imap; } }",
        'duplicate "127.0.0.1:1430" address and port pair',
        "127.0.0.1:1430 is localhost:1430 too",
    ),
    ("error_log x loud; mail { }", 'invalid log level "loud"', 'invalid log level "loud"'),
    (
        "events { worker_connections x; } mail { }",
        'invalid number "x"',
        "is no number",
    ),
    ("events { } events { } mail { }", '"events" directive is duplicate', '"events" directive is duplicate'),
]


def errors(text: str, folder: Path) -> list[str]:
    """What ``import-nginx`` finds wrong, else what ``check-config`` does with its result."""
    source, target = folder / "nginx.conf", folder / "geomail.toml"
    source.write_text(text)
    result = convert(source)
    problems = list(result.problems)
    if result.toml is not None:
        target.write_text(result.toml)
        found = inspect(target)
        problems = [*found.problems, *probe(found)]
    return [str(problem) for problem in problems if problem.severity == "error"]


def names(rows: list[tuple[str, str, str]]) -> list[str]:
    return [re.sub(r"\s+", " ", row[0])[:60] for row in rows]


@pytest.mark.parametrize(("directives", "nginx", "said"), IN_SERVER, ids=names(IN_SERVER))
def test_in_a_server(directives: str, nginx: str, said: str, tmp_path: Path) -> None:
    del nginx
    found = errors(f"mail {{\n {AUTH}\n server {{\n {SERVER}\n {directives}\n }}\n}}\n", tmp_path)

    assert any(said in text for text in found), found
    assert any(":5: error" in text or "geomail.toml:" in text for text in found), found


@pytest.mark.parametrize(("directives", "nginx", "said"), WITH_TLS, ids=names(WITH_TLS))
def test_with_tls(directives: str, nginx: str, said: str, tmp_path: Path, certificates: Certificates) -> None:
    del nginx
    server, other = certificates.server, certificates.untrusted
    (tmp_path / "long").write_text("x" * 5000)
    files = {"crt": server.certificate, "key": server.key, "other": other.key, "long": "long"}
    files["both"] = f"ssl_certificate {server.certificate}; ssl_certificate_key {server.key};"
    text = f"mail {{ {AUTH} server {{ {SERVER} starttls on; {directives.format(**files)} }} }}"
    found = errors(text, tmp_path)

    assert any(said in text for text in found), found


@pytest.mark.parametrize(("text", "nginx", "said"), FILES, ids=names(FILES))
def test_a_file(text: str, nginx: str, said: str, tmp_path: Path) -> None:
    del nginx
    found = errors(text, tmp_path)

    assert any(said in line for line in found), found
