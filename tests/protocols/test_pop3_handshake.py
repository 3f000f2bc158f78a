"""POP3 with a fresh backend: USER and PASS, and what is made of the answers."""

from dataclasses import replace

import pytest

from geomail.conversation import Rehearsal
from geomail.errors import (
    AuthUnavailable,
    BackendGarbage,
    BackendRefused,
    LineTooLong,
    PeerGone,
)
from geomail.parties import Credentials, Login, Password
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.pop3 import handshake
from tests.protocols.support import OPTIONS, WITHOUT_PASSWORD, client_at

OK = b"+OK"
LOGIN = Login(Password(b"us er", b"p w"))
STLS = replace(OPTIONS, tls="starttls")


def rehearse(
    *script: bytes, login: Login = LOGIN, options: HandshakeOptions = OPTIONS
) -> tuple[list[bytes], tuple[bytes, ...]]:
    backend = Rehearsal(*script)
    answer = handshake(backend, login, client_at(), options)
    return backend.said, answer


@pytest.mark.parametrize(
    ("options", "script", "said"),
    [
        pytest.param(OPTIONS, [], [], id="plain"),
        pytest.param(STLS, [b"+OK go"], [b"STLS", b"<TLS handshake>"], id="STLS"),
        pytest.param(
            replace(OPTIONS, proxy_protocol="on", tls="implicit"),
            [],
            [b"PROXY TCP4 192.0.2.7 192.0.2.1 41184 587", b"<TLS handshake>"],
            id="PROXY, implicit TLS",
        ),
    ],
)
def test_handshake(options: HandshakeOptions, script: list[bytes], said: list[bytes]) -> None:
    happened = rehearse(b"+OK hi <1.2@be>", *script, b"+OK", b"+OK 3 messages", options=options)

    assert happened == ([*said, b"USER us er", b"PASS p w"], (b"+OK 3 messages",))


@pytest.mark.parametrize(
    ("script", "step", "credentials", "temporary"),
    [
        ([b"-ERR busy"], "greeting", False, False),
        ([b"-ERR [SYS/TEMP] busy"], "greeting", False, True),
        ([OK, b"-ERR who"], "USER", False, False),
        ([OK, b"-ERR [auth] who"], "USER", True, False),
        ([OK, OK, b"-ERR"], "PASS", True, False),
        ([OK, OK, b"-ERR [AUTH] no"], "PASS", True, False),
        ([OK, OK, b"-ERR [SYS/TEMP] later"], "PASS", True, True),
        ([OK, OK, b"-ERR [in-use] locked"], "PASS", True, True),
        ([OK, OK, b"-ERR [LOGIN-DELAY] slower"], "PASS", True, True),
        ([OK, OK, b"-ERR [SYS/PERM] broken"], "PASS", False, False),
        ([OK, OK, b"-ERR it was [IN-USE]"], "PASS", True, False),
    ],
)
def test_refusals(script: list[bytes], step: str, credentials: bool, temporary: bool) -> None:
    with pytest.raises(BackendRefused) as caught:
        rehearse(*script)

    refused = caught.value
    assert (refused.step, refused.reply) == (step, (script[-1],))
    assert (refused.credentials, refused.temporary) == (credentials, temporary)


def test_nothing_is_said_in_clear_where_stls_is_refused() -> None:
    backend = Rehearsal(OK, b"-ERR unknown")
    with pytest.raises(BackendRefused) as caught:
        handshake(backend, LOGIN, client_at(), STLS)

    assert (caught.value.step, caught.value.credentials) == ("STLS", False)
    assert backend.said == [b"STLS"]


@pytest.mark.parametrize(
    "line", [b"", b"OK", b"220 hi", b"* OK", b"+ go", b"+OK a\rb", b"+OK a\0b"], ids=repr
)
@pytest.mark.parametrize("step", ["greeting", "USER", "PASS"])
def test_what_is_no_reply_is_garbage(line: bytes, step: str) -> None:
    before = ["greeting", "USER", "PASS"].index(step)
    with pytest.raises(BackendGarbage) as caught:
        rehearse(*[OK] * before, line)

    assert caught.value.step == step


def test_a_reply_is_bounded() -> None:
    with pytest.raises(LineTooLong) as caught:
        rehearse(b"+OK " + b"x" * 8192)

    assert (caught.value.step, caught.value.blame) == ("greeting", "backend")


def test_a_backend_that_goes_away() -> None:
    with pytest.raises(PeerGone) as caught:
        rehearse(OK, OK)

    assert caught.value.step == "PASS"


@pytest.mark.parametrize("credentials", WITHOUT_PASSWORD, ids=repr)
def test_only_a_password_can_be_told(credentials: Credentials) -> None:
    login = replace(LOGIN, credentials=credentials)
    with pytest.raises(AuthUnavailable, match="no password available"):
        rehearse(OK, OK, OK, login=login)

    assert rehearse(OK, OK, OK, login=login.rewrite(b"us er", b"p"))[0] == [b"USER us er", b"PASS p"]


def test_the_backends_password_is_not_shown() -> None:
    backend = Rehearsal(OK, OK, OK)
    handshake(backend, LOGIN, client_at(), OPTIONS)

    assert [step.line for step in backend.steps if step.sender == "geomail"] == [
        b"USER us er",
        b"PASS ********",
    ]
