"""IMAP with a client: every row of nginx's tables, and what geomail corrects."""

import base64
from typing import Any

import pytest

from geomail.conversation import Rehearsal
from geomail.errors import (
    Farewell,
    LineTooLong,
    ProtocolViolation,
    SessionError,
    TooManyErrors,
)
from geomail.parties import Asserted, Login, Password, Refusal
from geomail.protocols.imap import ImapFrontend
from geomail.protocols.registry import PROTOCOLS
from tests.protocols.support import client_at, digest_in, server, talk

PLAIN = b"AHUAcA=="
TLS: dict[str, Any] = {"starttls": "on"}
TLS_ONLY: dict[str, Any] = {"starttls": "only"}
CAPABILITY = b"* CAPABILITY IMAP4 IMAP4rev1 UIDPLUS"
BUFFER: dict[str, Any] = {"imap_client_buffer": 64}
AS_NGINX: dict[str, Any] = {"nginx_replies": True}
BYE = b"* BYE Logging out"
TOO_MANY = b"* BYE Too many errors"
TOO_LONG = b"* BYE Command too long"
TLS_FIRST = b"a NO [PRIVACYREQUIRED] Must issue a STARTTLS command first"
NO_MECHANISM = b"a NO Unsupported authentication mechanism"


def frontend(client: Rehearsal, **options: Any) -> ImapFrontend:
    made = PROTOCOLS["imap"](server("imap", **options)).frontend(client, client_at())
    assert isinstance(made, ImapFrontend)
    return made


def test_the_greeting() -> None:
    assert talk("imap", imap_greeting_capability=False).client.said == [b"* OK IMAP4 ready"]


@pytest.mark.parametrize(
    ("options", "secured"),
    [({}, False), (TLS, False), (TLS, True), (TLS_ONLY, False), (TLS_ONLY, True)],
    ids=repr,
)
def test_the_greeting_names_what_capability_would(options: dict[str, Any], secured: bool) -> None:
    happened = talk("imap", b"a CAPABILITY", secured=secured, **options)

    greeting, capability, _ = happened.client.said
    assert greeting == b"* OK [" + capability.removeprefix(b"* ") + b"] IMAP4 ready"


@pytest.mark.parametrize(
    ("line", "options", "replies"),
    [
        (b"a NOOP", {}, [b"a OK completed"]),
        (b"a noop", {}, [b"a OK completed"]),
        (b"a   NOOP  x y z", {}, [b"a OK completed"]),
        (b"a CAPABILITY x", {}, [CAPABILITY + b" AUTH=PLAIN", b"a OK completed"]),
        (b"a LOGOUT x", {}, [BYE, b"a OK completed"]),
        (b"a STARTTLS", {}, [b"a BAD invalid command"]),
        (b"a LOGIN", {}, [b"a BAD invalid command"]),
        (b"a LOGIN u", {}, [b"a BAD invalid command"]),
        (b"a LOGIN u p x", {}, [b"a BAD invalid command"]),
        (b'a LOGIN "" p', {}, [b"a BAD invalid command"]),
        (b"a LOGIN u", TLS_ONLY, [b"a BAD invalid command"]),
        (b"a LOGIN u p", TLS_ONLY, [TLS_FIRST]),
        (b"a LOGIN u p", TLS_ONLY | AS_NGINX, [b"a BAD invalid command"]),
        (b"a AUTHENTICATE", {}, [b"a BAD invalid command"]),
        (b"a AUTHENTICATE", TLS_ONLY, [b"a BAD invalid command"]),
        (b"a AUTHENTICATE FOO", {}, [NO_MECHANISM]),
        (b"a AUTHENTICATE FOO x y", {}, [NO_MECHANISM]),
        (b"a AUTHENTICATE PLAIN", TLS_ONLY, [TLS_FIRST]),
        (b"a AUTHENTICATE PLAIN", TLS_ONLY | AS_NGINX, [b"a BAD invalid command"]),
        (b"a AUTHENTICATE PLAIN !", {}, [b"a BAD invalid command"]),
        (b"a AUTHENTICATE PLAIN AHUAcA== x", {}, [b"a BAD invalid command"]),
        (b"a AUTHENTICATE CRAM-MD5", {}, [NO_MECHANISM]),
        (b"a AUTHENTICATE EXTERNAL", {}, [NO_MECHANISM]),
        (b"a AUTHENTICATE EXTERNAL dQ==", {}, [NO_MECHANISM]),
        (b"a SELECT INBOX", {}, [b"a BAD invalid command"]),
        (b"a NOOPS", {}, [b"a BAD invalid command"]),
        (b"a NOOP\tx", {}, [b"a BAD invalid command"]),
        (b"a NOOP a b c d", {}, [b"a BAD invalid command"]),
        (b"a NOOP \rx", {}, [b"a BAD invalid command"]),
        (b"a NO\0OP", {}, [b"a BAD invalid command"]),
        (b"a ", {}, [b"a BAD invalid command"]),
        (b"a", {}, [b"a BAD invalid command"]),
        (b"", {}, [b"* BAD invalid command"]),
        (b" NOOP", {}, [b"* BAD invalid command"]),
        (b"a+b NOOP", {}, [b"* BAD invalid command"]),
        (b"\xc3\xa9 NOOP", {}, [b"* BAD invalid command"]),
        (b"A-Z_0.9 NOOP", {}, [b"A-Z_0.9 OK completed"]),
        (b"t" * 32 + b" NOOP", {}, [b"t" * 32 + b" OK completed"]),
        (b"t" * 33 + b" NOOP", {}, [b"t" * 33 + b" OK completed"]),
    ],
    ids=repr,
)
def test_replies(line: bytes, options: dict[str, Any], replies: list[bytes]) -> None:
    assert talk("imap", line, **options).said == replies


