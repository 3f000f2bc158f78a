"""Everything that nginx refuses in its configuration: one row for each of its messages."""

import re
from pathlib import Path

import pytest

from geomail.config.load import inspect
from geomail.config.nginx import convert
from geomail.config.probe import probe
from tests.servers.certificates import Certificates

AUTH = "auth_http 127.0.0.1:9000;"
SERVER = "listen 127.0.0.1:143;"

#: The content of ``server {}``, nginx's message, and a part of geomail's message.
IN_SERVER = [
    # values
    (
        "xclient yes;",
        'invalid value "yes" in "xclient" directive, it must be "on" or "off"',
        'not "yes"',
    ),
    (
        "xclient auto;",
        'invalid value "auto" in "xclient" directive',
        'must be "on" or "off", not "auto"',
    ),
    (
        "xclient true;",
        'invalid value "true" in "xclient" directive',
        'must be "on" or "off", not "true"',
    ),
    ("starttls maybe;", 'invalid value "maybe"', 'must be off, on or only, not "maybe"'),
    ("starttls true;", 'invalid value "true"', 'must be off, on or only, not "true"'),
    ("imap_auth plan;", 'invalid value "plan"', 'must be plain, login, cram-md5 or external, not "plan"'),
    (
        "max_errors 5x;",
        '"max_errors" directive invalid number',
        'must be a whole number, 0 or more, not "5x"',
    ),
    ("max_errors 99999999999999999999;", '"max_errors" directive invalid number', "must be a whole number"),
    (
        "max_errors -1;",
        '"max_errors" directive invalid number',
        'must be a whole number, 0 or more, not "-1"',
    ),
    (
        "imap_client_buffer 1g;",
        '"imap_client_buffer" directive invalid value',
        'such as "8k" or "1m", not "1g"',
    ),
    ("timeout 1y;", '"timeout" directive invalid value', '"1y"'),
    ("timeout 1M;", '"timeout" directive invalid value', '"1M"'),
    ("timeout 30s1m;", '"timeout" directive invalid value', "from large to small"),
    ("timeout 1.5s;", '"timeout" directive invalid value', 'or "500ms", not "1.5s"'),
    ("ssl_session_timeout 500ms;", '"ssl_session_timeout" directive invalid value', '"500ms"'),
    # once on a level
    ("xclient on; xclient on;", '"xclient" directive is duplicate', "xclient: is given twice here"),
    ("starttls off; starttls off;", '"starttls" directive is duplicate', "starttls: is given twice here"),
    ("max_errors 1; max_errors 1;", '"max_errors" directive is duplicate', "max_errors: is given twice here"),
    ("proxy_buffer 4k; proxy_buffer 4k;", '"proxy_buffer" directive is duplicate', "is given twice here"),
    ("timeout 1; timeout 1;", '"timeout" directive is duplicate', "is given twice here"),
    ("server_name a; server_name a;", '"server_name" directive is duplicate', "is given twice here"),
    ("ssl_crl a; ssl_crl a;", '"ssl_crl" directive is duplicate', "is given twice here"),
    ("ssl_dhparam a; ssl_dhparam a;", '"ssl_dhparam" directive is duplicate', "is given twice here"),
    # arguments
    ("timeout;", 'invalid number of arguments in "timeout" directive', "must have 1 argument, not 0"),
    ("timeout 1 2;", 'invalid number of arguments in "timeout" directive', "must have 1 argument, not 2"),
    (
        "imap_auth;",
        'invalid number of arguments in "imap_auth" directive',
        "must have at least 1 argument, not 0",
    ),
    ("listen;", 'invalid number of arguments in "listen" directive', "must have at least 1 argument, not 0"),
    (
        "server_name a b;",
        'invalid number of arguments in "server_name" directive',
        "must have 1 argument, not 2",
    ),
    (
        "protocol imap pop3;",
        'invalid number of arguments in "protocol" directive',
        "must have 1 argument, not 2",
    ),
    (
        "auth_http_header X-Key;",
        'invalid number of arguments in "auth_http_header" directive',
        "must have 2 arguments, not 1",
    ),
    (
        "ssl_conf_command a;",
        'invalid number of arguments in "ssl_conf_command" directive',
        "must have 2 arguments, not 1",
    ),
    (
        "ssl_session_cache a b c;",
        'invalid number of arguments in "ssl_session_cache" directive',
        "must have 1 or 2 arguments, not 3",
    ),
    (
        "set_real_ip_from a b;",
        'invalid number of arguments in "set_real_ip_from" directive',
        "must have 1 argument, not 2",
    ),
    # directives
    ("frobnicate on;", 'unknown directive "frobnicate"', 'unknown directive "frobnicate"'),
    ("daemon off;", '"daemon" directive is not allowed here', 'unknown directive "daemon"'),
    ("server { }", '"server" directive is not allowed here', 'unknown directive "server"'),
    ("timeout { }", 'directive "timeout" is not terminated by ";"', 'must end with ";"'),
    ("timeout 1s }", 'unexpected "}"', 'must end with ";"'),
    # core
    ("protocol IMAP;", 'unknown protocol "IMAP"', 'must be smtp, imap or pop3, not "IMAP"'),
    ("protocol nntp;", 'unknown protocol "nntp"', 'must be smtp, imap or pop3, not "nntp"'),
    (
        "error_log;",
        'invalid number of arguments in "error_log" directive',
        "must have at least 1 argument, not 0",
    ),
    ("error_log x loud;", 'invalid log level "loud"', '"loud" is not a log level'),
    ("error_log x debug_nope;", 'invalid log level "debug_nope"', '"debug_nope" is not a log level'),
    ("error_log x info debug_mail;", 'invalid log level "debug_mail"', '"debug_mail" is not a log level'),
    ("error_log x debug_mail debug;", 'duplicate log level "debug"', '"debug" is a second log level'),
    ("error_log syslog:;", 'unknown syslog parameter ""', '"" is not a parameter of syslog'),
    ("error_log syslog:facility=mail;", "no syslog server specified", "syslog has no server"),
    ("error_log syslog:server=;", 'no host in syslog server ""', "syslog has no server"),
    (
        "error_log syslog:server=unix:/l,server=unix:/l;",
        'duplicate syslog "server"',
        "is given twice",
    ),
    (
        "error_log syslog:server=unix:/l,tag=a-b;",
        'syslog "tag" only allows alphanumeric characters and underscore',
        "letters, digits and _",
    ),
    (
        "error_log syslog:server=unix:/l,severity=x;",
        'unknown syslog severity "x"',
        '"x" is not a syslog severity',
    ),
    ("error_log x info warn;", 'duplicate log level "warn"', '"warn" is a second log level'),
    ("resolver 127.0.0.1; resolver 127.0.0.1;", '"resolver" directive is duplicate', "is given twice here"),
    ("resolver 127.0.0.1:x;", 'invalid port in resolver "127.0.0.1:x"', 'to 65535, not "x"'),
    ("resolver 127.0.0.1:0;", 'invalid port in resolver "127.0.0.1:0"', 'to 65535, not "0"'),
    ("resolver nowhere.invalid;", 'host not found in resolver "nowhere.invalid"', "cannot be resolved now"),
    (
        'resolver "127.0.0.1 127.0.0.2";',
        'host not found in resolver "127.0.0.1 127.0.0.2"',
        '"127.0.0.1 127.0.0.2" must be one word',
    ),
    ("resolver ::1;", 'invalid port in resolver "::1"', "put the IPv6 address in brackets"),
    ("resolver 127.0.0.1 ipv6=ON;", "invalid parameter: ipv6=ON", ', not "ipv6=ON"'),
    ("resolver 127.0.0.1 valid=x;", "invalid parameter: valid=x", 'or "500ms", not "x"'),
    ("resolver 127.0.0.1 ipv6=x;", "invalid parameter: ipv6=x", 'not "x"'),
    (
        "resolver 127.0.0.1 ipv4=off ipv6=off;",
        '"ipv4" and "ipv6" cannot both be "off"',
        "must not both be off",
    ),
    ("resolver valid=10s;", "no name servers defined", "names no DNS server"),
    (
        "resolver 127.0.0.1 status_zone=x;",
        "invalid parameter: status_zone=x",
        "is not a parameter of resolver",
    ),
    # listen
    ("listen 127.0.0.1:x;", 'invalid port in "127.0.0.1:x" of the "listen" directive', 'to 65535, not "x"'),
    (
        "listen 0;",
        'invalid port in "0" of the "listen" directive',
        '"0": the port must be a number from 1 to 65535',
    ),
    (
        "listen 127.0.0.1:0;",
        'invalid port in "127.0.0.1:0"',
        '"127.0.0.1:0": the port must be a number from 1 to 65535',
    ),
    ("listen 127.0.0.1:65536;", 'invalid port in "127.0.0.1:65536"', 'to 65535, not "65536"'),
    ("listen 145-143;", 'invalid port range in "145-143"', "145-143 is not a range of ports"),
    ("listen 127.0.0.1:143-99999;", 'invalid port range in "127.0.0.1:143-99999"', "is not a range of ports"),
    ("listen a/b:143;", 'invalid host in "a/b:143"', "is neither an IP address nor a host name"),
    ("listen :143;", 'no host in ":143"', "has no host"),
    ("listen nowhere.invalid:143;", 'host not found in "nowhere.invalid:143"', "cannot be resolved now"),
    ("listen [::x]:143;", 'invalid IPv6 address in "[::x]:143"', "not an IPv6 address"),
    ("listen unix:;", 'no path in the unix domain socket in "unix:"', "has no path"),
    (f"listen unix:/{'x' * 108};", "too long path in the unix domain socket", "at most 107 bytes"),
    ("listen 110 tls;", 'invalid parameter "tls"', '"tls" is not a parameter of listen'),
    ("listen 110 default_server;", 'invalid parameter "default_server"', "is not a parameter of listen"),
    ("listen 110 reuseport;", 'invalid parameter "reuseport"', "is not a parameter of listen"),
    ("listen 110 ssl=on;", 'invalid parameter "ssl=on"', "is not a parameter of listen"),
    ('listen 110 "ssl bind";', 'invalid parameter "ssl bind"', '"ssl bind" must be one word'),
    ("listen 110 backlog=0;", 'invalid backlog "backlog=0"', "backlog: must be more than 0"),
    ("listen 110 backlog=x;", 'invalid backlog "backlog=x"', 'must be a whole number, 0 or more, not "x"'),
    ("listen 110 rcvbuf=1g;", 'invalid rcvbuf "rcvbuf=1g"', 'such as "8k" or "1m", not "1g"'),
    ("listen 110 sndbuf=x;", 'invalid sndbuf "sndbuf=x"', 'such as "8k" or "1m", not "x"'),
    ("listen 110 ipv6only=ok;", 'invalid ipv6only flags "ipv6only=ok"', 'not "ok"'),
    ("listen 110 ipv6only=yes;", 'invalid parameter "ipv6only=yes"', 'not "yes"'),
    ("listen 110 ipv6only=ON;", 'invalid parameter "ipv6only=ON"', ', not "ipv6only=ON"'),
    ("listen 110 so_keepalive=ON;", 'invalid so_keepalive value: "ON"', ', not "so_keepalive=ON"'),
    (
        "listen 110 so_keepalive=maybe;",
        'invalid so_keepalive value: "maybe"',
        "so_keepalive: must be on, off, or idle:interval:count",
    ),
    (
        "listen 110 so_keepalive=::;",
        'invalid so_keepalive value: "::"',
        "so_keepalive: must be on, off, or idle:interval:count",
    ),
    (
        "listen 110 so_keepalive=0:0:0;",
        'invalid so_keepalive value: "0:0:0"',
        "so_keepalive: must be on, off, or idle:interval:count",
    ),
    (
        "listen 127.0.0.1:143;",
        'duplicate "127.0.0.1:143" address and port pair',
        "127.0.0.1:143 is given twice",
    ),
    (
        "listen localhost:143;",
        'duplicate "127.0.0.1:143" address and port pair',
        "localhost:143 is the same as 127.0.0.1:143 in line",
    ),
    ("listen 127.0.0.1:142-144;", 'duplicate "127.0.0.1:143" address and port pair', "is given twice"),
    # auth_http
    (
        "auth_http https://a/;",
        'invalid port in auth_http "https://a/"',
        "must start with http://, in lower case",
    ),
    (
        "auth_http HTTP://a/;",
        'invalid port in auth_http "HTTP://a/"',
        "must start with http://, in lower case",
    ),
    ("auth_http nowhere.invalid;", 'host not found in auth_http "nowhere.invalid"', "cannot be resolved now"),
    ('auth_http "";', 'no host in auth_http ""', "has no host"),
    ("auth_http 127.0.0.1:x/;", 'invalid port in auth_http "127.0.0.1:x/"', 'to 65535, not "x"'),
    ("auth_http unix:;", 'no path in the unix domain socket in auth_http "unix:"', "has no path"),
    (
        "auth_http http://127.0.0.1:9000#x;",
        'invalid port in auth_http "127.0.0.1:9000#x"',
        'to 65535, not "9000#x"',
    ),
    ("auth_http_pass_client_cert x;", "invalid value", 'not "x"'),
    ("auth_http_timeout x;", '"auth_http_timeout" directive invalid value', 'or "500ms", not "x"'),
    # proxy
    ("proxy x;", "invalid value", 'not "x"'),
    ("proxy_buffer x;", '"proxy_buffer" directive invalid value', 'such as "8k" or "1m", not "x"'),
    ("proxy_timeout x;", '"proxy_timeout" directive invalid value', 'or "500ms", not "x"'),
    ("proxy_pass_error_message x;", "invalid value", 'not "x"'),
    ("proxy_smtp_auth x;", "invalid value", 'not "x"'),
    ("proxy_protocol v1;", 'invalid value "v1"', 'must be off, on or v2, not "v1"'),
    # imap, pop3, smtp
    ("imap_auth apop;", 'invalid value "apop"', 'not "apop"'),
    ("imap_auth none;", 'invalid value "none"', 'not "none"'),
    ("pop3_auth login;", 'invalid value "login"', 'not "login"'),
    ("smtp_auth apop;", 'invalid value "apop"', 'not "apop"'),
    ("smtp_greeting_delay x;", '"smtp_greeting_delay" directive invalid value', 'or "500ms", not "x"'),
    (
        "smtp_client_buffer x;",
        '"smtp_client_buffer" directive invalid value',
        'such as "8k" or "1m", not "x"',
    ),
    # realip
    ("set_real_ip_from 10.0.0.1/33;", 'host not found in set_real_ip_from "10.0.0.1/33"', "is not a network"),
    (
        "set_real_ip_from nowhere.invalid;",
        'host not found in set_real_ip_from "nowhere.invalid"',
        "resolved now",
    ),
    # ssl
    ("ssl_protocols SSLv4;", 'invalid value "SSLv4"', "must be SSLv2, SSLv3, TLSv1"),
    ("ssl_verify_client yes;", 'invalid value "yes"', 'or optional_no_ca, not "yes"'),
    (
        "ssl_verify_depth x;",
        '"ssl_verify_depth" directive invalid number',
        'must be a whole number, 0 or more, not "x"',
    ),
    (
        "ssl_session_cache memcache;",
        'invalid session cache "memcache"',
        'must be off, none, builtin, "builtin:1000" or "shared:NAME:10m", not "memcache"',
    ),
    ("ssl_session_cache shared:m;", 'invalid session cache "shared:m"', "must be off, none, builtin,"),
    ("ssl_session_cache shared:m:8k;", 'session cache "shared:m:8k" is too small', "the cache is too small"),
    (
        'ssl_session_cache "builtin shared:m:1m";',
        'invalid session cache "builtin shared:m:1m"',
        '"builtin shared:m:1m" must be one word',
    ),
    ("ssl_password_file gone;", 'open() "gone" failed', "cannot be read"),
    ("ssl_session_tickets x;", "invalid value", 'not "x"'),
    ("ssl_prefer_server_ciphers x;", "invalid value", 'not "x"'),
    (
        "ssl_certificate_compression x;",
        'invalid value "x" in "ssl_certificate_compression" directive',
        'not "x"',
    ),
]

