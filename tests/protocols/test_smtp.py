"""SMTP with a client: every row of nginx's tables, and what geomail corrects."""

from typing import Any

import pytest

from geomail.conversation import Rehearsal
from geomail.errors import (
    EarlyTalker,
    Farewell,
    LineTooLong,
    PeerGone,
    ProtocolViolation,
    SessionError,
    TooManyErrors,
)
from geomail.parties import Asserted, Login, NoLogin, Password, Refusal
from geomail.protocols.registry import PROTOCOLS
from geomail.protocols.smtp import SmtpFrontend
from tests.protocols.support import client_at, digest_in, server, talk

OK = b"250 2.0.0 OK"
INVALID = b"500 5.5.1 Invalid command"
BAD_ARGUMENT = b"501 5.5.4 Invalid argument"
BAD_SEQUENCE = b"503 5.5.1 Bad sequence of commands"
PLAIN = b"AUTH PLAIN AHUAcA=="
ALL = ("plain", "login", "cram-md5", "external", "none")
TLS: dict[str, Any] = {"starttls": "on"}
TLS_ONLY: dict[str, Any] = {"starttls": "only"}
AS_NGINX: dict[str, Any] = {"nginx_replies": True}
TLS_FIRST = b"530 5.7.0 Must issue a STARTTLS command first"
NO_MECHANISM = b"504 5.5.4 Unrecognized authentication type"
NONE: dict[str, Any] = {"smtp_auth": ("none",)}


def frontend(client: Rehearsal, **options: Any) -> SmtpFrontend:
    made = PROTOCOLS["smtp"](server("smtp", **options)).frontend(client, client_at())
    assert isinstance(made, SmtpFrontend)
    return made


def test_the_greeting() -> None:
    assert talk("smtp").client.said == [b"220 mx.test ESMTP ready"]


@pytest.mark.parametrize(
    ("line", "options", "reply"),
    [
        (b"HELO me", {}, b"250 mx.test"),
        (b"helo me", {}, b"250 mx.test"),
        (b"HELO  me  ", {}, b"250 mx.test"),
        (b"HELO", {}, BAD_ARGUMENT),
        (b"HELO me too", {}, b"250 mx.test"),
        (b"HELO" + b" x" * 40, {}, b"250 mx.test"),
        (b"HELO \x1b\xff", {}, b"250 mx.test"),
        (b"EHLO", {}, BAD_ARGUMENT),
        (b"AUTH", {}, BAD_ARGUMENT),
        (b"AUTH", TLS_ONLY, TLS_FIRST),
        (PLAIN, TLS_ONLY, TLS_FIRST),
        (PLAIN, TLS_ONLY | AS_NGINX, INVALID),
        (b"AUTH SCRAM-SHA-1", {}, NO_MECHANISM),
        (b"AUTH PLAIN AHUAcA== x", {}, INVALID),
        (b"AUTH PLAIN !", {}, INVALID),
        (b"AUTH CRAM-MD5", {}, NO_MECHANISM),
        (b"AUTH EXTERNAL", {}, NO_MECHANISM),
        (b"AUTH EXTERNAL dQ==", {}, NO_MECHANISM),
        (b"MAIL FROM:<a>", {}, b"530 5.7.1 Authentication required"),
        (b"MAIL FROM:<a>", TLS_ONLY, b"530 5.7.1 Authentication required"),
        (b"MAIL FROM:<a>", NONE, OK),
        (b"MAIL", NONE, BAD_ARGUMENT),
        (b"MAIL FROM:<a>", NONE | TLS, OK),
        (b"MAIL FROM:<a>", NONE | TLS_ONLY, b"530 5.7.0 Must issue a STARTTLS command first"),
        (b"RCPT TO:<a>", {}, BAD_SEQUENCE),
        (b"RCPT TO:<a>", NONE, BAD_SEQUENCE),
        (b"RCPT TO:<a>", NONE | TLS_ONLY, b"530 5.7.0 Must issue a STARTTLS command first"),
        (b"RSET", {}, OK),
        (b"RSET x", {}, OK),
        (b"NOOP", {}, OK),
        (b"noop x y", {}, OK),
        (b"QUIT", {}, b"221 2.0.0 Bye"),
        (b"QUIT x", {}, b"221 2.0.0 Bye"),
        (b"STARTTLS", {}, INVALID),
        (b"VRFY a", {}, INVALID),
        (b"EXPN a", {}, INVALID),
        (b"HELP", {}, INVALID),
        (b"DATA", {}, INVALID),
        (b"XCLIENT ADDR=1.2.3.4", {}, INVALID),
        (b"ETRN a", {}, INVALID),
        (b"NOOPS", {}, INVALID),
        (b"NOO", {}, INVALID),
        (b" NOOP", {}, INVALID),
        (b"", {}, INVALID),
        (b"NOOP\tx", {}, INVALID),
        (b"NOOP" + b" x" * 11, {}, OK),
        (b"NOOP" + b" x" * 12, {}, INVALID),
        (b"NOOP a\rb", {}, INVALID),
        (b"NOOP\r", {}, INVALID),
        (b"HELO a\0b", {}, INVALID),
    ],
    ids=repr,
)
def test_replies(line: bytes, options: dict[str, Any], reply: bytes) -> None:
    assert talk("smtp", line, **options).said == [reply]


