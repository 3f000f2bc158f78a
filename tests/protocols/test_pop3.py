"""POP3 with a client: every row of nginx's tables, and what geomail corrects."""

import base64
import os
import re
from typing import Any

import pytest

from geomail.conversation import Rehearsal
from geomail.errors import (
    Farewell,
    LineTooLong,
    PeerGone,
    ProtocolViolation,
    SessionError,
    TooManyErrors,
)
from geomail.parties import Asserted, Digest, Login, Password, Refusal
from geomail.protocols.pop3 import Pop3Frontend
from geomail.protocols.registry import PROTOCOLS
from tests.protocols.support import client_at, digest_in, server, talk

OK = b"+OK"
INVALID = b"-ERR invalid command"
NO = b"-ERR no"
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
TLS: dict[str, Any] = {"starttls": "on"}
TLS_ONLY: dict[str, Any] = {"starttls": "only"}
AS_NGINX: dict[str, Any] = {"nginx_replies": True}
CANCELLED = b"-ERR Authentication cancelled"
TLS_FIRST = b"-ERR Must issue a STLS command first"
NO_MECHANISM = b"-ERR Unsupported authentication mechanism"
APOP: dict[str, Any] = {"pop3_auth": ("plain", "apop")}
CAPA = [b"+OK Capability list follows", b"TOP", b"USER", b"UIDL", b"SASL PLAIN LOGIN"]
USER = b"USER u"


def frontend(client: Rehearsal, **options: Any) -> Pop3Frontend:
    made = PROTOCOLS["pop3"](server("pop3", **options)).frontend(client, client_at())
    assert isinstance(made, Pop3Frontend)
    return made


# -- the greeting ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "salted"),
    [(("plain",), False), (("external",), False), (("plain", "apop"), True), (("plain", "cram-md5"), False)],
)
def test_the_greeting(methods: tuple[str, ...], salted: bool) -> None:
    (greeting,) = talk("pop3", pop3_auth=methods).client.said

    assert re.fullmatch(rb"\+OK POP3 ready" + (rb" <\d+\.\d+@mx\.test>" if salted else b""), greeting)


def test_each_session_has_a_salt_of_its_own() -> None:
    assert talk("pop3", **APOP).client.said != talk("pop3", **APOP).client.said


# -- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "options", "replies"),
    [
        ([USER], {}, [OK]),
        ([b"USER"], {}, [INVALID]),
        ([b"USER "], {}, [INVALID]),
        ([b"USER  "], {}, [OK]),
        ([USER], TLS_ONLY, [TLS_FIRST]),
        ([USER], TLS_ONLY | AS_NGINX, [INVALID]),
        ([b"PASS p"], {}, [INVALID]),
        ([USER, b"PASS p"], TLS_ONLY, [TLS_FIRST, TLS_FIRST]),
        ([b"APOP u digest"], {}, [INVALID]),
        ([b"APOP u"], APOP, [INVALID]),
        ([b"APOP u d x"], APOP, [INVALID]),
        ([b"APOP u digest"], APOP | TLS_ONLY, [TLS_FIRST]),
        ([b"APOP u digest"], APOP | TLS_ONLY | AS_NGINX, [INVALID]),
        ([b"AUTH"], {}, [b"+OK methods supported:", b"PLAIN", b"LOGIN", b"."]),
        ([b"AUTH"], TLS_ONLY, [TLS_FIRST]),
        ([b"AUTH PLAIN AHUAcA=="], TLS_ONLY, [TLS_FIRST]),
        ([b"AUTH PLAIN AHUAcA=="], TLS_ONLY | AS_NGINX, [INVALID]),
        ([b"AUTH FOO"], {}, [NO_MECHANISM]),
        ([b"AUTH PLAIN !"], {}, [INVALID]),
        ([b"AUTH PLAIN AHUAcA== x"], {}, [INVALID]),
        ([b"AUTH CRAM-MD5"], {}, [NO_MECHANISM]),
        ([b"AUTH EXTERNAL dQ=="], {}, [NO_MECHANISM]),
        ([b"STLS"], {}, [INVALID]),
        ([b"NOOP x"], {}, [OK]),
        ([b"noop"], {}, [OK]),
        ([b"QUIT x"], {}, [OK]),
        ([b"STAT"], {}, [INVALID]),
        ([b"NOOPS"], {}, [INVALID]),
        ([b"NOOP a b c"], {}, [OK]),
        ([b"NOOP a b c d"], {}, [INVALID]),
        ([b"NOOP\tx"], {}, [INVALID]),
        ([b" NOOP"], {}, [INVALID]),
        ([b""], {}, [INVALID]),
        ([b"USER a\rb"], {}, [INVALID]),
        ([b"USER a\0b"], {}, [INVALID]),
        ([USER, b"PASS"], {}, [OK, INVALID]),
        ([USER, b"PASS "], {}, [OK, INVALID]),
        ([USER, b"CAPA"], {}, [OK, *CAPA, b"."]),
        ([USER, b"CAPA"], TLS, [OK, *CAPA, b"."]),
        ([USER, b"NOOP", b"CAPA", b"PASS p"], {}, [OK, OK, *CAPA, b".", NO]),
        ([USER, b"QUIT"], {}, [OK, OK]),
        ([USER, USER, b"PASS p"], {}, [OK, INVALID, INVALID]),
        ([USER, b"APOP u d", b"PASS p"], APOP, [OK, INVALID, INVALID]),
        ([USER, b"AUTH", b"PASS p"], {}, [OK, INVALID, INVALID]),
        ([USER, b"STLS", b"PASS p"], TLS, [OK, INVALID, INVALID]),
        ([USER, b"STAT", b"PASS p"], {}, [OK, INVALID, INVALID]),
        ([USER, b"PASS", b"PASS p"], {}, [OK, INVALID, INVALID]),
        ([USER, b"PASS p", b"PASS p"], {}, [OK, NO, INVALID]),
    ],
    ids=repr,
)
def test_replies(lines: list[bytes], options: dict[str, Any], replies: list[bytes]) -> None:
    assert talk("pop3", *lines, **options).said == replies


