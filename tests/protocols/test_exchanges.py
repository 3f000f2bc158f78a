"""SASL exchanges that lead nowhere, in all protocols: clients are to try another way, or ask again."""

from typing import Any

import pytest

from tests.protocols.support import talk

CANCELLED = {
    "smtp": b"501 5.7.0 Authentication cancelled",
    "imap": b"a BAD Authentication cancelled",
    "pop3": b"-ERR Authentication cancelled",
}
UNKNOWN = {
    "smtp": b"504 5.5.4 Unrecognized authentication type",
    "imap": b"a NO Unsupported authentication mechanism",
    "pop3": b"-ERR Unsupported authentication mechanism",
}
TLS_FIRST = {
    "smtp": b"530 5.7.0 Must issue a STARTTLS command first",
    "imap": b"a NO [PRIVACYREQUIRED] Must issue a STARTTLS command first",
    "pop3": b"-ERR Must issue a STLS command first",
}
INVALID = {
    "smtp": b"500 5.5.1 Invalid command",
    "imap": b"a BAD invalid command",
    "pop3": b"-ERR invalid command",
}
VERBS = {"smtp": b"AUTH", "imap": b"a AUTHENTICATE", "pop3": b"AUTH"}
LOGINS = {
    "smtp": [b"AUTH PLAIN AHUAcA=="],
    "imap": [b"a LOGIN u p", b"a AUTHENTICATE PLAIN AHUAcA=="],
    "pop3": [b"USER u", b"APOP u d", b"AUTH", b"AUTH PLAIN AHUAcA=="],
}
every_protocol = pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
as_nginx = pytest.mark.parametrize("nginx_replies", [False, True])


def methods(protocol: str, *names: str) -> dict[str, Any]:
    return {f"{protocol}_auth": names}


@every_protocol
@as_nginx
@pytest.mark.parametrize(
    ("mechanism", "responses"),
    [
        (b"PLAIN", [b"*"]),
        (b"PLAIN", [b"* "]),
        (b"LOGIN", [b"*"]),
        (b"LOGIN", [b"dQ==", b"*"]),
        (b"LOGIN dQ==", [b"*"]),
        (b"CRAM-MD5", [b"*"]),
        (b"EXTERNAL", [b"*"]),
    ],
    ids=repr,
)
def test_a_star_cancels(protocol: str, nginx_replies: bool, mechanism: bytes, responses: list[bytes]) -> None:
    options = methods(protocol, "plain", "cram-md5", "external") | {"nginx_replies": nginx_replies}
    happened = talk(protocol, VERBS[protocol] + b" " + mechanism, *responses, max_errors=1, **options)

    assert happened.logins == []
    assert happened.said[-1] == CANCELLED[protocol]


@every_protocol
@pytest.mark.parametrize("response", [b"**", b"* x", b"!"], ids=repr)
def test_nothing_else_does(protocol: str, response: bytes) -> None:
    assert talk(protocol, VERBS[protocol] + b" PLAIN", response).said[-1] == INVALID[protocol]


@every_protocol
@as_nginx
@pytest.mark.parametrize(
    "words",
    [b"NTLM", b"ntlm TlRMTVNTUAAB", b"SCRAM-SHA-256 eCx5", b"CRAM-MD5", b"EXTERNAL", b"EXTERNAL dQ=="],
)
def test_a_mechanism_that_is_not_there(protocol: str, nginx_replies: bool, words: bytes) -> None:
    lines = [VERBS[protocol] + b" " + words] * 3
    happened = talk(protocol, *lines, max_errors=1, nginx_replies=nginx_replies)

    assert happened.said == [UNKNOWN[protocol]] * 3


@every_protocol
def test_a_client_falls_back(protocol: str) -> None:
    happened = talk(protocol, VERBS[protocol] + b" NTLM", VERBS[protocol] + b" PLAIN AHUAcA==")

    assert [login.user for login in happened.logins] == [b"u"]


@pytest.mark.parametrize(
    ("protocol", "line", "nginx_replies", "answer"),
    [
        (protocol, line, nginx_replies, answers[protocol])
        for nginx_replies, answers in ((False, TLS_FIRST), (True, INVALID))
        for protocol, lines in LOGINS.items()
        for line in lines
    ],
)
def test_a_login_before_the_tls_that_is_demanded(
    protocol: str, line: bytes, nginx_replies: bool, answer: bytes
) -> None:
    options: dict[str, Any] = {
        "starttls": "only",
        "pop3_auth": ("plain", "apop"),
        "nginx_replies": nginx_replies,
    }
    happened = talk(protocol, *[line] * 3, max_errors=1, **options)

    assert happened.logins == []
    assert happened.said == [answer] * 3
    assert talk(protocol, line, secured=True, **options).said != [answer]