@pytest.mark.parametrize(
    ("options", "secured", "lines"),
    [
        pytest.param({}, False, ["mx.test", "AUTH PLAIN LOGIN"], id="defaults"),
        pytest.param(TLS, False, ["mx.test", "AUTH PLAIN LOGIN", "STARTTLS"], id="starttls on"),
        pytest.param(TLS, True, ["mx.test", "AUTH PLAIN LOGIN"], id="starttls on, under TLS"),
        pytest.param(TLS_ONLY, False, ["mx.test", "STARTTLS"], id="starttls only"),
        pytest.param(TLS_ONLY, True, ["mx.test", "AUTH PLAIN LOGIN"], id="starttls only, under TLS"),
        pytest.param(NONE, False, ["mx.test"], id="none"),
        pytest.param(
            {"smtp_auth": ALL}, False, ["mx.test", "AUTH PLAIN LOGIN CRAM-MD5 EXTERNAL"], id="all methods"
        ),
        pytest.param(
            NONE | {"smtp_capabilities": ["SIZE 1000", "8BITMIME"]},
            False,
            ["mx.test", "SIZE 1000", "8BITMIME"],
            id="capabilities",
        ),
    ],
)
def test_the_reply_to_ehlo(options: dict[str, Any], secured: bool, lines: list[str]) -> None:
    expected = [f"250-{line}".encode() for line in lines[:-1]] + [f"250 {lines[-1]}".encode()]

    assert talk("smtp", b"EHLO me", secured=secured, **options).said == expected


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"EHLO my printer", b"my printer"),
        (b"EHLO  Office\tJet  4500 ", b"Office Jet 4500"),
        (b"EHLO [192.168.1.7]", b"[192.168.1.7]"),
        (b"EHLO under_score", b"under_score"),
        (b"EHLO <b>\x1b[31m;'\"+=", b"<b>?[31m;'\"+="),
        (b"EHLO \xc3\xa9\xff", b"\xc3\xa9\xff"),
        (b"EHLO" + b" x" * 40, b" ".join([b"x"] * 40)),
        (b"EHLO " + b"x" * 900, b"x" * 255),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_names_are_taken_as_postfix_takes_them(line: bytes, name: bytes) -> None:
    (login,) = talk("smtp", line, PLAIN).logins

    assert login.helo == name