@pytest.mark.parametrize(
    ("options", "secured", "lines"),
    [
        pytest.param({}, False, CAPA, id="defaults"),
        pytest.param(TLS, False, [*CAPA, b"STLS"], id="starttls on"),
        pytest.param(TLS, True, CAPA, id="starttls on, under TLS"),
        pytest.param(TLS_ONLY, False, [CAPA[0], b"TOP", b"UIDL", b"STLS"], id="starttls only"),
        pytest.param(TLS_ONLY, True, CAPA, id="starttls only, under TLS"),
        pytest.param(
            TLS_ONLY | {"pop3_capabilities": ["user", "USERS"]},
            False,
            [CAPA[0], b"USERS", b"STLS"],
            id="starttls only, user in lower case",
        ),
        pytest.param({"pop3_auth": ("apop",)}, False, [*CAPA[:-1], b"SASL"], id="no mechanism"),
        pytest.param(
            {"pop3_auth": ("external", "cram-md5", "plain")},
            False,
            [*CAPA[:-1], b"SASL PLAIN LOGIN CRAM-MD5 EXTERNAL"],
            id="all mechanisms",
        ),
    ],
)
def test_capa(options: dict[str, Any], secured: bool, lines: list[bytes]) -> None:
    assert talk("pop3", b"CAPA", secured=secured, **options).said == [*lines, b"."]


@pytest.mark.parametrize(
    ("lines", "user", "password"),
    [
        ([b"USER u", b"PASS p"], b"u", b"p"),
        ([b"user a b ", b"pass p w  "], b"a b ", b"p w  "),
        ([b"USER   u", b"PASS  p"], b"  u", b" p"),
        ([b"USER  ", b"PASS   "], b" ", b"  "),
        ([b"USER \xc3\xa9", b"PASS \xff"], b"\xc3\xa9", b"\xff"),
        ([b"AUTH PLAIN AHUAcA=="], b"u", b"p"),
        ([b"AUTH PLAIN", b"AHUAcA=="], b"u", b"p"),
        ([b"AUTH LOGIN", b"dQ==", b"cA=="], b"u", b"p"),
        ([b"AUTH LOGIN dQ==", b"cA=="], b"u", b"p"),
    ],
    ids=repr,
)
def test_logins(lines: list[bytes], user: bytes, password: bytes) -> None:
    happened = talk("pop3", *lines)

    (login,) = happened.logins
    assert login == Login(Password(user, password))
    assert happened.said[-1] == NO