@pytest.mark.parametrize(
    ("options", "secured", "line"),
    [
        pytest.param({}, False, CAPABILITY + b" AUTH=PLAIN", id="defaults"),
        pytest.param(TLS, False, CAPABILITY + b" AUTH=PLAIN STARTTLS", id="starttls on"),
        pytest.param(TLS, True, CAPABILITY + b" AUTH=PLAIN", id="starttls on, under TLS"),
        pytest.param(TLS_ONLY, False, CAPABILITY + b" STARTTLS LOGINDISABLED", id="starttls only"),
        pytest.param(TLS_ONLY, True, CAPABILITY + b" AUTH=PLAIN", id="starttls only, under TLS"),
        pytest.param(
            {"imap_auth": ("external", "cram-md5", "login", "plain"), "imap_capabilities": ["IMAP4rev2"]},
            False,
            b"* CAPABILITY IMAP4rev2 AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=EXTERNAL",
            id="all methods",
        ),
    ],
)
def test_the_capability_line(options: dict[str, Any], secured: bool, line: bytes) -> None:
    assert talk("imap", b"a CAPABILITY", secured=secured, **options).said[0] == line


# -- AUTHENTICATE ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"a AUTHENTICATE PLAIN " + PLAIN], []),
        ([b"a authenticate plain", PLAIN], [b"+ "]),
        ([b'a AUTHENTICATE "PLAIN" {8}', PLAIN], [b"+ OK"]),
        ([b"a AUTHENTICATE LOGIN", b"dQ==", b"cA=="], [b"+ VXNlcm5hbWU6", b"+ UGFzc3dvcmQ6"]),
        ([b"a AUTHENTICATE LOGIN dQ==", b"cA=="], [b"+ UGFzc3dvcmQ6"]),
    ],
)
def test_authenticate(lines: list[bytes], said: list[bytes]) -> None:
    happened = talk("imap", *lines)

    (login,) = happened.logins
    assert login == Login(Password(b"u", b"p"), tag=b"a")
    assert happened.said == [*said, b"a NO no"]


def test_cram_md5_and_external_where_enabled() -> None:
    digest = base64.b64encode(b"u " + b"0" * 32)
    happened = talk(
        "imap",
        b"a AUTHENTICATE CRAM-MD5",
        digest,
        b"b AUTHENTICATE EXTERNAL dg==",
        b"c AUTHENTICATE CRAM-MD5",
        digest,
        imap_auth=("cram-md5", "external"),
    )

    first, external, second = happened.logins
    assert external == Login(Asserted(b"v"), tag=b"b")
    salts = [digest_in(first, "cram-md5").salt, digest_in(second, "cram-md5").salt]
    assert salts[0] != salts[1]
    assert happened.said[0] == b"+ " + base64.b64encode(salts[0])


@pytest.mark.parametrize("line", [b"!", b"", b"AAAA", b"a\rb", b"a\0b"], ids=repr)
def test_a_bad_response_gets_the_tag_of_its_command(line: bytes) -> None:
    happened = talk("imap", b"a AUTHENTICATE PLAIN", line, b"b NOOP")

    assert happened.said == [b"+ ", b"a BAD invalid command", b"b OK completed"]


def test_a_response_may_fill_the_buffer() -> None:
    response = base64.b64encode(b"\0u\0" + b"p" * 40)
    assert len(response) == 60
    happened = talk("imap", b"a AUTHENTICATE PLAIN", response, imap_client_buffer=62)

    assert len(happened.logins) == 1