@pytest.mark.parametrize(
    ("lines", "user", "password", "prompts"),
    [
        ([PLAIN], b"u", b"p", []),
        ([b"AUTH PLAIN", b"AHUAcA=="], b"u", b"p", [b"334 "]),
        ([b"AUTH PLAIN", b"AHUAcA== ignored"], b"u", b"p", [b"334 "]),
        ([b"AUTH LOGIN", b"dQ==", b"cA=="], b"u", b"p", [b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6"]),
        ([b"AUTH LOGIN dQ==", b""], b"u", b"", [b"334 UGFzc3dvcmQ6"]),
        ([b"auth login =", b"cA=="], b"", b"p", [b"334 UGFzc3dvcmQ6"]),
    ],
)
def test_auth(lines: list[bytes], user: bytes, password: bytes, prompts: list[bytes]) -> None:
    happened = talk("smtp", b"EHLO me", *lines)

    (login,) = happened.logins
    assert login == Login(Password(user, password), helo=b"me", esmtp=True)
    assert happened.said[2:] == [*prompts, b"535 5.7.0 no"]


def test_auth_needs_no_hello_and_is_taken_under_none() -> None:
    (login,) = talk("smtp", PLAIN, **NONE).logins

    assert (login.user, login.helo, login.esmtp) == (b"u", b"", False)


@pytest.mark.parametrize("line", [b"!", b"QUJDQ", b"AAAA", b"", b"AHUAcA", b"a\rb", b"a\0b"], ids=repr)
def test_a_bad_response_is_an_invalid_command(line: bytes) -> None:
    happened = talk("smtp", b"AUTH PLAIN", line, b"NOOP")
    expected = [b"535 5.7.0 no"] if line == b"AHUAcA" else [INVALID]

    assert happened.said == [b"334 ", *expected, OK]


def test_external_is_taken_where_it_is_enabled() -> None:
    happened = talk("smtp", b"AUTH EXTERNAL dQ==", b"AUTH EXTERNAL", b"dQ==", smtp_auth=("external",))

    assert happened.logins == [Login(Asserted(b"u"))] * 2


def test_nothing_of_a_failed_attempt_is_carried_over() -> None:
    cram = b"dSAwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg=="
    happened = talk(
        "smtp", b"AUTH CRAM-MD5", cram, b"MAIL FROM:<a>", b"RCPT TO:<b>", b"AUTH EXTERNAL dg==", smtp_auth=ALL
    )

    first, *others = happened.logins
    assert digest_in(first, "cram-md5").digest[:2] == b"01"
    assert others == [Login(NoLogin(b"MAIL FROM:<a>", b"RCPT TO:<b>")), Login(Asserted(b"v"))]


def test_each_cram_md5_has_a_challenge_of_its_own() -> None:
    said = talk("smtp", b"AUTH CRAM-MD5", b"*", b"AUTH CRAM-MD5", b"*", smtp_auth=("cram-md5",)).said

    assert said[0].startswith(b"334 ")
    assert said[0] != said[2]


# -- smtp_auth none -------------------------------------------------------------------------------


def test_none_keeps_the_clients_own_lines() -> None:
    happened = talk("smtp", b"HELO me", b"mail  From:<a>  SIZE=1  ", b"RCPT TO:<b> ", **NONE)

    (login,) = happened.logins
    assert login == Login(NoLogin(b"mail  From:<a>  SIZE=1", b"RCPT TO:<b>"), helo=b"me", esmtp=False)


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        ([b"MAIL FROM:<a>", b"MAIL FROM:<b>"], BAD_SEQUENCE),
        ([b"MAIL FROM:<a>", b"RCPT"], BAD_ARGUMENT),
        ([b"MAIL FROM:<a>", b"RSET", b"RCPT TO:<b>"], BAD_SEQUENCE),
        ([b"MAIL FROM:<a>", b"HELO me", b"RCPT TO:<b>"], BAD_SEQUENCE),
        ([b"MAIL FROM:<a>", b"STARTTLS", b"RCPT TO:<b>"], BAD_SEQUENCE),
        ([b"MAIL FROM:<a>", PLAIN, b"RCPT TO:<b>"], BAD_SEQUENCE),
    ],
    ids=repr,
)
def test_transactions(lines: list[bytes], reply: bytes) -> None:
    assert talk("smtp", *lines, smtp_auth=("plain", "none"), starttls="on").said[-1] == reply


def test_after_a_refused_recipient_others_may_be_tried() -> None:
    happened = talk("smtp", b"MAIL FROM:<a>", b"RCPT TO:<b>", b"RCPT TO:<c>", **NONE)

    assert [login.credentials for login in happened.logins] == [
        NoLogin(b"MAIL FROM:<a>", b"RCPT TO:<b>"),
        NoLogin(b"MAIL FROM:<a>", b"RCPT TO:<c>"),
    ]


def test_auth_after_mail_ends_the_transaction() -> None:
    happened = talk("smtp", b"MAIL FROM:<a>", PLAIN, b"MAIL FROM:<b>", smtp_auth=("plain", "none"))

    assert happened.logins[0].credentials == Password(b"u", b"p")
    assert happened.said == [OK, b"535 5.7.0 no", OK]


def test_a_malformed_auth_leaves_the_transaction_alone() -> None:
    happened = talk("smtp", b"MAIL FROM:<a>", b"AUTH PLAIN !", b"RCPT TO:<b>", smtp_auth=("plain", "none"))

    assert happened.logins == [Login(NoLogin(b"MAIL FROM:<a>", b"RCPT TO:<b>"))]