def test_prompts() -> None:
    assert talk("pop3", b"AUTH PLAIN", b"*", b"AUTH LOGIN", b"dQ==", b"*").said == [
        b"+ ",
        CANCELLED,
        b"+ VXNlcm5hbWU6",
        b"+ UGFzc3dvcmQ6",
        CANCELLED,
    ]


def test_apop_comes_with_the_greetings_salt() -> None:
    happened = talk("pop3", b"APOP u 0123", b"APOP v 4567", **APOP)

    start, salt = happened.client.said[0][:15], happened.client.said[0][15:]
    assert start == b"+OK POP3 ready "
    assert happened.logins == [
        Login(Digest(b"u", b"0123", salt, "apop")),
        Login(Digest(b"v", b"4567", salt, "apop")),
    ]


def test_cram_md5_never_takes_the_greetings_salt() -> None:
    response = base64.b64encode(b"u " + b"0" * 32)
    happened = talk(
        "pop3", b"AUTH CRAM-MD5", response, b"AUTH CRAM-MD5", response, pop3_auth=("apop", "cram-md5")
    )

    salts = [digest_in(login, "cram-md5").salt for login in happened.logins]
    assert len({happened.client.said[0].split()[-1], *salts}) == 3
    assert happened.said[0] == b"+ " + base64.b64encode(salts[0])


def test_external_carries_no_password_over() -> None:
    happened = talk("pop3", USER, b"PASS p", b"AUTH EXTERNAL dg==", pop3_auth=("plain", "external"))

    assert happened.logins[1] == Login(Asserted(b"v"))


@pytest.mark.parametrize(
    "credentials", [b"\0u\r\nDELE 1\0p", b"\0u\0p\nDELE 1", b"\0u\0p\0", b"\0u\r\0p"], ids=repr
)
def test_no_command_can_be_smuggled_in_credentials(credentials: bytes) -> None:
    happened = talk("pop3", b"AUTH PLAIN " + base64.b64encode(credentials), max_errors=1)

    assert happened.logins == []
    assert happened.said == [INVALID]


# -- STLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["on", "only"])
def test_stls(option: str) -> None:
    happened = talk("pop3", b"STLS x", b"STLS", USER, starttls=option)

    assert happened.said == [OK, b"<TLS handshake>", INVALID, OK]


def test_bytes_behind_stls_end_the_session_unheard() -> None:
    client = Rehearsal(peer="client", answers=lambda line: [b"STLS", USER] if b"ready" in line else [])
    injected = frontend(client, **TLS)
    injected.greet()
    with pytest.raises(ProtocolViolation) as caught:
        injected.login()
    injected.farewell(caught.value)

    assert client.said[1:] == [OK]


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [b"USER", b"PASS p", b"APOP u d", b"AUTH FOO", b"AUTH PLAIN !", b"STLS", b"AUTH PLAIN AHUAcA=="],
    ids=repr,
)
def test_commands_that_cannot_be_obeyed_are_not_counted(line: bytes) -> None:
    assert talk("pop3", *[line] * 4, b"NOOP", max_errors=1).said[-1] == OK


@pytest.mark.parametrize(
    "line", [b"STAT", b"", b" NOOP", b"NOOP a b c d", b"USER a\rb", b"USER a\0b"], ids=repr
)
@pytest.mark.parametrize(("max_errors", "replies"), [(0, 1), (1, 1), (3, 3)])
def test_lines_that_cannot_be_parsed_are_counted(line: bytes, max_errors: int, replies: int) -> None:
    happened = talk("pop3", *[line] * 5, max_errors=max_errors)

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [INVALID] * replies


def test_a_broken_response_is_counted() -> None:
    happened = talk("pop3", b"AUTH PLAIN", b"a\rb", max_errors=1)

    assert isinstance(happened.ended, TooManyErrors)


def test_max_commands() -> None:
    happened = talk("pop3", b"NOOP", b"NOOP", b"NOOP", max_commands=2)

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [OK, OK, INVALID]


