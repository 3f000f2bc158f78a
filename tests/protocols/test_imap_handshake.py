"""IMAP with a fresh backend: LOGIN by literals, and what is made of the answers."""

from dataclasses import replace

import pytest

from geomail.conversation import Rehearsal
from geomail.errors import (
    AuthUnavailable,
    BackendGarbage,
    BackendRefused,
    Farewell,
    LineBreakError,
    LineTooLong,
    PeerGone,
    ProtocolViolation,
)
from geomail.parties import Credentials, Login, Password
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.imap import handshake
from tests.protocols.support import OPTIONS, WITHOUT_PASSWORD, client_at

LOGIN = Login(Password(b"us%er", b"p w"), tag=b"a")
STARTTLS = replace(OPTIONS, tls="starttls")
SAID = [b"a LOGIN {5}", b"us%er {3}", b"p w"]
GREETING, GO_AHEAD, DONE = b"* OK hi", b"+ go", b"a OK [CAPABILITY IDLE] Logged in"


def rehearse(
    *script: bytes, login: Login = LOGIN, options: HandshakeOptions = OPTIONS
) -> tuple[list[bytes], tuple[bytes, ...]]:
    backend = Rehearsal(*script)
    answer = handshake(backend, login, client_at(), options)
    return backend.said, answer


@pytest.mark.parametrize(
    ("login", "said"),
    [
        pytest.param(LOGIN, SAID, id="golden"),
        pytest.param(
            Login(Password(b"", b""), tag=b"a"), [b"a LOGIN {0}", b" {0}", b""], id="golden, both empty"
        ),
        pytest.param(
            Login(Password(b"\xc3\xa9", b"\xff"), tag=b"x.1"),
            [b"x.1 LOGIN {2}", b"\xc3\xa9 {1}", b"\xff"],
            id="bytes",
        ),
    ],
)
def test_what_is_said(login: Login, said: list[bytes]) -> None:
    done = login.tag + b" OK"

    assert rehearse(GREETING, GO_AHEAD, GO_AHEAD, done, login=login) == (said, (done,))


@pytest.mark.parametrize(
    "answer",
    [
        (DONE,),
        (b"a ok",),
        (b"* CAPABILITY IDLE", DONE),
        (b"* CAPABILITY IDLE", b"* OK hello", b"* 1 EXISTS", DONE),
    ],
    ids=repr,
)
def test_the_answer_is_the_backends_own(answer: tuple[bytes, ...]) -> None:
    assert rehearse(GREETING, GO_AHEAD, GO_AHEAD, *answer)[1] == answer


@pytest.mark.parametrize("go_ahead", [b"+", b"+ ", b"+ OK"])
def test_untagged_lines_before_a_go_ahead_are_passed_over(go_ahead: bytes) -> None:
    assert rehearse(GREETING, b"* OK x", go_ahead, b"* OK y", b"* OK z", go_ahead, DONE) == (SAID, (DONE,))


@pytest.mark.parametrize("greeting", [b"* OK", b"* ok hi", b"* OK [CAPABILITY IMAP4rev1] hi"])
def test_greetings(greeting: bytes) -> None:
    assert rehearse(greeting, GO_AHEAD, GO_AHEAD, DONE)[1] == (DONE,)


@pytest.mark.parametrize(
    ("greeting", "temporary"),
    [(b"* BYE no", False), (b"* BYE [UNAVAILABLE] later", True), (b"* PREAUTH hi", False)],
)
def test_greetings_that_refuse(greeting: bytes, temporary: bool) -> None:
    with pytest.raises(BackendRefused) as caught:
        rehearse(greeting)

    assert (caught.value.step, caught.value.reply) == ("greeting", (greeting,))
    assert (caught.value.credentials, caught.value.temporary) == (False, temporary)


@pytest.mark.parametrize(
    "greeting", [b"", b"220 hi", b"+OK hi", b"a OK", b"* OKAY", b"* 1 EXISTS", b"*OK hi"]
)
def test_greetings_that_are_none(greeting: bytes) -> None:
    with pytest.raises(BackendGarbage) as caught:
        rehearse(greeting)

    assert caught.value.step == "greeting"