def test_a_response_that_is_too_long_gets_the_tag_of_its_command() -> None:
    happened = talk("imap", b"a AUTHENTICATE PLAIN", b"x y" + b"A" * 60, imap_client_buffer=62)

    assert isinstance(happened.ended, LineTooLong)
    assert happened.said == [b"+ ", b"a BAD invalid command", TOO_LONG]


# -- STARTTLS -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["on", "only"])
def test_starttls(option: str) -> None:
    happened = talk("imap", b"a STARTTLS x", b"b STARTTLS", b"c LOGIN u p", starttls=option)

    assert happened.said == [b"a OK completed", b"<TLS handshake>", b"b BAD invalid command", b"c NO no"]


def test_bytes_behind_starttls_end_the_session_unheard() -> None:
    client = Rehearsal(
        peer="client", answers=lambda line: [b"a STARTTLS", b"b NOOP"] if b"ready" in line else []
    )
    injected = frontend(client, **TLS)
    injected.greet()
    with pytest.raises(ProtocolViolation) as caught:
        injected.login()
    injected.farewell(caught.value)

    assert client.said[1:] == [b"a OK completed"]


# -- counters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"a LOGIN",
        b"a LOGIN u",
        b"a LOGIN u p x",
        b'a LOGIN "" p',
        b"a AUTHENTICATE",
        b"a AUTHENTICATE FOO",
        b"a AUTHENTICATE PLAIN !",
        b"a STARTTLS",
        b"a LOGIN u p",
    ],
    ids=repr,
)
def test_commands_that_cannot_be_obeyed_are_not_counted(line: bytes) -> None:
    happened = talk("imap", *[line] * 4, b"b NOOP", max_errors=1)

    assert happened.said[-1] == b"b OK completed"


@pytest.mark.parametrize(
    "line",
    [b"a SELECT x", b"a", b"", b" NOOP", b"a+ NOOP", b"a ID", b"a NOOP 1 2 3 4", b"a NOOP \rx", b"a NO\0OP"],
    ids=repr,
)
@pytest.mark.parametrize(("max_errors", "replies"), [(0, 1), (1, 1), (3, 3)])
def test_lines_that_cannot_be_parsed_are_counted(line: bytes, max_errors: int, replies: int) -> None:
    happened = talk("imap", *[line] * 5, max_errors=max_errors)

    assert isinstance(happened.ended, TooManyErrors)
    assert len(happened.said) == replies + 1
    assert happened.said[-1] == TOO_MANY


def test_a_broken_response_is_counted() -> None:
    happened = talk("imap", b"a AUTHENTICATE PLAIN", b"a\rb", max_errors=1)

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [b"+ ", b"a BAD invalid command", TOO_MANY]


def test_max_commands() -> None:
    happened = talk("imap", b"a NOOP", b"b NOOP", b"c NOOP", max_commands=2)

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [b"a OK completed", b"b OK completed", b"c BAD invalid command", TOO_MANY]


def test_an_http_request_ends_the_session_at_once() -> None:
    happened = talk("imap", b"GET / HTTP/1.1", b"Host: mx.test", b"")

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [b"GET BAD invalid command", TOO_MANY]


# -- tags -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tag",
    [b"4~#~x~#~", b"a]", b"!", b"[]", b"a" * 200, b"A-Z_0.9", b"'", b"&$,/:;<=>?@^_`|}~", b"c2VjcmV0=="],
    ids=repr,
)
def test_tags_are_of_any_characters_that_a_client_may_use(tag: bytes) -> None:
    happened = talk("imap", tag + b" NOOP", tag + b" FOO", tag, tag + b" LOGIN u p")

    assert happened.said == [
        tag + words for words in (b" OK completed", *[b" BAD invalid command"] * 2, b" NO no")
    ]
    assert happened.logins[0].tag == tag


@pytest.mark.parametrize("byte", b'+(){%*"\\\x7f\x01\t\x80\xff', ids=lambda byte: repr(bytes([byte])))
def test_no_other_characters_make_a_tag(byte: int) -> None:
    tag = b"a" + bytes([byte])

    assert talk("imap", tag + b" NOOP", b"b NOOP").said == [b"* BAD invalid command", b"b OK completed"]


@pytest.mark.parametrize("line", [b"", b" x", b"+ NOOP"], ids=repr)
def test_no_tag_outlives_its_command(line: bytes) -> None:
    assert talk("imap", b"a LOGIN u p", line).said == [b"a NO no", b"* BAD invalid command"]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"tag LOGIN " + b"x" * 80, b"tag BAD invalid command"),
        (b"x" * 80, b"* BAD invalid command"),
        (b"+ " + b"x" * 80, b"* BAD invalid command"),
        (b" " + b"x" * 80, b"* BAD invalid command"),
    ],
)
def test_a_line_that_is_too_long_gets_its_tag_if_it_has_one(line: bytes, reply: bytes) -> None:
    happened = talk("imap", b"a LOGIN u p", line, **BUFFER)

    assert isinstance(happened.ended, LineTooLong)
    assert happened.said == [b"a NO no", reply, TOO_LONG]