def test_refused_mail_leaves_the_pipeline_alone() -> None:
    happened = talk("smtp", b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nNOOP")

    assert happened.said == [b"530 5.7.1 Authentication required", BAD_SEQUENCE, OK]


# -- STARTTLS -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["on", "only"])
def test_starttls(option: str) -> None:
    happened = talk("smtp", b"starttls x", b"STARTTLS", b"EHLO me", starttls=option)

    assert happened.said == [
        b"220 2.0.0 Start TLS",
        b"<TLS handshake>",
        INVALID,
        b"250-mx.test",
        b"250 AUTH PLAIN LOGIN",
    ]


def test_starttls_forgets_the_hello() -> None:
    (login,) = talk("smtp", b"EHLO me", b"STARTTLS", PLAIN, **TLS).logins

    assert (login.helo, login.esmtp) == (b"", False)


def test_helo_takes_ehlo_back() -> None:
    (login,) = talk("smtp", b"EHLO me", b"HELO you", PLAIN).logins

    assert (login.helo, login.esmtp) == (b"you", False)


def test_bytes_behind_starttls_end_the_session_unheard() -> None:
    client = Rehearsal(peer="client", answers=lambda line: [b"STARTTLS", b"NOOP"] if b"ESMTP" in line else [])
    injected = frontend(client, **TLS)
    injected.greet()
    with pytest.raises(ProtocolViolation) as caught:
        injected.login()
    injected.farewell(caught.value)

    assert client.said[1:] == [b"220 2.0.0 Start TLS"]


# -- limits ---------------------------------------------------------------------------------------

UNCOUNTED = [
    b"VRFY a",
    b"EXPN a",
    b"HELP",
    b"HELO",
    b"AUTH",
    b"AUTH FOO",
    b"AUTH PLAIN !",
    b"MAIL FROM:<a>",
    b"RCPT TO:<a>",
    b"STARTTLS",
    PLAIN,
]
COUNTED = [b"DATA", b"", b" NOOP", b"NOOP" + b" x" * 12, b"NOOP a\rb", b"NO\0OP"]


@pytest.mark.parametrize("line", UNCOUNTED, ids=repr)
def test_commands_that_cannot_be_obeyed_are_not_counted(line: bytes) -> None:
    happened = talk("smtp", *[line] * 4, b"NOOP", max_errors=1)

    assert isinstance(happened.ended, PeerGone)
    assert happened.said[-1] == OK


@pytest.mark.parametrize("line", COUNTED, ids=repr)
@pytest.mark.parametrize(("max_errors", "replies"), [(0, 1), (1, 1), (2, 2), (5, 5)])
def test_lines_that_cannot_be_parsed_are_counted(line: bytes, max_errors: int, replies: int) -> None:
    happened = talk("smtp", *[line] * 8, max_errors=max_errors)

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.ended.blame == "client"
    assert happened.said == [INVALID] * replies


def test_a_broken_response_is_counted() -> None:
    happened = talk("smtp", b"AUTH PLAIN", b"AHUA\rcA==", max_errors=1)

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [b"334 ", INVALID]


def test_errors_are_counted_across_starttls() -> None:
    happened = talk("smtp", b"DATA", b"STARTTLS", b"DATA", max_errors=2, **TLS)

    assert isinstance(happened.ended, TooManyErrors)


@pytest.mark.parametrize(("most", "replies"), [(2, [OK, OK, INVALID]), (0, [OK] * 5)])
def test_max_commands(most: int, replies: list[bytes]) -> None:
    happened = talk("smtp", *[b"NOOP"] * 5, max_commands=most)

    assert happened.said == replies
    assert isinstance(happened.ended, TooManyErrors if most else PeerGone)


def test_a_line_with_its_end_fits_the_buffer_exactly() -> None:
    line = b"NOOP " + b"x" * (1024 - 7)

    assert talk("smtp", line, smtp_client_buffer=1024).said == [OK]


def test_a_longer_line_ends_the_session() -> None:
    happened = talk("smtp", b"NOOP " + b"x" * (1024 - 6), smtp_client_buffer=1024)

    assert isinstance(happened.ended, LineTooLong)
    assert happened.said == [INVALID]


def test_a_pipeline_may_be_longer_than_the_buffer() -> None:
    happened = talk("smtp", *[b"NOOP " + b"x" * 50] * 100, smtp_client_buffer=64)

    assert happened.said == [OK] * 100


@pytest.mark.parametrize(
    "request_line", [b"GET / HTTP/1.1", b"POST /x HTTP/1.0", b"GET /", b"PRI * HTTP/2.0"], ids=repr
)
def test_an_http_request_ends_the_session_at_once(request_line: bytes) -> None:
    happened = talk("smtp", request_line, b"Host: mx.test", b"", b"NOOP")

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [INVALID]


def test_http_later_in_a_session_is_one_error_among_others() -> None:
    assert talk("smtp", b"NOOP", b"GET / HTTP/1.1", b"NOOP").said == [OK, INVALID, OK]


# -- the last words -------------------------------------------------------------------------------


def test_quit_ends_the_session_whatever_was_pipelined() -> None:
    happened = talk("smtp", b"QUIT", b"NOOP")

    assert happened.ended is None
    assert happened.said == [b"221 2.0.0 Bye"]


@pytest.mark.parametrize(
    ("refusal", "lines"),
    [
        (Refusal(text=b"Bad login"), [b"535 5.7.0 Bad login"]),
        (Refusal(text=b"later", code=b"454 4.7.0"), [b"454 4.7.0 later"]),
        (Refusal(neutral=True), [b"535 5.7.8 Authentication credentials invalid"]),
        (Refusal(neutral=True, temporary=True), [b"454 4.7.0 Temporary authentication failure"]),
        (Refusal(reply=(b"535-5.7.8 no", b"535 5.7.8 no")), [b"535-5.7.8 no", b"535 5.7.8 no"]),
    ],
    ids=repr,
)
def test_refuse(refusal: Refusal, lines: list[bytes]) -> None:
    client = Rehearsal(peer="client")
    frontend(client).refuse(refusal)

    assert client.said == lines


def test_accept() -> None:
    client = Rehearsal(peer="client")
    frontend(client).accept((b"250-a", b"250 b"))

    assert client.said == [b"250-a", b"250 b"]


@pytest.mark.parametrize(
    ("farewell", "line"),
    [
        (Farewell.NOTHING, None),
        (Farewell.INVALID_COMMAND, INVALID),
        (Farewell.GOODBYE, None),
        (Farewell.INTERNAL_ERROR, b"454 4.7.0 Temporary authentication failure"),
        (Farewell.CREDENTIALS, b"535 5.7.8 Authentication credentials invalid"),
        (Farewell.EARLY_TALKER, b"503 5.5.0 Improper use of SMTP command pipelining"),
        (Farewell.CERTIFICATE_ERROR, b"421 4.7.1 SSL certificate error"),
        (Farewell.NO_CERTIFICATE, b"421 4.7.1 No required SSL certificate"),
        (Farewell.SHUTDOWN, b"421 4.3.2 Service shutting down"),
    ],
)
def test_farewell(farewell: Farewell, line: bytes | None) -> None:
    client = Rehearsal(peer="client")
    error = SessionError("private", blame="geomail")
    error.farewell = farewell
    frontend(client).farewell(error)

    assert client.said == ([line] if line else [])


def test_an_early_talker_is_told() -> None:
    client = Rehearsal(peer="client")
    frontend(client).farewell(EarlyTalker("spoke first", blame="client"))

    assert client.said[0].startswith(b"503 5.5.0 ")


# -- what may be shown ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([b"EHLO me"], [b"EHLO me"]),
        ([b"AUTH PLAIN c2VjcmV0"], [b"AUTH PLAIN ********"]),
        ([b"auth  plain c2VjcmV0 c2VjcmV0"], [b"auth plain ********"]),
        ([b"AUTH c2VjcmV0"], [b"AUTH ********"]),
        ([b"AUTH PLAIN\tc2VjcmV0"], [b"AUTH PLAIN ********"]),
        ([b" AUTH PLAIN c2VjcmV0"], [b"AUTH PLAIN ********"]),
        ([b"AUTH PLAIN", b"c2VjcmV0"], [b"AUTH PLAIN", b"********"]),
        ([b"AUTH LOGIN", b"dQ==", b"c2VjcmV0"], [b"AUTH LOGIN", b"********", b"********"]),
        ([b"AUTH FOO", b"c2VjcmV0"], [b"AUTH ********", b"********"]),
        ([b"c2VjcmV0"], [b"********"]),
        ([b"DATA"], [b"DATA"]),
        ([b"XCLIENT secret"], [b"XCLIENT ********"]),
    ],
    ids=repr,
)
def test_no_password_is_shown(lines: list[bytes], shown: list[bytes]) -> None:
    assert talk("smtp", *lines).shown == shown
