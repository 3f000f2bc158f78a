"""SMTP with a fresh backend: what is said, in which order, and what is made of the answers."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from geomail.conversation import Rehearsal
from geomail.errors import (
    AuthUnavailable,
    BackendGarbage,
    BackendRefused,
    Farewell,
    LineTooLong,
    PeerGone,
    ProtocolViolation,
)
from geomail.parties import Client, Credentials, Digest, Login, NoLogin
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.smtp import handshake
from tests.protocols.smtp_backend import (
    AUTH,
    AUTH_OFF,
    AUTO,
    EHLO,
    HELO,
    LOGGED_IN_AS_U,
    LOOPBACK_CLIENT,
    NONE,
    NOT_VOUCHED_FOR,
    OFF,
    OK,
    PASSTHROUGH,
    SILENT,
    STARTTLS,
    Server,
    rehearse,
)
from tests.protocols.support import OPTIONS, WITHOUT_PASSWORD, client_at


@pytest.mark.parametrize(
    ("login", "options", "said"),
    [
        pytest.param(EHLO, OPTIONS, [b"EHLO mx.test", LOGGED_IN_AS_U, b"EHLO me"], id="golden, EHLO"),
        pytest.param(HELO, OPTIONS, [b"EHLO mx.test", LOGGED_IN_AS_U, b"HELO me"], id="HELO"),
        pytest.param(
            replace(EHLO, helo=b"my old printer"),
            OPTIONS,
            [b"EHLO mx.test", LOGGED_IN_AS_U, b"EHLO my_old_printer"],
            id="a name of several words is one word to a backend",
        ),
        pytest.param(SILENT, OPTIONS, [b"EHLO mx.test", LOGGED_IN_AS_U], id="neither"),
        pytest.param(EHLO, OFF, [b"EHLO mx.test"], id="xclient off, EHLO"),
        pytest.param(HELO, OFF, [b"HELO mx.test"], id="xclient off, HELO"),
        pytest.param(SILENT, OFF, [b"HELO mx.test"], id="xclient off, neither"),
        pytest.param(
            EHLO,
            AUTH,
            [b"EHLO mx.test", NOT_VOUCHED_FOR, b"EHLO me", b"AUTH PLAIN AHUAcA=="],
            id="golden, proxy_smtp_auth",
        ),
        pytest.param(
            HELO,
            AUTH,
            [b"EHLO mx.test", NOT_VOUCHED_FOR, b"HELO me", b"AUTH PLAIN AHUAcA=="],
            id="proxy_smtp_auth, HELO",
        ),
        pytest.param(HELO, AUTH_OFF, [b"HELO mx.test", b"AUTH PLAIN AHUAcA=="], id="no xclient, HELO"),
        pytest.param(EHLO, AUTH_OFF, [b"EHLO mx.test", b"AUTH PLAIN AHUAcA=="], id="no xclient, EHLO"),
        pytest.param(
            EHLO,
            replace(PASSTHROUGH, xclient="on"),
            [b"EHLO mx.test", NOT_VOUCHED_FOR, b"EHLO me", b"AUTH PLAIN AHUAcA=="],
            id="passthrough",
        ),
        pytest.param(
            NONE,
            OPTIONS,
            [b"EHLO mx.test", NOT_VOUCHED_FOR, b"EHLO me", b"MAIL FROM:<a>", b"RCPT TO:<b>"],
            id="golden, none",
        ),
        pytest.param(
            NONE, AUTH_OFF, [b"EHLO mx.test", b"MAIL FROM:<a>", b"RCPT TO:<b>"], id="none never logs in"
        ),
        pytest.param(EHLO, AUTO, [b"EHLO mx.test"], id="auto, not offered"),
        pytest.param(HELO, AUTO, [b"EHLO mx.test"], id="auto, not offered, HELO"),
    ],
)
def test_what_is_said(login: Login, options: HandshakeOptions, said: list[bytes]) -> None:
    assert rehearse(login, options)[0] == said


@pytest.mark.parametrize(
    ("login", "options", "answer"),
    [
        pytest.param(EHLO, OPTIONS, OK, id="auth_http"),
        pytest.param(EHLO, AUTH_OFF, OK, id="proxy_smtp_auth"),
        pytest.param(EHLO, PASSTHROUGH, (b"235-2.7.0 wel", b"235 come"), id="passthrough: the backend's own"),
        pytest.param(NONE, OFF, (b"550-no", b"550 such"), id="none: the answer to RCPT, whatever it is"),
    ],
)
def test_the_answer(login: Login, options: HandshakeOptions, answer: tuple[bytes, ...]) -> None:
    server = Server(AUTH=b"235-2.7.0 wel\r\n235 come", RCPT=b"550-no\r\n550 such")

    assert rehearse(login, options, server)[1] == answer


# -- clients that have not logged in ----------------------------------------------------------------

NONE_SAID = [b"EHLO me", b"MAIL FROM:<a>", b"RCPT TO:<b>"]
TOLD = b"XCLIENT ADDR=192.0.2.7"
BY_HEADER, BY_HEADER_V2 = replace(AUTO, proxy_protocol="on"), replace(AUTO, proxy_protocol="v2")
CLIENT, LOCAL_CLIENT = client_at("192.0.2.7"), client_at("unix:", 0, "unix:/run/mx", 0)


@pytest.mark.parametrize(
    ("options", "offer", "client", "introduction"),
    [
        pytest.param(AUTO, b"XCLIENT ADDR", CLIENT, TOLD, id="auto"),
        pytest.param(AUTO, b"XCLIENT ADDR", LOCAL_CLIENT, b"XCLIENT ADDR=[UNAVAILABLE]", id="no address"),
        pytest.param(OPTIONS, b"XCLIENT ADDR", CLIENT, TOLD, id="on"),
        pytest.param(OPTIONS, b"SIZE", CLIENT, TOLD, id="on, accepted though not offered"),
        pytest.param(BY_HEADER, b"SIZE", CLIENT, b"", id="auto, not offered, PROXY header"),
        pytest.param(BY_HEADER, b"XCLIENT HELO", CLIENT, b"XCLIENT HELO=me", id="auto, no ADDR, PROXY"),
        pytest.param(BY_HEADER, b"XCLIENT ADDR", LOCAL_CLIENT, b"XCLIENT ADDR=", id="PROXY UNKNOWN, ADDR"),
        pytest.param(BY_HEADER, b"SIZE", client_at("2001:db8::7"), b"", id="PROXY of two families"),
        pytest.param(BY_HEADER_V2, b"SIZE", client_at("2001:db8::7"), b"", id="PROXY v2 of two families"),
        pytest.param(replace(OFF, proxy_protocol="on"), b"SIZE", CLIENT, b"", id="off, PROXY header"),
        pytest.param(OFF, b"SIZE", CLIENT, b"", id="off: the operator's word"),
    ],
)
def test_a_backend_that_knows_the_client_hears_what_it_says(
    options: HandshakeOptions, offer: bytes, client: Client, introduction: bytes
) -> None:
    said, answer = rehearse(NONE, options, Server(offer), client)

    introductions = [line for line in said if line.startswith(b"XCLIENT")]
    assert [line[: len(introduction)] for line in introductions] == [introduction] * bool(introduction)
    assert said[-2:] == NONE_SAID[-2:]
    assert answer == (b"250 ok",)


@pytest.mark.parametrize(
    ("options", "offer", "client"),
    [
        pytest.param(AUTO, b"SIZE", CLIENT, id="XCLIENT not offered"),
        pytest.param(AUTO, b"XCLIENT", CLIENT, id="XCLIENT of nothing"),
        pytest.param(AUTO, b"XCLIENT NAME PORT PROTO HELO LOGIN DESTADDR", CLIENT, id="all but ADDR"),
        pytest.param(AUTO, b"XCLIENT ADDRESS XADDR", CLIENT, id="names that only look like ADDR"),
        pytest.param(AUTO, b"XCLIENTS ADDR", CLIENT, id="a name that only looks like XCLIENT"),
        pytest.param(BY_HEADER, b"SIZE", LOCAL_CLIENT, id="PROXY UNKNOWN"),
        pytest.param(BY_HEADER_V2, b"SIZE", LOCAL_CLIENT, id="PROXY LOCAL"),
        pytest.param(replace(OFF, proxy_protocol="on"), b"SIZE", LOCAL_CLIENT, id="off, PROXY UNKNOWN"),
    ],
)
@pytest.mark.parametrize("passthrough", [False, True])
def test_a_backend_that_takes_a_stranger_for_geomail_hears_nothing_of_its_mail(
    options: HandshakeOptions, offer: bytes, client: Client, passthrough: bool
) -> None:
    backend = Rehearsal(b"220 hi", answers=Server(offer))
    with pytest.raises(BackendRefused, match=r"smtpd_authorized_xclient_hosts\), (or|with)") as caught:
        handshake(backend, NONE, client, replace(options, passthrough=passthrough))

    assert not any(line.startswith((b"MAIL", b"RCPT")) for line in backend.said)
    assert (caught.value.step, caught.value.reply) == ("XCLIENT", ())
    assert (caught.value.farewell, caught.value.credentials) == (Farewell.INTERNAL_ERROR, False)


@pytest.mark.parametrize("last", [b"550 5.7.0 no", b"421 4.3.2 later"])
def test_an_address_that_is_not_accepted_is_not_told(last: bytes) -> None:
    """The first of two commands is accepted, the one with the address is not."""
    login = replace(NONE, helo=b"h" * 480)
    server = Server(b"XCLIENT HELO NAME ADDR", **{"XCLIENT ADDR": last})
    backend = Rehearsal(b"220 hi", answers=server)
    with pytest.raises(BackendRefused) as caught:
        handshake(backend, login, CLIENT, AUTO)

    assert [line.split(b"=")[0] for line in backend.said[1:]] == [b"XCLIENT HELO", b"XCLIENT ADDR"]
    assert caught.value.reply == (last,)


def test_a_rejected_xclient_ends_the_session_where_it_is_on() -> None:
    backend = Rehearsal(b"220 hi", answers=Server(XCLIENT=b"502 5.5.1 what"))
    with pytest.raises(BackendRefused) as caught:
        handshake(backend, NONE, CLIENT, OPTIONS)

    assert (caught.value.step, backend.said[1:]) == ("XCLIENT", [TOLD + b" NAME=[UNAVAILABLE]"])


@pytest.mark.parametrize("options", [AUTO, replace(AUTO, authenticate=True)])
@pytest.mark.parametrize("offer", [b"SIZE", b"XCLIENT NAME HELO"])
def test_who_has_logged_in_needs_no_address(options: HandshakeOptions, offer: bytes) -> None:
    assert rehearse(EHLO, options, Server(offer))[1] == OK


# -- AUTH -----------------------------------------------------------------------------------------

BY_LOGIN = [b"AUTH LOGIN", b"dQ==", b"cA=="]


@pytest.mark.parametrize(
    ("offers", "said"),
    [
        ([], [b"AUTH PLAIN AHUAcA=="]),
        ([b"AUTH PLAIN LOGIN"], [b"AUTH PLAIN AHUAcA=="]),
        ([b"AUTH CRAM-MD5"], [b"AUTH PLAIN AHUAcA=="]),
        ([b"AUTH LOGIN"], BY_LOGIN),
        ([b"auth login cram-md5"], BY_LOGIN),
        ([b"AUTH=LOGIN"], BY_LOGIN),
        ([b"AUTH LOGIN", b"AUTH=LOGIN PLAIN"], [b"AUTH PLAIN AHUAcA=="]),
        ([b"AUTHX LOGIN", b"XAUTH LOGIN", b"X AUTH LOGIN"], [b"AUTH PLAIN AHUAcA=="]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("options", [AUTH_OFF, PASSTHROUGH], ids=["proxy_smtp_auth", "passthrough"])
def test_login_only_where_plain_is_not_offered(
    offers: list[bytes], said: list[bytes], options: HandshakeOptions
) -> None:
    assert rehearse(EHLO, options, Server(*offers))[0] == [b"EHLO mx.test", *said]


def test_the_last_ehlo_decides_over_the_mechanism() -> None:
    said, _ = rehearse(HELO, AUTH, Server(b"AUTH LOGIN"))

    assert said[-4:] == [b"HELO me", *BY_LOGIN]


@pytest.mark.parametrize("credentials", WITHOUT_PASSWORD, ids=repr)
def test_only_a_password_can_be_told(credentials: Credentials) -> None:
    login = Login(credentials, helo=b"me")
    backend = Rehearsal(b"220 hi", answers=Server())
    with pytest.raises(AuthUnavailable, match="no password available") as caught:
        handshake(backend, login, LOOPBACK_CLIENT, AUTH_OFF)

    assert caught.value.step == "AUTH"
    assert backend.said == [b"HELO mx.test"]
    assert rehearse(login)[1] == OK  # where none is sent, none is missed


def test_mail_without_a_login_stays_that_whatever_the_auth_service_gives() -> None:
    login = Login(NoLogin(b"MAIL FROM:<a>", b"RCPT TO:<b>")).rewrite(b"v", b"q")

    assert login.credentials == NoLogin(b"MAIL FROM:<a>", b"RCPT TO:<b>", user=b"v")


def test_a_password_from_the_auth_source_is_one() -> None:
    login = Login(Digest(b"u", b"digest", b"<s>", "cram-md5")).rewrite(b"v", b"q")

    assert rehearse(login, AUTH_OFF)[0][-1] == b"AUTH PLAIN AHYAcQ=="


@pytest.mark.parametrize(
    ("reply", "credentials", "temporary"),
    [
        (b"535 5.7.8 no", True, False),
        (b"535 no", True, False),
        (b"534 5.7.9 too weak", True, False),
        (b"550 5.7.1 blocked", True, False),
        (b"454 4.7.0 later", True, True),
        (b"432 4.7.12 new password needed", True, True),
        (b"421 4.3.2 closing", False, True),
        (b"500 5.5.1 what", False, False),
        (b"502 5.5.1 no AUTH here", False, False),
        (b"503 5.5.1 already", False, False),
        (b"504 5.5.4 no such mechanism", False, False),
        (b"530 5.7.0 STARTTLS first", False, False),
        (b"538 5.7.11 encryption needed", False, False),
    ],
)
@pytest.mark.parametrize("step", ["AUTH", "dQ==", "cA=="])
def test_refusals_of_auth(reply: bytes, credentials: bool, temporary: bool, step: str) -> None:
    server = Server(b"AUTH LOGIN", **{step: reply})
    with pytest.raises(BackendRefused) as caught:
        rehearse(EHLO, PASSTHROUGH, server)

    refused = caught.value
    assert (refused.step, refused.reply) == ("AUTH", (reply,))
    assert (refused.credentials, refused.temporary) == (credentials, temporary)
    assert (refused.farewell is Farewell.CREDENTIALS) is reply.startswith(b"535 5.7.8")


@pytest.mark.parametrize("step", ["EHLO mx", "XCLIENT", "MAIL"])
def test_a_refusal_before_auth_is_not_about_the_password(step: str) -> None:
    with pytest.raises(BackendRefused) as caught:
        rehearse(NONE, server=Server(**{step: b"535 5.7.8 no"}))

    assert caught.value.farewell is Farewell.INTERNAL_ERROR


# -- what a backend may answer --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "step"),
    [("EHLO mx", "EHLO"), ("XCLIENT", "XCLIENT"), ("EHLO me", "EHLO"), ("MAIL", "MAIL")],
)
def test_a_refusal_names_its_step_and_keeps_the_words(verb: str, step: str) -> None:
    with pytest.raises(BackendRefused) as caught:
        rehearse(NONE, server=Server(**{verb: b"450-4.2.1 not\r\n450 now"}))

    refused = caught.value
    assert (refused.step, refused.blame) == (step, "backend")
    assert refused.reply == (b"450-4.2.1 not", b"450 now")
    assert (refused.credentials, refused.temporary) == (False, True)


def test_a_refused_greeting() -> None:
    with pytest.raises(BackendRefused) as caught:
        rehearse(EHLO, greeting=b"554 5.3.2 go away")

    assert (caught.value.step, caught.value.temporary) == ("greeting", False)


@pytest.mark.parametrize("verb", ["XCLIENT", "STARTTLS"])
def test_250_is_as_good_as_220_only_for_xclient(verb: str) -> None:
    server = Server(b"STARTTLS", **{verb: b"250 ok"})
    if verb == "XCLIENT":
        assert rehearse(EHLO, server=server)[1] == OK
    else:
        with pytest.raises(BackendGarbage):
            rehearse(EHLO, STARTTLS, server)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"hello",
        b"25",
        b"25x ok",
        b"2500 ok",
        b"250_ok",
        b"* OK IMAP",
        b"+OK",
        b"250-a\r\nb",
        b"25\xb2 ok",
    ],
    ids=repr,
)
def test_what_is_no_reply_is_garbage(reply: bytes) -> None:
    with pytest.raises(BackendGarbage) as caught:
        rehearse(EHLO, server=Server(EHLO=reply))

    assert caught.value.step == "EHLO"


@pytest.mark.parametrize("reply", [b"250 a\rb", b"250 a\0b"], ids=repr)
def test_line_breaks_in_a_reply_never_reach_the_client(reply: bytes) -> None:
    with pytest.raises(BackendGarbage):
        rehearse(NONE, server=Server(RCPT=reply))


@pytest.mark.parametrize("reply", [b"250", b"250 ", b"250-a\r\n550 b", b"250-a\r\n250-b\r\n250"], ids=repr)
def test_only_the_first_code_counts(reply: bytes) -> None:
    assert rehearse(EHLO, OFF, Server(EHLO=reply))[1] == OK


@pytest.mark.parametrize(
    ("line", "lines", "fits"),
    [
        (b"250-x", 127, True),
        (b"250-x", 128, False),
        (b"250-" + b"x" * 4096, 15, True),
        (b"250-" + b"x" * 4096, 16, False),
    ],
)
def test_a_reply_is_bounded(line: bytes, lines: int, fits: bool) -> None:
    server = Server(EHLO=b"\r\n".join([line] * lines + [b"250 x"]))
    if fits:
        assert rehearse(EHLO, OFF, server)[1] == OK
    else:
        with pytest.raises(BackendGarbage):
            rehearse(EHLO, OFF, server)


def test_a_line_of_a_reply_is_bounded() -> None:
    with pytest.raises(LineTooLong) as caught:
        rehearse(EHLO, OFF, Server(EHLO=b"250 " + b"x" * 8192))

    assert (caught.value.step, caught.value.blame) == ("EHLO", "backend")


def test_a_backend_that_goes_away_is_said_to_be_gone_in_its_step() -> None:
    backend = Rehearsal(b"220 hi", b"250 ok")
    with pytest.raises(PeerGone) as caught:
        handshake(backend, EHLO, LOOPBACK_CLIENT, OPTIONS)

    assert caught.value.step == "XCLIENT"


# -- TLS and PROXY --------------------------------------------------------------------------------


@pytest.mark.parametrize("login", [EHLO, HELO])
def test_starttls(login: Login) -> None:
    said, answer = rehearse(login, STARTTLS, Server(b"starttls"))

    assert said == [b"EHLO mx.test", b"STARTTLS", b"<TLS handshake>", b"EHLO mx.test"]
    assert answer == OK


def test_starttls_then_xclient_then_auth() -> None:
    options = replace(AUTH, tls="starttls")
    said, _ = rehearse(EHLO, options, Server(b"STARTTLS"))

    assert said[3:] == [b"EHLO mx.test", NOT_VOUCHED_FOR, b"EHLO me", b"AUTH PLAIN AHUAcA=="]


def test_nothing_is_said_in_clear_where_starttls_is_not_offered() -> None:
    backend = Rehearsal(b"220 hi", answers=Server(b"AUTH PLAIN"))
    with pytest.raises(BackendRefused) as caught:
        handshake(backend, EHLO, LOOPBACK_CLIENT, replace(PASSTHROUGH, tls="starttls"))

    assert (caught.value.step, caught.value.reply) == ("STARTTLS", ())
    assert backend.said == [b"EHLO mx.test"]


def test_what_was_offered_in_clear_is_forgotten_under_tls() -> None:
    def stripped(line: bytes) -> Iterable[bytes]:
        if line.startswith(b"EHLO") and backend.secured:
            return [b"250-be", b"250 AUTH PLAIN"]
        return Server(b"STARTTLS", b"AUTH LOGIN")(line)

    backend = Rehearsal(b"220 hi", answers=stripped)
    handshake(backend, EHLO, LOOPBACK_CLIENT, replace(PASSTHROUGH, tls="starttls"))

    assert backend.said[-1] == b"AUTH PLAIN AHUAcA=="


def test_replies_injected_behind_starttls_end_the_handshake() -> None:
    with pytest.raises(ProtocolViolation) as caught:
        rehearse(EHLO, STARTTLS, Server(b"STARTTLS", STARTTLS=b"220 go\r\n250 injected"))

    assert (caught.value.blame, caught.value.step) == ("backend", "STARTTLS")


def test_the_proxy_header_comes_first_then_implicit_tls() -> None:
    backend = Rehearsal(b"220 hi", b"250 ok")
    handshake(backend, EHLO, client_at("192.0.2.7"), replace(OFF, proxy_protocol="on", tls="implicit"))

    assert backend.said == [
        b"PROXY TCP4 192.0.2.7 192.0.2.1 41184 587",
        b"<TLS handshake>",
        b"EHLO mx.test",
    ]


# -- what may be shown, and why it is said ---------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "offers", "steps"),
    [
        (
            replace(PASSTHROUGH, xclient="on"),
            b"AUTH PLAIN",
            [
                (b"EHLO mx.test", "xclient = on"),
                (NOT_VOUCHED_FOR, "xclient = on"),
                (b"EHLO me", "the client said EHLO"),
                (b"AUTH PLAIN ********", "passthrough"),
            ],
        ),
        (
            replace(AUTH_OFF, proxy_protocol="v2"),
            b"AUTH LOGIN",
            [
                (b"PROXY v2 TCP4 192.0.2.7 192.0.2.1 41184 587", "proxy_protocol = v2"),
                (b"EHLO mx.test", "the client said EHLO"),
                (b"AUTH LOGIN", "proxy_smtp_auth = on; the backend offers LOGIN and not PLAIN"),
                (b"dQ==", "the user"),
                (b"********", "the password"),
            ],
        ),
    ],
)
def test_steps(options: HandshakeOptions, offers: bytes, steps: list[tuple[bytes, str]]) -> None:
    backend = Rehearsal(b"220 hi", answers=Server(offers))
    handshake(
        backend, EHLO, client_at("192.0.2.7") if "v2" in options.proxy_protocol else LOOPBACK_CLIENT, options
    )

    assert [(step.line, step.because) for step in backend.steps if step.sender == "geomail"] == steps