# -- the last words -------------------------------------------------------------------------------


def test_logout_ends_the_session_whatever_was_pipelined() -> None:
    happened = talk("imap", b"a LOGOUT", b"b NOOP")

    assert happened.ended is None
    assert happened.said == [BYE, b"a OK completed"]


@pytest.mark.parametrize(
    ("refusal", "lines"),
    [
        (Refusal(text=b"Bad login"), [b"a NO Bad login"]),
        (Refusal(text=b"later", code=b"454 4.7.0"), [b"a NO later"]),
        (Refusal(neutral=True), [b"a NO [AUTHENTICATIONFAILED] Authentication failed"]),
        (Refusal(neutral=True, temporary=True), [b"a NO [UNAVAILABLE] Temporary authentication failure"]),
        (Refusal(reply=(b"* X", b"a NO their words")), [b"* X", b"a NO their words"]),
        (Refusal(reply=(b"* X", b"a NO")), [b"* X", b"a NO [AUTHENTICATIONFAILED] Authentication failed"]),
    ],
    ids=repr,
)
def test_refuse(refusal: Refusal, lines: list[bytes]) -> None:
    client = Rehearsal(b"a LOGIN u p", peer="client")
    refusing = frontend(client)
    refusing.login()
    refusing.refuse(refusal)

    assert client.said == lines


def test_accept() -> None:
    client = Rehearsal(peer="client")
    frontend(client).accept((b"* CAPABILITY IDLE", b"a OK Logged in"))

    assert client.said == [b"* CAPABILITY IDLE", b"a OK Logged in"]


@pytest.mark.parametrize(
    ("farewell", "lines"),
    [
        (Farewell.NOTHING, []),
        (Farewell.GOODBYE, [b"* BYE Connection closing"]),
        (Farewell.INVALID_COMMAND, [b"* BAD invalid command", b"* BYE Connection closing"]),
        (Farewell.INTERNAL_ERROR, [b"* BYE [UNAVAILABLE] Service temporarily unavailable"]),
        (Farewell.CERTIFICATE_ERROR, [b"* BYE SSL certificate error"]),
        (Farewell.NO_CERTIFICATE, [b"* BYE No required SSL certificate"]),
        (Farewell.SHUTDOWN, [b"* BYE Server shutting down"]),
    ],
)
def test_farewell(farewell: Farewell, lines: list[bytes]) -> None:
    client = Rehearsal(peer="client")
    error = SessionError("private", blame="geomail")
    error.farewell = farewell
    frontend(client).farewell(error)

    assert client.said == lines


# -- what may be shown ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([b"a CAPABILITY"], [b"a CAPABILITY"]),
        ([b"a LOGIN u secret"], [b"a LOGIN ********"]),
        ([b'a  login "u" "sec ret"'], [b"a login ********"]),
        ([b"a LOGIN u {6}", b"secret"], [b"a LOGIN ********", b"********", b"********"]),
        ([b"a LOGIN {1+}", b"u {6+}", b"secret"], [b"a LOGIN ********", *[b"********"] * 4]),
        ([b"a LOGIN {1+}", b"u secret"], [b"a LOGIN ********", b"********", b"********"]),
        ([b" LOGIN u secret"], [b"********"]),
        ([b"LOGIN u secret"], [b"********"]),
        ([b"a LOGIN\tu secret"], [b"a LOGIN ********"]),
        ([b"a AUTHENTICATE PLAIN c2VjcmV0"], [b"a AUTHENTICATE PLAIN ********"]),
        ([b"a AUTHENTICATE c2VjcmV0"], [b"a AUTHENTICATE ********"]),
        ([b"a AUTHENTICATE PLAIN", b"c2VjcmV0"], [b"a AUTHENTICATE PLAIN", b"********"]),
        ([b"a LOGIN u {99}", b"secret word"], [b"a LOGIN ********", b"********"]),
        ([b"c2VjcmV0"], [b"********"]),
        ([b"a ID"], [b"a ID"]),
        ([b'a ID ("name" {6}', b"secret)"], [b"a ID ********", b"********", b"********"]),
        ([b'a ID ("name" "secret")'], [b"a ID ********"]),
    ],
    ids=repr,
)
def test_no_password_is_shown(lines: list[bytes], shown: list[bytes]) -> None:
    assert talk("imap", *lines, **BUFFER).shown == shown
