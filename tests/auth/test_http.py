"""nginx's auth_http protocol: the question byte for byte, every answer, every failure."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from geomail.auth import http
from geomail.auth.base import Accepted, Refused, Source
from geomail.auth.http import escape
from geomail.errors import AuthUnavailable, Farewell, PeerTimeout
from geomail.parties import (
    Asserted,
    Client,
    ClientCertificate,
    Digest,
    Login,
    NoLogin,
    Password,
    ProxyAddresses,
    Refusal,
    Token,
)
from tests.auth.support import endpoint, source
from tests.net.raw_service import CLOSE, Action, RawService, closed_port, until_rested
from tests.protocols.support import client_at
from tests.servers.certificates import Certificates

PLAIN = Login(Password(b"u", b"p"))

Sources = Callable[..., Any]


@pytest.fixture
def sources() -> Iterator[Sources]:
    """Return a function that makes sources; they are closed after the test."""
    made: list[Source] = []

    def make(protocol: str, port: int, **options: Any) -> Source:
        given = {"auth_http": f"http://127.0.0.1:{port}/", "auth_http_timeout": 2, **options}
        made.append(source(protocol, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


def answer(*headers: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, *headers, b"Content-Length: 0", b"", b""))


OK = answer(b"Auth-Status: OK", b"Auth-Server: 192.0.2.11", b"Auth-Port: 143")


def asked(
    sources: Sources,
    said: Action | Sequence[Action],
    login: Login = PLAIN,
    protocol: str = "imap",
    client: Client | None = None,
    **options: Any,
) -> tuple[Accepted | Refused, bytes]:
    with RawService(said) as service:
        options = {name: str(value).replace("PORT", str(service.port)) for name, value in options.items()}
        verdict = sources(protocol, service.port, **options).check(login, client or client_at(), protocol, 1)
    return verdict, service.requests[-1]


def lines(*words: str) -> bytes:
    return "".join(word + "\r\n" for word in (*words, "")).encode("latin-1")


START = ("GET / HTTP/1.1", "Host: 127.0.0.1")
SMTP_END = (
    "Auth-Protocol: smtp",
    "Auth-Login-Attempt: 1",
    "Client-IP: 192.0.2.7",
    "Client-Host: [UNAVAILABLE]",
)
IMAP_END = ("Auth-Protocol: imap", "Auth-Login-Attempt: 1", "Client-IP: 192.0.2.7")
V6 = Client("2001:db8::7", 1, "2001:db8::1", 993)
SALT = "<1.2@mx.test>"

TLS = ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
TLS_LINES = ("Auth-SSL: on", "Auth-SSL-Protocol: TLSv1.3", "Auth-SSL-Cipher: TLS_AES_256_GCM_SHA384")
CERTIFICATE = ClientCertificate(
    der=b"certificate, in DER",
    subject="CN=cli ent.test,O=Ac me,C=US",
    issuer="CN=ca",
    serial="41735EF5697821E377A5BD72F8725E3FBA2C4A57",
    fingerprint="968edc86557d0ce5edde8d5d3ee9bdf43b8564ce",
)
CERTIFICATE_LINES = (
    "Auth-SSL-Subject: CN=cli ent.test,O=Ac me,C=US",
    "Auth-SSL-Issuer: CN=ca",
    "Auth-SSL-Serial: 41735EF5697821E377A5BD72F8725E3FBA2C4A57",
    "Auth-SSL-Fingerprint: 968edc86557d0ce5edde8d5d3ee9bdf43b8564ce",
)
LOGGED_IN = ("Auth-Method: plain", "Auth-User: u", "Auth-Pass: p", *IMAP_END)

QUESTIONS: dict[str, tuple[str, Login, Client, tuple[str, ...]]] = {
    "smtp": (
        "smtp",
        PLAIN,
        client_at(),
        ("Auth-Method: plain", "Auth-User: u", "Auth-Pass: p", *SMTP_END),
    ),
    "imap has no Client-Host": (
        "imap",
        PLAIN,
        client_at(),
        ("Auth-Method: plain", "Auth-User: u", "Auth-Pass: p", *IMAP_END),
    ),
    "empty credentials": (
        "imap",
        Login(Password(b"", b"")),
        client_at(),
        ("Auth-Method: plain", "Auth-User: ", "Auth-Pass: ", *IMAP_END),
    ),
    "escaped credentials": (
        "imap",
        Login(Password(b"us%er", b"p w\t\x00\x1f\x7f\xe9+/=")),
        client_at(),
        ("Auth-Method: plain", "Auth-User: us%25er", "Auth-Pass: p%20w%09%00%1F\x7f\xe9+/=", *IMAP_END),
    ),
    "apop": (
        "pop3",
        Login(Digest(b"u", b"c4c9334bac560ecc979e58001b3e22fb", SALT.encode(), "apop")),
        client_at(),
        (
            "Auth-Method: apop",
            "Auth-User: u",
            "Auth-Pass: c4c9334bac560ecc979e58001b3e22fb",
            f"Auth-Salt: {SALT}",
            "Auth-Protocol: pop3",
            *IMAP_END[1:],
        ),
    ),
    "cram-md5": (
        "imap",
        Login(Digest(b"u", b"d" * 32, SALT.encode(), "cram-md5")),
        client_at(),
        ("Auth-Method: cram-md5", "Auth-User: u", "Auth-Pass: " + "d" * 32, f"Auth-Salt: {SALT}", *IMAP_END),
    ),
    "a bearer token": (
        "imap",
        Login(Token(b"u", b"ya29 token", "xoauth2")),
        client_at(),
        ("Auth-Method: xoauth2", "Auth-User: u", "Auth-Pass: ya29%20token", *IMAP_END),
    ),
    "external": (
        "imap",
        Login(Asserted(b"u")),
        client_at(),
        ("Auth-Method: external", "Auth-User: u", "Auth-Pass: ", *IMAP_END),
    ),
    "none carries the commands, raw": (
        "smtp",
        Login(NoLogin(b"MAIL FROM:<a> SIZE=1", b"RCPT TO:<b>"), helo=b"m e%"),
        client_at(),
        (
            *("Auth-Method: none", "Auth-User: ", "Auth-Pass: ", *SMTP_END),
            *("Auth-SMTP-Helo: m e%", "Auth-SMTP-From: MAIL FROM:<a> SIZE=1", "Auth-SMTP-To: RCPT TO:<b>"),
        ),
    ),
    "none without HELO": (
        "smtp",
        Login(NoLogin(b"MAIL FROM:<>", b"RCPT TO:<b>")),
        client_at(),
        (
            *("Auth-Method: none", "Auth-User: ", "Auth-Pass: ", *SMTP_END),
            *("Auth-SMTP-Helo: ", "Auth-SMTP-From: MAIL FROM:<>", "Auth-SMTP-To: RCPT TO:<b>"),
        ),
    ),
    "a login carries no commands": (
        "smtp",
        Login(Password(b"u", b"p"), helo=b"me", esmtp=True),
        replace(client_at(), name=b"client.test"),
        (
            *("Auth-Method: plain", "Auth-User: u", "Auth-Pass: p", *SMTP_END[:-1]),
            "Client-Host: client.test",
        ),
    ),
    "IPv6": (
        "imap",
        PLAIN,
        V6,
        ("Auth-Method: plain", "Auth-User: u", "Auth-Pass: p", *IMAP_END[:2], "Client-IP: 2001:db8::7"),
    ),
    "unix": (
        "imap",
        PLAIN,
        Client("unix:", 0, "unix:/run/imap", 0),
        ("Auth-Method: plain", "Auth-User: u", "Auth-Pass: p", *IMAP_END[:2], "Client-IP: unix:"),
    ),
    "a session that is told by its id": (
        "imap",
        PLAIN,
        replace(client_at(), session=b"c0ffee-1"),
        (*LOGGED_IN, "Auth-Session: c0ffee-1"),
    ),
    "a client without a certificate": (
        "imap",
        PLAIN,
        replace(client_at(), tls=TLS, certificate=ClientCertificate()),
        (*LOGGED_IN, *TLS_LINES, "Auth-SSL-Verify: NONE"),
    ),
    "a client with a certificate": (
        "imap",
        PLAIN,
        replace(client_at(), tls=TLS, certificate=CERTIFICATE),
        (*LOGGED_IN, *TLS_LINES, "Auth-SSL-Verify: SUCCESS", *CERTIFICATE_LINES),
    ),
    "a client with an untrusted certificate": (
        "imap",
        PLAIN,
        replace(
            client_at(), tls=TLS, certificate=replace(CERTIFICATE, error=18, reason="self-signed certificate")
        ),
        (*LOGGED_IN, *TLS_LINES, "Auth-SSL-Verify: FAILED:self-signed certificate", *CERTIFICATE_LINES),
    ),
    "everything": (
        "smtp",
        Login(NoLogin(b"MAIL FROM:<a>", b"RCPT TO:<b>"), helo=b"me"),
        replace(
            client_at(),
            proxy=ProxyAddresses("198.51.100.1", 4711, "198.51.100.2", 25),
            tls=("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ),
        (
            *("Auth-Method: none", "Auth-User: ", "Auth-Pass: ", *SMTP_END),
            *("Proxy-Protocol-Addr: 198.51.100.1", "Proxy-Protocol-Port: 4711"),
            *("Proxy-Protocol-Server-Addr: 198.51.100.2", "Proxy-Protocol-Server-Port: 25"),
            *("Auth-SMTP-Helo: me", "Auth-SMTP-From: MAIL FROM:<a>", "Auth-SMTP-To: RCPT TO:<b>"),
            *("Auth-SSL: on", "Auth-SSL-Protocol: TLSv1.3", "Auth-SSL-Cipher: TLS_AES_256_GCM_SHA384"),
        ),
    ),
}


@pytest.mark.parametrize(
    ("protocol", "login", "client", "expected"), QUESTIONS.values(), ids=QUESTIONS.keys()
)
def test_the_question(
    protocol: str, login: Login, client: Client, expected: tuple[str, ...], sources: Sources
) -> None:
    said = OK.replace(b"Auth-Port", b"Auth-Pass: x\r\nAuth-Port")

    assert asked(sources, said, login, protocol, client)[1] == lines(*START, *expected)


@pytest.mark.parametrize(
    ("url", "first"),
    [
        ("http://127.0.0.1:PORT", START),
        ("http://127.0.0.1:PORT/a/b?c=d%20e", ("GET /a/b?c=d%20e HTTP/1.1", "Host: 127.0.0.1")),
        ("http://localhost:PORT/auth", ("GET /auth HTTP/1.1", "Host: localhost")),
    ],
)
def test_the_target_is_sent_unchanged_and_the_host_without_its_port(
    url: str, first: tuple[str, str], sources: Sources
) -> None:
    assert asked(sources, OK, auth_http=url)[1].startswith("\r\n".join((*first, "Auth-Method:")).encode())


def test_the_whole_certificate_is_sent_if_configured(sources: Sources) -> None:
    client = replace(client_at(), tls=TLS, certificate=CERTIFICATE)
    pem = "-----BEGIN%20CERTIFICATE-----%0AY2VydGlmaWNhdGUsIGluIERFUg==%0A-----END%20CERTIFICATE-----%0A"

    _, request = asked(sources, OK, client=client, auth_http_pass_client_cert="on")
    assert request.endswith(f"{CERTIFICATE_LINES[-1]}\r\nAuth-SSL-Cert: {pem}\r\n\r\n".encode())

    for other in (replace(client, certificate=ClientCertificate()), replace(client, certificate=None)):
        _, request = asked(sources, OK, client=other, auth_http_pass_client_cert="on")
        assert b"Auth-SSL-Cert" not in request


def test_headers_of_the_configuration_come_last(sources: Sources) -> None:
    with RawService(OK) as service:
        headers = [["X-Key", "a b%"], ["X-Other", ""]]
        sources("imap", service.port, auth_http_header=headers).check(PLAIN, client_at(), "imap", 1)

    assert service.requests[0].endswith(b"Client-IP: 192.0.2.7\r\nX-Key: a b%\r\nX-Other: \r\n\r\n")


def test_the_attempt_is_counted_by_the_session(sources: Sources) -> None:
    with RawService(OK) as service:
        one = sources("imap", service.port)
        for attempt in (1, 2, 17):
            until_rested(one.client.pool)
            one.check(PLAIN, client_at(), "imap", attempt)

    assert [request.split(b"Attempt: ")[1].split(b"\r")[0] for request in service.requests] == [
        b"1",
        b"2",
        b"17",
    ]
    assert service.connections == 1


@pytest.mark.parametrize("field", ["helo", "mail", "rcpt"])
@pytest.mark.parametrize("poison", [b"a\r\nX: 1", b"a\nX: 1", b"a\rX: 1", b"a\0"])
def test_no_value_of_a_client_makes_a_header(field: str, poison: bytes, sources: Sources) -> None:
    login = Login(NoLogin(b"", b""))
    setattr(login if field == "helo" else login.credentials, field, poison)
    with RawService(OK) as service:
        with pytest.raises(AuthUnavailable, match="was not asked"):
            sources("smtp", service.port).check(login, client_at(), "smtp", 1)

        assert service.requests == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", b""),
        (b"ann@example.org", b"ann@example.org"),
        (b"a b", b"a%20b"),
        (b"%", b"%25"),
        (b"\r\n\0", b"%0D%0A%00"),
        (bytes(range(0x21)), b"".join(b"%%%02X" % code for code in range(0x21))),
        (bytes(range(0x7F, 0x100)), bytes(range(0x7F, 0x100))),
        (b"!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", b"!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ],
)
def test_escaping(value: bytes, expected: bytes) -> None:
    assert escape(value) == expected


# -- accepted -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "backend"),
    [
        ((b"Auth-Status: OK", b"Auth-Server: 192.0.2.1", b"Auth-Port: 143"), "192.0.2.1:143"),
        ((b"Auth-Server: 192.0.2.1", b"Auth-Port: 143"), "192.0.2.1:143"),
        ((b"AUTH-SERVER:192.0.2.1  ", b"auth-port:   143"), "192.0.2.1:143"),
        ((b"Auth-Server: x", b"Auth-Server: 192.0.2.1", b"Auth-Port: 1", b"Auth-Port: 143"), "192.0.2.1:143"),
        ((b"Auth-Server: 2001:DB8:0::1", b"Auth-Port: 143"), "[2001:db8::1]:143"),
        ((b"Auth-Server: [2001:db8::1]", b"Auth-Port: 143"), "[2001:db8::1]:143"),
        ((b"Auth-Server: Imap-1.Example.org", b"Auth-Port: 143"), "imap-1.example.org:143"),
        ((b"Auth-Server: imap.example.org.", b"Auth-Port: 143"), "imap.example.org:143"),
        ((b"Auth-Server: imap_1", b"Auth-Port: 143"), "imap_1:143"),
        ((b"Auth-Server: 192.0.2.1", b"Auth-Port: 00143"), "192.0.2.1:143"),
        ((b"Auth-Server: 192.0.2.1", b"Auth-Port: 65535"), "192.0.2.1:65535"),
        ((b"Auth-Server: 192.0.2.1", b"Auth-Port: 143", b"Auth-Wait: 5"), "192.0.2.1:143"),
        ((b"Auth-Server: 192.0.2.1", b"Auth-Port: 143", b"X-Unknown: y", b"Auth-Backend:"), "192.0.2.1:143"),
        ((b"Auth-Server: 192.0.2.11", b"Auth-Port: 143"), "one"),
        ((b"Auth-Server: IMAP.example.test", b"Auth-Port: 143"), "three"),
        ((b"Auth-Server: [2001:db8:0:0::6]", b"Auth-Port: 143"), "six"),
        ((b"Auth-Backend: two",), "two"),
        ((b"Auth-Backend: local",), "local"),
        ((b"Auth-Backend: two", b"Auth-Server: garbage!", b"Auth-Port: x"), "two"),
    ],
)
def test_the_route_of_an_accepted_login(headers: tuple[bytes, ...], backend: str, sources: Sources) -> None:
    verdict = asked(sources, answer(*headers))[0]

    assert isinstance(verdict, Accepted)
    assert backend in (endpoint(verdict).name, endpoint(verdict).label)


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"500 Oops", b"204 No Content", b"junk"])
def test_the_http_status_does_not_matter(status: bytes, sources: Sources) -> None:
    said = answer(b"Auth-Server: 192.0.2.1", b"Auth-Port: 143", status=status)

    assert isinstance(asked(sources, said)[0], Accepted)


def test_headers_without_a_status_line(sources: Sources) -> None:
    said: list[Action] = [b"Auth-Server: 192.0.2.1\nAuth-Port: 143\n\n", CLOSE]

    assert isinstance(asked(sources, said)[0], Accepted)


DIGEST = Login(Digest(b"u", b"d" * 32, b"<1.2@x>", "cram-md5"))


@pytest.mark.parametrize(
    ("protocol", "login", "headers", "user", "password"),
    [
        ("imap", PLAIN, (), b"u", b"p"),
        ("imap", PLAIN, (b"Auth-User: x y%20",), b"x y%20", b"p"),
        ("imap", PLAIN, (b"Auth-User:",), b"", b"p"),
        ("imap", PLAIN, (b"Auth-Pass: q",), b"u", b"q"),
        ("imap", PLAIN, (b"Auth-Pass:",), b"u", b""),
        ("imap", Login(Password(b"u", b"")), (), b"u", b""),
        ("imap", DIGEST, (b"Auth-Pass: q",), b"u", b"q"),
        ("pop3", DIGEST, (b"Auth-Pass:",), b"u", b""),
        ("imap", Login(Asserted(b"u")), (b"Auth-Pass: q",), b"u", b"q"),
        ("smtp", PLAIN, (), b"u", b"p"),
        ("smtp", DIGEST, (), b"u", None),
        ("smtp", Login(Asserted(b"u")), (), b"u", None),
        ("smtp", Login(NoLogin(b"", b"")), (), b"", None),
        ("smtp", Login(NoLogin(b"", b"")), (b"Auth-User: x", b"Auth-Pass: q"), b"x", b"q"),
    ],
)
def test_the_user_and_password_of_an_accepted_login(
    protocol: str,
    login: Login,
    headers: tuple[bytes, ...],
    user: bytes,
    password: bytes | None,
    sources: Sources,
) -> None:
    verdict = asked(sources, answer(*headers, b"Auth-Backend: one"), login, protocol)[0]

    assert isinstance(verdict, Accepted)
    assert (verdict.user, verdict.password) == (user, password)


def test_no_repr_shows_a_password(sources: Sources) -> None:
    assert "hunter2" not in repr(
        asked(sources, OK.replace(b"Auth-Port", b"Auth-Pass: hunter2\r\nAuth-Port"))[0]
    )


# -- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "headers", "refusal"),
    [
        ("imap", (b"Auth-Status: Bad login",), Refusal(b"Bad login")),
        ("imap", (b"Auth-Status: ok",), Refusal(b"ok")),
        ("imap", (b"Auth-Status: wait",), Refusal(b"wait")),
        ("imap", (b"Auth-Status: No", b"Auth-Status: OK"), Refusal(b"No")),
        ("imap", (b"Auth-Status: OK", b"Auth-Status: No", b"Auth-Backend: one"), Refusal(b"No")),
        ("imap", (b"Auth-Status: No", b"Auth-Status: Never"), Refusal(b"Never")),
        ("imap", (b"Auth-Status: WAIT", b"Auth-Status: No"), Refusal(b"No")),
        ("imap", (b"Auth-Status:",), Refusal(b"")),
        ("imap", (b"Auth-Status",), Refusal(b"")),
        ("pop3", (b"Auth-Status:",), Refusal(b"")),
        ("smtp", (b"Auth-Status:", b"Auth-Backend: one"), Refusal(b"")),
        ("smtp", (b"Auth-Status: No",), Refusal(b"No")),
        ("smtp", (b"Auth-Status: No", b"Auth-Error-Code: 454 4.7.0"), Refusal(b"No", b"454 4.7.0")),
        ("smtp", (b"Auth-Status: No", b"Auth-Error-Code: 535"), Refusal(b"No", b"535")),
        ("smtp", (b"Auth-Status: No", b"Auth-Error-Code: 550 5.7.139"), Refusal(b"No", b"550 5.7.139")),
        ("smtp", (b"Auth-Status: No", b"Auth-Error-Code:"), Refusal(b"No")),
        ("smtp", (b"Auth-Status: No", b"Auth-Error-Code: 235 2.7.0"), Refusal(b"No")),
        ("smtp", (b"Auth-Status: No", b"Auth-Error-Code: 535-5.7.0"), Refusal(b"No")),
        ("smtp", (b"Auth-Status: No", b"Auth-Error-Code: 535 hello"), Refusal(b"No")),
        ("smtp", (b"Auth-Status: No", b"Auth-Error-Code: 5350"), Refusal(b"No")),
        ("imap", (b"Auth-Status: No", b"Auth-Error-Code: 454 4.7.0"), Refusal(b"No")),
        ("imap", (b"Auth-Status: a\tb\x1b[1mc\x7f\xc3\xa9",), Refusal(b"a\tb [1mc \xc3\xa9")),
        ("imap", (b"Auth-Status: " + b"x" * 5000,), Refusal(b"x" * 480)),
        ("imap", (b"Auth-Status: " + b"x" * 479 + "é".encode(),), Refusal(b"x" * 479)),
    ],
)
def test_a_refusal_closes(
    protocol: str, headers: tuple[bytes, ...], refusal: Refusal, sources: Sources
) -> None:
    verdict = asked(sources, answer(*headers), protocol=protocol)[0]

    assert verdict == Refused(refusal, wait=0.0, close=True)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (b"Auth-Wait: 3", 3.0),
        (b"Auth-Wait:   03", 3.0),
        (b"Auth-Wait: 0", 0.0),
        (b"Auth-Wait: -1", 0.0),
        (b"Auth-Wait: 1.5", 0.0),
        (b"Auth-Wait: 3s", 0.0),
        (b"Auth-Wait: \xb2", 0.0),
        (b"Auth-Wait:", 0.0),
        (b"Auth-Wait: 1" + b"0" * 5000, 0.0),
        (b"Auth-Wait: 999999", 3600.0),
    ],
)
def test_a_refusal_with_a_wait_lets_the_client_try_again(
    header: bytes, wait: float, sources: Sources
) -> None:
    verdict = asked(sources, answer(b"Auth-Status: No", header))[0]

    assert verdict == Refused(Refusal(b"No"), wait=wait, close=wait == 0)


def test_a_refusal_may_name_the_user_for_the_log(sources: Sources) -> None:
    verdict = asked(sources, answer(b"Auth-Status: No", b"Auth-User: ann"))[0]

    assert isinstance(verdict, Refused)
    assert verdict.user == b"ann"


# -- WAIT -----------------------------------------------------------------------------------------


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses between two questions, and do not sleep."""
    seconds: list[float] = []
    monkeypatch.setattr(http, "sleep", seconds.append)
    return seconds


