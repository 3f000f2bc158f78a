import tomllib
from collections.abc import Callable

import pytest

from geomail.config.dump import dump
from geomail.config.load import Inspection
from geomail.config.schema import Options, Server

Inspect = Callable[[str], Inspection]

FULL = """\
workers = 3
[mail]
auth_http = "127.0.0.1:9000/auth?a=b"
auth_http_header = { X-Key = "s3cret" }
smtp_capabilities = ["SIZE 1000", 'a "quote" and a \\x backslash']
timeout = "1h1s"
resolver = "127.0.0.1 ::1 valid=90s ipv4=off"
set_real_ip_from = ["10.0.0.0/8", "unix:"]
ssl_conf_command = { Options = "ServerPreference" }
[[mail.server]]
listen = ["127.0.0.1:25 proxy_protocol backlog=8", "[::1]:465-467 ssl so_keepalive=:5:"]
ssl_certificate = "mail.crt"
ssl_certificate_key = "mail.key"
proxy_buffer = "8k"
smtp_greeting_delay = "500ms"
[[mail.server]]
name = "inside"
protocol = "pop3"
listen = "unix:pop3"
auth = "passthrough"
[auth.passthrough]
default = "b.c"
domains = { "example.org" = "d" }
users = { "o'neil\\"@example.org" = "d" }
[[mail.server]]
listen = "127.0.0.1:143"
auth = "users"
[auth.users]
file = "users"
domains = { "example.org" = "d" }
[backends."b.c"]
address = "unix:dovecot"
[backends.d]
address = "127.0.0.1:143"
tls = "starttls"
"""


def write_dump(found: Inspection) -> str:
    assert found.config is not None, "\n".join(map(str, found.problems))
    return dump(found.config, found.source)


def test_a_dump_means_the_same(inspect_text: Inspect) -> None:
    found = inspect_text(FULL)
    again = inspect_text(write_dump(found).replace("********", "s3cret"))

    assert again.config == found.config


def test_every_server_is_complete(inspect_text: Inspect) -> None:
    servers = tomllib.loads(write_dump(inspect_text(FULL)))["mail"]["server"]

    optional = {key for key, option in Server.model_fields.items() if option.default is None}
    assert [set(Server.model_fields) - set(server) - optional for server in servers] == [set()] * 3
    assert {"auth_http", "auth_http_ca", "proxy_buffer", "ssl_password_file", "ssl_crl"} < optional


def test_secrets_are_masked(inspect_text: Inspect) -> None:
    text = write_dump(inspect_text(FULL))

    assert "s3cret" not in text
    assert 'auth_http_header = [["X-Key", "********"]]' in text


def test_origins_stand_beside_the_values(inspect_text: Inspect) -> None:
    lines = write_dump(inspect_text(FULL)).splitlines()

    assert [line.split() for line in lines if line.startswith("timeout")] == [
        ["timeout", "=", '"1h1s"', "#", "line", "6"],
    ] * 3
    assert "max_errors = 5" in lines
    unset = [line for line in lines if line.startswith("# proxy_buffer is not set: ")]
    assert unset == [f"# proxy_buffer is not set: {Options.model_fields['proxy_buffer'].description}"] * 2


@pytest.mark.parametrize(
    "text", ["\\x", "\\\\x41", "\x7f", "\x1b[31m", "a\nb", "\U0001f4e7", "'\"", "\\u0041"]
)
def test_texts_survive(inspect_text: Inspect, text: str) -> None:
    found = inspect_text(FULL)
    assert found.config is not None
    server = found.config.servers[0].model_copy(update={"ssl_ciphers": text})
    config = found.config.model_copy(update={"servers": (server,)})

    assert tomllib.loads(dump(config, found.source))["mail"]["server"][0]["ssl_ciphers"] == text