#: The same; ``{crt}`` and ``{key}`` mean a certificate and its key, ``{other}`` another key.
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
    (
        "{both} ssl_ciphers BEST;",
        'SSL_CTX_set_cipher_list("BEST") failed',
        "OpenSSL has none of these ciphers",
    ),
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
    (f"mail {{ {AUTH} }} mail {{ }}", '"mail" directive is duplicate', "mail: is given twice here"),
    ("mail;", 'directive "mail" has no opening "{"', 'mail: must have a block: add "{ … }"'),
    (
        "mail on { }",
        'invalid number of arguments in "mail" directive',
        "must have no argument before its block",
    ),
    (f"mail {{ {AUTH} server; }}", 'directive "server" has no opening "{"', "must have a block"),
    (f"mail {{ {AUTH} listen 143; }}", '"listen" directive is not allowed here', "is not allowed here"),
    (f"mail {{ {AUTH} protocol imap; }}", '"protocol" directive is not allowed here', "is not allowed here"),
    ("timeout 1s;", '"timeout" directive is not allowed here', "is not allowed here"),
    (
        f"mail {{ {AUTH} server {{ protocol imap; }} }}",
        'no "listen" is defined for server',
        "this server has no listen",
    ),
    (
        f"mail {{ {AUTH} server {{ listen 1430; }} }}",
        "unknown mail protocol for server",
        "geomail cannot tell the protocol",
    ),
    (
        f"mail {{ {AUTH} server {{ listen unix:/x; }} }}",
        "unknown mail protocol for server",
        "geomail cannot tell the protocol",
    ),
    (
        f"mail {{ server {{ {SERVER} }} }}",
        'no "auth_http" is defined for server',
        "no auth source is configured",
    ),
    (
        f"mail {{ {AUTH} server {{ {SERVER} }}",
        'unexpected end of file, expecting "}"',
        "the file ends within the block that starts in line 1",
    ),
    (f"mail {{ {AUTH} }} }}", 'unexpected "}"', 'unexpected "}"'),
    (f"mail {{ {AUTH} ; }}", 'unexpected ";"', 'unexpected ";"'),
    ("mail { timeout 1s", 'unexpected end of file, expecting ";" or "}"', 'must end with ";"'),
    ('mail { server_name "x; }', 'unexpected end of file, expecting ";" or "}"', "add the missing quote"),
    ('mail { server_name "x"y; }', 'unexpected "y"', 'unexpected "y"'),
    ("include gone.conf;", 'open() "gone.conf" failed', "cannot be read"),
    ("include;", 'invalid number of arguments in "include" directive', "must have 1 argument and no block"),
    (
        "worker_processes none; mail { }",
        '"worker_processes" directive invalid value',
        'must be at least 1, or "auto", not "none"',
    ),
    (
        "worker_processes 1; worker_processes 1; mail { }",
        '"worker_processes" directive is duplicate',
        "is given twice here",
    ),
    (
        "worker_shutdown_timeout x; mail { }",
        '"worker_shutdown_timeout" directive invalid value',
        'or "500ms", not "x"',
    ),
    (
        "user a b c; mail { }",
        'invalid number of arguments in "user" directive',
        "must have 1 or 2 arguments, not 3",
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
    ("pid a b; mail { }", 'invalid number of arguments in "pid" directive', "must have 1 argument, not 2"),
    ("daemon maybe; mail { }", 'invalid value "maybe" in "daemon" directive', 'not "maybe"'),
    ("daemon; mail { }", 'invalid number of arguments in "daemon" directive', "must have 1 argument, not 0"),
    ("server { } mail { }", '"server" directive is not allowed here', "is not allowed here"),
    (
        f"mail {{ {AUTH} server {{ listen unix:/gone/s; protocol imap; }} }}",
        "bind() to unix:/gone/s failed",
        "there is no folder",
    ),
    (
        f"mail {{ {AUTH} server {{ listen 192.0.2.99:1430; protocol imap; }} }}",
        "bind() to 192.0.2.99:1430 failed",
        "192.0.2.99 is not an address of this machine",
    ),
    (
        f"mail {{ {AUTH} server {{ listen localhost:1430; protocol imap; }}\n"
        " server { listen 127.0.0.1:1430; protocol imap; } }",
        'duplicate "127.0.0.1:1430" address and port pair',
        "127.0.0.1:1430 is the same as localhost:1430 in line",
    ),
    ("error_log x loud; mail { }", 'invalid log level "loud"', '"loud" is not a log level'),
    (
        "events { worker_connections x; } mail { }",
        'invalid number "x"',
        "must be a whole number",
    ),
    ("events { } events { } mail { }", '"events" directive is duplicate', "events: is given twice here"),
]


def list_errors(text: str, folder: Path) -> list[str]:
    """Return the errors of ``import-nginx``, else those of ``check-config`` in its result."""
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
    found = list_errors(f"mail {{\n {AUTH}\n server {{\n {SERVER}\n {directives}\n }}\n}}\n", tmp_path)

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
    found = list_errors(text, tmp_path)

    assert any(said in text for text in found), found


@pytest.mark.parametrize(("text", "nginx", "said"), FILES, ids=names(FILES))
def test_a_file(text: str, nginx: str, said: str, tmp_path: Path) -> None:
    del nginx
    found = list_errors(text, tmp_path)

    assert any(said in line for line in found), found