def waits(header: bytes) -> bytes:
    return answer(b"Auth-Status: WAIT", header)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(b"Auth-Wait: 5", 5.0), (b"Auth-Wait: 0", 1.0), (b"Auth-Wait: x", 1.0), (b"X: 1", 1.0)],
)
def test_wait_asks_the_same_question_again(
    header: bytes, seconds: float, sources: Sources, slept: list[float]
) -> None:
    with RawService(waits(header), waits(header), OK) as service:
        verdict = sources("imap", service.port).check(PLAIN, client_at(), "imap", 3)

    assert isinstance(verdict, Accepted)
    assert slept == [seconds, seconds]
    assert service.requests == [service.requests[0]] * 3
    assert b"Auth-Login-Attempt: 3\r\n" in service.requests[0]


def test_a_refusal_after_a_wait_is_one(sources: Sources, slept: list[float]) -> None:
    with RawService(waits(b"Auth-Wait: 2"), answer(b"Auth-Status: No", b"Auth-Wait: 7")) as service:
        verdict = sources("imap", service.port).check(PLAIN, client_at(), "imap", 1)

    assert verdict == Refused(Refusal(b"No"), wait=7.0, close=False)


def test_waiting_is_bounded(sources: Sources, slept: list[float]) -> None:
    with RawService(waits(b"Auth-Wait: 1")) as service:
        with pytest.raises(AuthUnavailable, match=r"answered WAIT 21 times"):
            sources("imap", service.port).check(PLAIN, client_at(), "imap", 1)

        assert len(service.requests) == 21