@pytest.mark.parametrize(
    ("line", "credentials", "temporary"),
    [
        (b"a NO bad creds", True, False),
        (b"a no", True, False),
        (b"a NO [AUTHENTICATIONFAILED] no", True, False),
        (b"a NO [UNAVAILABLE] later", True, True),
        (b"a NO [inuse] later", True, True),
        (b"a NO [LIMIT] too many", True, True),
        (b"a NO [PRIVACYREQUIRED] TLS first", False, False),
        (b"a NO [SERVERBUG] oops", False, True),
        (b"a NO [CLIENTBUG] what", False, False),
        (b"a BAD syntax", False, False),
        (b"* BYE [UNAVAILABLE] closing", False, True),
        (b"* BYE closing", False, False),
    ],
)
@pytest.mark.parametrize("heard", range(3))
def test_refusals(line: bytes, credentials: bool, temporary: bool, heard: int) -> None:
    with pytest.raises(BackendRefused) as caught:
        rehearse(GREETING, *[GO_AHEAD] * heard, b"* OK [ALERT] words", line)

    refused = caught.value
    assert (refused.step, refused.reply) == ("LOGIN", (b"* OK [ALERT] words", line))
    assert (refused.credentials, refused.temporary) == (credentials, temporary)


@pytest.mark.parametrize("end", [[], [b"* BYE bye"]], ids=["closes", "says BYE"])
@pytest.mark.parametrize("heard", range(3))
@pytest.mark.parametrize(
    ("line", "credentials", "explicit"),
    [
        (b"* NO [AUTHENTICATIONFAILED] Wrong!", True, True),
        (b"* no [authorizationfailed] Not you", True, True),
        (b"* NO [EXPIRED] Too old", True, True),
        (b"* NO no", True, False),
        (b"* NO [UNAVAILABLE] later", True, False),
        (b"* NO [PRIVACYREQUIRED] TLS", False, False),
    ],
)
def test_a_refusal_without_a_tag_is_the_answer_if_no_other_comes(
    line: bytes, credentials: bool, explicit: bool, heard: int, end: list[bytes]
) -> None:
    with pytest.raises(BackendRefused) as caught:
        rehearse(GREETING, *[GO_AHEAD] * heard, b"* OK [ALERT] words", line, *end)

    refused = caught.value
    assert refused.reply == (b"a NO " + line.split(b" ", 2)[2],)
    assert refused.credentials is credentials
    assert (refused.farewell is Farewell.CREDENTIALS) is explicit


def test_a_refusal_without_a_tag_is_none_if_the_login_goes_on() -> None:
    answer = (b"* NO quota is nearly full", DONE)

    assert rehearse(GREETING, GO_AHEAD, GO_AHEAD, *answer)[1] == answer


@pytest.mark.parametrize(
    "script",
    [
        (b"a OK",),
        (b"hello",),
        (b"b NO bad",),
        (b"A NO bad",),
        (b"a YES",),
        (GO_AHEAD, b"a OK"),
        (GO_AHEAD, GO_AHEAD, GO_AHEAD),
        (GO_AHEAD, GO_AHEAD, b"b OK"),
        (GO_AHEAD, GO_AHEAD, b"aa OK"),
        (GO_AHEAD, GO_AHEAD, b"a OKAY"),
        (GO_AHEAD, GO_AHEAD, b"* OK x\ry", DONE),
        (GO_AHEAD, GO_AHEAD, b"a OK x\0y"),
    ],
    ids=repr,
)
def test_what_is_no_response_is_garbage(script: tuple[bytes, ...]) -> None:
    with pytest.raises(BackendGarbage) as caught:
        rehearse(GREETING, *script)

    assert caught.value.step == "LOGIN"


@pytest.mark.parametrize(("lines", "fits"), [(127, True), (128, False)])
def test_untagged_lines_are_bounded(lines: int, fits: bool) -> None:
    script = (GREETING, GO_AHEAD, GO_AHEAD, *[b"* OK x"] * lines, DONE)
    if fits:
        assert len(rehearse(*script)[1]) == 128
    else:
        with pytest.raises(BackendGarbage):
            rehearse(*script)


def test_a_line_is_bounded() -> None:
    with pytest.raises(LineTooLong) as caught:
        rehearse(GREETING, GO_AHEAD, GO_AHEAD, b"* " + b"x" * 8192)

    assert (caught.value.step, caught.value.blame) == ("LOGIN", "backend")


def test_a_backend_that_goes_away() -> None:
    with pytest.raises(PeerGone) as caught:
        rehearse(GREETING, GO_AHEAD)

    assert caught.value.step == "LOGIN"