@pytest.mark.parametrize(
    ("options", "size", "fits"),
    [
        ({"pop3_client_buffer": 128}, 128, True),
        ({"pop3_client_buffer": 128}, 129, False),
        ({"pop3_client_buffer": 200}, 200, True),
        ({"pop3_client_buffer": 200}, 201, False),
        ({}, PAGE_SIZE, True),
        ({}, PAGE_SIZE + 1, False),
    ],
)
def test_a_line_and_its_end_fit_the_buffer(options: dict[str, Any], size: int, fits: bool) -> None:
    happened = talk("pop3", b"USER " + b"u" * (size - 7), **options)

    assert happened.said == [OK if fits else INVALID]
    assert isinstance(happened.ended, PeerGone if fits else LineTooLong)


@pytest.mark.parametrize(("size", "fits"), [(128, True), (129, False)])
def test_a_response_has_the_whole_buffer(size: int, fits: bool) -> None:
    response = base64.b64encode(b"\0u\0" + b"p" * 90) + b"=="
    happened = talk("pop3", b"AUTH PLAIN", response.ljust(size - 2, b"="), pop3_client_buffer=128)

    assert len(happened.logins) == (1 if fits else 0)


def test_an_http_request_ends_the_session_at_once() -> None:
    happened = talk("pop3", b"GET / HTTP/1.1", b"Host: mx.test", b"")

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [INVALID]


# -- the last words -------------------------------------------------------------------------------


def test_quit_ends_the_session_whatever_was_pipelined() -> None:
    happened = talk("pop3", b"QUIT", b"NOOP")

    assert happened.ended is None
    assert happened.said == [OK]


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (Refusal(text=b"Bad login"), b"-ERR Bad login"),
        (Refusal(neutral=True), b"-ERR [AUTH] Authentication failed"),
        (Refusal(neutral=True, temporary=True), b"-ERR [SYS/TEMP] Service temporarily unavailable"),
        (Refusal(reply=(b"-ERR their words",)), b"-ERR their words"),
    ],
    ids=repr,
)
def test_refuse(refusal: Refusal, line: bytes) -> None:
    client = Rehearsal(peer="client")
    frontend(client).refuse(refusal)

    assert client.said == [line]


def test_accept() -> None:
    client = Rehearsal(peer="client")
    frontend(client).accept((b"+OK maildrop ready",))

    assert client.said == [b"+OK maildrop ready"]


@pytest.mark.parametrize(
    ("farewell", "line"),
    [
        (Farewell.NOTHING, None),
        (Farewell.INVALID_COMMAND, INVALID),
        (Farewell.GOODBYE, None),
        (Farewell.INTERNAL_ERROR, b"-ERR [SYS/TEMP] Service temporarily unavailable"),
        (Farewell.CREDENTIALS, b"-ERR [AUTH] Authentication failed"),
        (Farewell.EARLY_TALKER, None),
        (Farewell.CERTIFICATE_ERROR, b"-ERR SSL certificate error"),
        (Farewell.NO_CERTIFICATE, b"-ERR No required SSL certificate"),
        (Farewell.SHUTDOWN, b"-ERR [SYS/TEMP] Server shutting down"),
    ],
)
def test_farewell(farewell: Farewell, line: bytes | None) -> None:
    client = Rehearsal(peer="client")
    error = SessionError("private", blame="geomail")
    error.farewell = farewell
    frontend(client).farewell(error)

    assert client.said == ([line] if line else [])


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([b"USER u", b"PASS secret"], [b"USER u", b"PASS ********"]),
        ([b"pass  sec ret"], [b"pass ********"]),
        ([b"PASS"], [b"PASS"]),
        ([b"APOP u digest"], [b"APOP u ********"]),
        ([b"APOP u"], [b"APOP u"]),
        ([b"AUTH PLAIN c2VjcmV0"], [b"AUTH PLAIN ********"]),
        ([b"AUTH PLAIN", b"c2VjcmV0"], [b"AUTH PLAIN", b"********"]),
        ([b"AUTH FOO", b"c2VjcmV0"], [b"AUTH ********", b"********"]),
        ([b"PASSsecret"], [b"********"]),
        ([b"STAT", b"RETR secret"], [b"STAT", b"RETR ********"]),
    ],
    ids=repr,
)
def test_no_password_is_shown(lines: list[bytes], shown: list[bytes]) -> None:
    assert talk("pop3", *lines).shown == shown