def test_waiting_does_sleep(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SHORTEST_WAIT", 0.05)
    began = time.monotonic()
    with RawService(waits(b"X: 1"), OK) as service:
        sources("imap", service.port).check(PLAIN, client_at(), "imap", 1)

    assert time.monotonic() - began >= 0.05


# -- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (answer(b"Auth-Status: OK"), "did not send server or port, nor Auth-Backend (HTTP status 200)"),
        (answer(b"X: 1", status=b"502 Bad Gateway"), "(HTTP status 502)"),
        (answer(b"Auth-Server: 192.0.2.1"), "did not send server or port"),
        (answer(b"Auth-Port: 143"), "did not send server or port"),
        (answer(b"Auth-Server:", b"Auth-Port: 143"), "did not send server or port"),
        (answer(b"Auth-Backend:"), "did not send server or port"),
        (answer(b"Auth-Server: a b", b"Auth-Port: 1"), 'sent invalid server address:"a b"'),
        (answer(b"Auth-Server: 192.0.2.256", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: 192.0.2", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: 192.0.2.1:143", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: [192.0.2.1]", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: 2001:db8::g", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: fe80::1%eth0", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: unix:/run/mail", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: http://x/", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: -x", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: a..b", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: " + b"a." * 127 + b"b", b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b"Auth-Server: " + b"a" * 64, b"Auth-Port: 1"), "sent invalid server address"),
        (answer(b'Auth-Server: "\x1b\xe9', b"Auth-Port: 1"), r'server address:"\"\x1b\xe9"'),
        (answer(b"Auth-Server: 192.0.2.1", b"Auth-Port: 0"), 'sent invalid server port:"0"'),
        (answer(b"Auth-Server: 192.0.2.1", b"Auth-Port: 65536"), 'sent invalid server port:"65536"'),
        (answer(b"Auth-Server: 192.0.2.1", b"Auth-Port: -1"), "sent invalid server port"),
        (answer(b"Auth-Server: 192.0.2.1", b"Auth-Port: imap"), "sent invalid server port"),
        (answer(b"Auth-Server: 192.0.2.1", b"Auth-Port: " + b"1" * 5000), "sent invalid server port"),
        (answer(b"Auth-Backend: nine"), 'sent invalid backend "nine": there is no such table in [backends]'),
        (answer(b"Auth-Backend: \xff"), r'sent invalid backend "\xff"'),
        (answer(b"Auth-Backend: one", b"Auth-User: a\rb"), "sent invalid header"),
        (answer(b"Auth-Backend: one", b"Auth-Pass: a\0b"), "sent invalid header"),
        (answer(b"Auth-Status: no\r250 ok"), "sent invalid header"),
        (answer(b"Auth_Status: OK", b"Auth-Backend: one"), "sent invalid header in response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20000, "sent more than 16384 bytes of headers"),
        ([b"HTTP/1.1 200 OK\r\nAuth-Backend: one\r\n", CLOSE], "gave no complete answer"),
        ([CLOSE], "gave no complete answer: closed the connection"),
    ],
)
def test_unusable_answers(said: Action | list[Action], problem: str, sources: Sources) -> None:
    with RawService(said) as service:
        with pytest.raises(AuthUnavailable) as caught:
            sources("imap", service.port).check(PLAIN, client_at(), "imap", 1)

        text = str(caught.value)
        assert text.startswith(f"auth http server 127.0.0.1:{service.port} ")
        assert problem in text
        assert text.isprintable()
        assert (caught.value.blame, caught.value.farewell) == ("auth", Farewell.INTERNAL_ERROR)


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize(
    "login",
    [
        DIGEST,
        Login(Digest(b"u", b"d" * 32, b"<1>", "apop")),
        Login(Token(b"u", b"token", "xoauth2")),
        Login(Asserted(b"u")),
    ],
)
def test_a_digest_is_not_a_password(protocol: str, login: Login, sources: Sources) -> None:
    with pytest.raises(AuthUnavailable, match=f"did not send password: method {login.credentials.method} "):
        asked(sources, answer(b"Auth-Backend: one"), login, protocol)


def test_a_service_that_does_not_listen(sources: Sources) -> None:
    port = closed_port()
    with pytest.raises(AuthUnavailable) as caught:
        sources("imap", port).check(PLAIN, client_at(), "imap", 1)

    assert str(caught.value) == (
        f"auth http server 127.0.0.1:{port} cannot be reached: Connection refused;"
        " does it run, and listen there?"
    )


def test_a_service_whose_name_is_unknown(sources: Sources) -> None:
    one = sources("imap", 1, auth_http="http://auth.invalid:9000/")
    with pytest.raises(
        AuthUnavailable, match=r"auth\.invalid:9000 cannot be reached: auth\.invalid could not be"
    ):
        one.check(PLAIN, client_at(), "imap", 1)


def test_a_silent_service(sources: Sources) -> None:
    with RawService(5.0) as service:
        one = sources("imap", service.port, auth_http_timeout="100ms")
        with pytest.raises(PeerTimeout) as caught:
            one.check(PLAIN, client_at(), "imap", 1)

        assert str(caught.value) == (
            f"auth http server 127.0.0.1:{service.port} timed out (0.1 s, auth_http_timeout)"
        )
        assert (caught.value.blame, caught.value.farewell) == ("auth", Farewell.INTERNAL_ERROR)


def test_after_a_failure_the_service_is_asked_again(sources: Sources) -> None:
    with RawService([b"HTTP/1.1 200 OK\r\n", 0.2], OK) as service:
        one = sources("imap", service.port, auth_http_timeout="50ms")
        with pytest.raises(PeerTimeout):
            one.check(PLAIN, client_at(), "imap", 1)

        assert isinstance(one.check(PLAIN, client_at(), "imap", 2), Accepted)


def test_each_login_gets_its_own_answer(sources: Sources) -> None:
    """Two logins at the same time, on two connections: each gets its own answer."""
    slow: list[Action] = [0.05, answer(b"Auth-Backend: one")]
    with RawService(slow, answer(b"Auth-Backend: two")) as service:
        one = sources("imap", service.port)
        first = gevent.spawn(one.check, PLAIN, client_at(), "imap", 1)
        gevent.sleep(0.01)
        second = one.check(PLAIN, client_at(), "imap", 1)

        verdicts = (first.get(), second)

    assert [endpoint(verdict).name for verdict in verdicts] == ["one", "two"]


# -- other ways to the service --------------------------------------------------------------------


def test_without_keepalive_each_question_has_its_own_connection_and_says_so(sources: Sources) -> None:
    with RawService(OK) as service:
        one = sources("imap", service.port, auth_http_keepalive="off")
        for _ in range(2):
            one.check(PLAIN, client_at(), "imap", 1)
            assert one.client.pool.idle == 0

    assert service.requests[1].split(b"\r\n")[2] == b"Connection: close"
    assert service.connections == 2


def test_a_login_that_finds_no_connection_free_says_so(sources: Sources) -> None:
    with RawService([60.0]) as service:
        one = sources("imap", service.port, auth_http_timeout=0.1, auth_http_connections=1)
        first, second = (gevent.spawn(one.check, PLAIN, client_at(), "imap", 1) for _ in range(2))
        gevent.sleep(0)
        gevent.joinall([first, second])

    assert isinstance(first.exception, PeerTimeout)
    assert "answered on none of 1 connections (auth_http_connections) in 0.1 s" in str(second.exception)


@pytest.mark.parametrize(
    ("lines", "backend"),
    [
        ((b"Auth-Backend: one",), "one"),
        ((b"Auth-Server: 192.0.2.11", b"Auth-Port: 143"), "one"),
        ((b"Auth-Server: ::ffff:192.0.2.11", b"Auth-Port: 143"), "one"),
        ((b"Auth-Server: 192.0.2.11", b"Auth-Port: 144"), ""),
        ((b"Auth-Server: 192.0.2.1", b"Auth-Port: 143"), ""),
    ],
)
def test_only_configured_backends_are_accepted_if_configured(
    lines: Sequence[bytes], backend: str, sources: Sources
) -> None:
    for _ in range(2):  # the second time the address is known
        verdict, _question = asked(sources, answer(*lines), auth_http_backends="configured")
        if backend:
            assert endpoint(verdict).name == backend
        else:
            with pytest.raises(AuthUnavailable, match="is not the address of a configured backend"):
                endpoint(verdict)


def test_over_a_unix_socket(tmp_path: Path, sources: Sources) -> None:
    path = tmp_path / "auth"
    with RawService(OK, path=path) as service:
        one = sources("imap", 0, auth_http=f"unix:{path}:/a")
        one.check(PLAIN, client_at(), "imap", 1)
        until_rested(one.client.pool)
        one.check(PLAIN, client_at(), "imap", 1)

    assert service.requests[0].startswith(b"GET /a HTTP/1.1\r\nHost: localhost\r\nAuth-Method: ")
    assert service.connections == 1
    with pytest.raises(AuthUnavailable, match=f"auth http server unix:{path} cannot be reached"):
        one.check(PLAIN, client_at(), "imap", 1)


def test_over_https(certificates: Certificates, sources: Sources) -> None:
    with RawService(OK, tls=certificates.server.server_context()) as service:
        url = f"https://localhost:{service.port}/"
        one = sources("imap", 0, auth_http=url, auth_http_ca=str(certificates.ca.certificate))

        assert isinstance(one.check(PLAIN, client_at(), "imap", 1), Accepted)


@pytest.mark.parametrize("which", ["misnamed", "expired", "untrusted"])
def test_over_https_with_a_wrong_certificate(
    which: str, certificates: Certificates, sources: Sources
) -> None:
    with RawService(OK, tls=getattr(certificates, which).server_context()) as service:
        url = f"https://localhost:{service.port}/"
        one = sources("imap", 0, auth_http=url, auth_http_ca=str(certificates.ca.certificate))
        with pytest.raises(AuthUnavailable, match=r"cannot be trusted or spoken to: TLS: .*auth_http_ca"):
            one.check(PLAIN, client_at(), "imap", 1)

        assert service.requests == []


# -- auth_http_cache ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "cached", "questions"),
    [
        (OK, "10s", 1),
        (OK, "0", 2),
        (answer(b"Auth-Status: no", b"Auth-Wait: 1"), "10s", 2),
    ],
)
def test_accepted_logins_are_kept_if_configured(
    sources: Sources, said: bytes, cached: str, questions: int
) -> None:
    with RawService([said] * 2) as service:
        asked_twice = sources("imap", service.port, auth_http_cache=cached)
        verdicts = [asked_twice.check(PLAIN, client_at(), "imap", attempt) for attempt in (1, 2)]

        assert verdicts[0] == verdicts[1]
        assert len(service.requests) == questions