@pytest.mark.parametrize("credentials", WITHOUT_PASSWORD, ids=repr)
def test_only_a_password_can_be_told(credentials: Credentials) -> None:
    login = replace(LOGIN, credentials=credentials)
    backend = Rehearsal(GREETING)
    with pytest.raises(AuthUnavailable, match="no password available"):
        handshake(backend, login, client_at(), OPTIONS)

    assert backend.said == []
    assert rehearse(GREETING, GO_AHEAD, GO_AHEAD, DONE, login=login.rewrite(b"us%er", b"p w"))[0] == SAID


# -- a backend that asks for no literal (LITERAL+) -----------------------------------------------------

OFFERED, AT_ONCE = b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hi", [b"a LOGIN {5+}", b"us%er {3+}", b"p w"]


@pytest.mark.parametrize("greeting", [OFFERED, b"* ok [capability imap4rev1 literal+ id] hi"], ids=repr)
def test_nothing_is_waited_for_where_the_backend_asks_for_no_literal(greeting: bytes) -> None:
    assert rehearse(greeting, DONE) == (AT_ONCE, (DONE,))


@pytest.mark.parametrize(
    "greeting", [b"* OK LITERAL+", b"* OK [CAPABILITY IMAP4rev1 LITERAL-] hi", b"* OK [CAPABILITY XLITERAL+]"]
)
def test_what_is_no_offer_to_ask_for_no_literal(greeting: bytes) -> None:
    assert rehearse(greeting, GO_AHEAD, GO_AHEAD, DONE)[0] == SAID


def test_an_offer_before_tls_does_not_count() -> None:
    said, _ = rehearse(OFFERED, b"geomail OK go", GO_AHEAD, GO_AHEAD, DONE, options=STARTTLS)

    assert said == [b"geomail STARTTLS", b"<TLS handshake>", *SAID]


def test_a_refusal_of_what_was_said_at_once() -> None:
    with pytest.raises(BackendRefused) as caught:
        rehearse(OFFERED, b"* OK x", b"a NO bad creds")

    assert (caught.value.step, caught.value.credentials) == ("LOGIN", True)
    assert caught.value.reply == (b"* OK x", b"a NO bad creds")


@pytest.mark.parametrize(("user", "password"), [(b"u\rv", b"p"), (b"u", b"p\nb LOGOUT"), (b"u", b"p\0")])
@pytest.mark.parametrize("greeting", [GREETING, OFFERED])
def test_no_line_is_forged(greeting: bytes, user: bytes, password: bytes) -> None:
    backend = Rehearsal(greeting, GO_AHEAD, GO_AHEAD, DONE)
    with pytest.raises(LineBreakError):
        handshake(backend, Login(Password(user, password), tag=b"a"), client_at(), OPTIONS)

    assert not {b"b LOGOUT", b"u", b"p", user, password} & set(backend.said)


def test_no_password_is_shown_that_is_said_at_once() -> None:
    backend = Rehearsal(OFFERED, DONE)
    handshake(backend, LOGIN, client_at(), OPTIONS)

    shown = [step for step in backend.steps if step.sender == "geomail"]
    assert [step.line for step in shown] == [b"a LOGIN {5+}", b"us%er {3+}", b"********"]
    assert {step.because for step in shown} == {"IMAP LOGIN by literals; the backend offers LITERAL+"}


# -- TLS and PROXY --------------------------------------------------------------------------------


def test_starttls() -> None:
    said, answer = rehearse(
        GREETING, b"* OK injected", b"geomail OK go", GO_AHEAD, GO_AHEAD, DONE, options=STARTTLS
    )

    assert said == [b"geomail STARTTLS", b"<TLS handshake>", *SAID]
    assert answer == (DONE,)


@pytest.mark.parametrize("reply", [b"geomail NO", b"geomail BAD unknown"])
def test_nothing_is_said_in_clear_where_starttls_is_refused(reply: bytes) -> None:
    backend = Rehearsal(GREETING, reply)
    with pytest.raises(BackendRefused) as caught:
        handshake(backend, LOGIN, client_at(), STARTTLS)

    assert (caught.value.step, caught.value.credentials) == ("STARTTLS", False)
    assert backend.said == [b"geomail STARTTLS"]


def test_responses_injected_behind_starttls_end_the_handshake() -> None:
    backend = Rehearsal(GREETING, answers=lambda line: [b"geomail OK", b"* OK injected"])
    with pytest.raises(ProtocolViolation) as caught:
        handshake(backend, LOGIN, client_at(), STARTTLS)

    assert (caught.value.blame, caught.value.step) == ("backend", "STARTTLS")


def test_the_proxy_header_comes_first_then_implicit_tls() -> None:
    options = replace(OPTIONS, proxy_protocol="on", tls="implicit")
    said, _ = rehearse(GREETING, GO_AHEAD, GO_AHEAD, DONE, options=options)

    assert said == [b"PROXY TCP4 192.0.2.7 192.0.2.1 41184 587", b"<TLS handshake>", *SAID]


def test_no_password_is_shown() -> None:
    backend = Rehearsal(GREETING, GO_AHEAD, GO_AHEAD, DONE)
    handshake(backend, LOGIN, client_at(), OPTIONS)

    shown = [step for step in backend.steps if step.sender == "geomail"]
    assert [step.line for step in shown] == [b"a LOGIN {5}", b"us%er {3}", b"********"]
    assert {step.because for step in shown} == {"IMAP LOGIN by literals, as nginx does"}


# -- the session's id (pass_session_id) --------------------------------------------------------------

NAMED = replace(client_at(), session=b"c0ffee-1")
ID = b'geomail ID ("x-session-id" "c0ffee-1")'
CAPABILITY = b"geomail CAPABILITY"
ID_DONE, CAPABILITY_DONE = (b"* ID NIL", b"geomail OK"), (b"* CAPABILITY IMAP4rev1 ID", b"geomail OK")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param((b"* OK [CAPABILITY IMAP4rev1 ID] hi", *ID_DONE), [ID], id="in the greeting"),
        pytest.param((b"* OK [capability imap4rev1 id] hi", *ID_DONE), [ID], id="in lower case"),
        pytest.param((b"* OK [CAPABILITY IMAP4rev1] ID hi",), [], id="not offered in the greeting"),
        pytest.param((GREETING, *CAPABILITY_DONE, *ID_DONE), [CAPABILITY, ID], id="asked for"),
        pytest.param(
            (GREETING, b"* CAPABILITY IMAP4rev1 IDLE", b"geomail OK"),
            [CAPABILITY],
            id="asked for in vain",
        ),
    ],
)
def test_the_sessions_id_is_told_to_a_backend_that_takes_id(
    script: tuple[bytes, ...], said: list[bytes]
) -> None:
    backend = Rehearsal(*script, GO_AHEAD, GO_AHEAD, DONE)

    assert handshake(backend, LOGIN, NAMED, OPTIONS) == (DONE,)
    assert backend.said == [*said, *SAID]
    assert backend.remarks == ()


def test_what_a_backend_offered_before_tls_is_asked_again() -> None:
    greeting = b"* OK [CAPABILITY IMAP4rev1 ID STARTTLS] hi"
    script = (greeting, b"geomail OK", *CAPABILITY_DONE, *ID_DONE, GO_AHEAD, GO_AHEAD, DONE)
    backend = Rehearsal(*script)

    handshake(backend, LOGIN, NAMED, STARTTLS)

    assert backend.said == [b"geomail STARTTLS", b"<TLS handshake>", CAPABILITY, ID, *SAID]


@pytest.mark.parametrize("answer", [b"geomail NO no", b"geomail BAD what"])
def test_a_backend_that_refuses_the_sessions_id_is_remarked_and_used(answer: bytes) -> None:
    greeting = b"* OK [CAPABILITY ID] hi"
    backend = Rehearsal(greeting, answer, GO_AHEAD, GO_AHEAD, DONE)

    assert handshake(backend, LOGIN, NAMED, OPTIONS) == (DONE,)
    assert len(backend.remarks) == 1


def test_a_backend_that_says_goodbye_at_the_sessions_id() -> None:
    with pytest.raises(BackendRefused) as refused:
        handshake(Rehearsal(b"* OK [CAPABILITY ID] hi", b"* BYE [UNAVAILABLE] off"), LOGIN, NAMED, OPTIONS)

    assert (refused.value.step, refused.value.temporary) == ("ID", True)


def test_what_was_asked_for_the_sessions_sake_tells_of_literals_too() -> None:
    capable = b"* CAPABILITY IMAP4rev1 LITERAL+"
    backend = Rehearsal(GREETING, capable, b"geomail OK", DONE)

    assert handshake(backend, LOGIN, NAMED, OPTIONS) == (DONE,)
    assert backend.said == [CAPABILITY, *AT_ONCE]
