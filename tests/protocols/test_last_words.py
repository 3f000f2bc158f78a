"""The last words to clients of a failed session: by protocol, what they wait for, and what went wrong."""

import pytest

from geomail.conversation import Rehearsal
from geomail.errors import (
    AuthUnavailable,
    BackendGarbage,
    BackendRefused,
    BackendUnreachable,
    Kicked,
    LoginDenied,
    PeerGone,
    PeerTimeout,
    SessionError,
    TlsFailed,
    TooManyErrors,
)
from geomail.protocols.base import Frontend
from geomail.protocols.registry import PROTOCOLS
from tests.protocols.support import client_at, server

LOGINS = {
    "imap": [b"a LOGIN u p"],
    "imap sasl": [b"a AUTHENTICATE PLAIN AHUAcA=="],
    "pop3": [b"USER u", b"PASS p"],
    "pop3 sasl": [b"AUTH PLAIN AHUAcA=="],
    "smtp": [b"AUTH PLAIN AHUAcA=="],
    "smtp none": [b"MAIL FROM:<a>", b"RCPT TO:<b>"],
}
BYE = b"* BYE [UNAVAILABLE] Service temporarily unavailable"
FOR_NOW = {
    "imap": [b"a NO [UNAVAILABLE] Temporary authentication failure", BYE],
    "pop3": [b"-ERR [SYS/TEMP] Service temporarily unavailable"],
    "smtp": [b"454 4.7.0 Temporary authentication failure"],
    "smtp none": [b"451 4.3.0 Temporary failure, please try again later"],
}
FAILURES: list[SessionError] = [
    AuthUnavailable("down"),
    PeerTimeout("slow", blame="auth"),
    BackendUnreachable("refused"),
    BackendGarbage("said what"),
    PeerGone("closed", blame="backend"),
    PeerTimeout("slow", blame="backend"),
    TlsFailed("no", blame="backend"),
    BackendRefused("said no", step="greeting", reply=(b"no",)),
    BackendRefused("said no", step="LOGIN", reply=(b"a NO no",), credentials=True),
    SessionError("a bug"),
]


def waiting(state: str) -> tuple[Frontend, Rehearsal]:
    """A frontend whose client waits for the answer to its login; nothing is said yet."""
    protocol, _, _ = state.partition(" ")
    client = Rehearsal(*LOGINS[state], peer="client")
    made = PROTOCOLS[protocol](server(protocol, smtp_auth=("plain", "none"))).frontend(client, client_at())
    assert made.login() is not None
    client.said.clear()
    return made, client


def answers(state: str, error: SessionError, *words: bytes) -> list[bytes]:
    frontend, client = waiting(state)
    frontend.farewell(error, words)
    return client.said


@pytest.mark.parametrize("error", FAILURES, ids=repr)
@pytest.mark.parametrize("state", LOGINS)
def test_a_failure_behind_geomail_is_no_wrong_password(state: str, error: SessionError) -> None:
    expected = FOR_NOW.get(state) or FOR_NOW[state.partition(" ")[0]]

    assert answers(state, error) == expected


@pytest.mark.parametrize(
    ("state", "words", "heard"),
    [
        ("imap", [b"a NO [INUSE] busy"], [b"a NO [INUSE] busy", BYE]),
        ("imap", [b"* OK [ALERT] x", b"a BAD what"], [b"* OK [ALERT] x", b"a BAD what", BYE]),
        ("imap", [b"* BYE not today"], [FOR_NOW["imap"][0], b"* BYE not today"]),
        ("imap", [b"* OK [ALERT] x", b"* BYE no"], [b"* OK [ALERT] x", FOR_NOW["imap"][0], b"* BYE no"]),
        ("imap", [b"* BYE"], FOR_NOW["imap"]),
        ("imap", [b"* bye "], FOR_NOW["imap"]),
        ("imap", [b"a NO"], FOR_NOW["imap"]),
        ("imap", [b"* X", b"a BAD "], [b"* X", *FOR_NOW["imap"]]),
        ("imap", [b"geomail NO no TLS"], FOR_NOW["imap"]),
        ("imap", [b"* PREAUTH hi"], [b"* PREAUTH hi", *FOR_NOW["imap"]]),
        ("pop3", [b"-ERR Unknown command."], [b"-ERR Unknown command."]),
        ("smtp", [b"554-no", b"554 really"], [b"554-no", b"554 really"]),
        ("smtp none", [b"451 4.7.1 greylisted"], [b"451 4.7.1 greylisted"]),
    ],
)
def test_a_backends_own_words(state: str, words: list[bytes], heard: list[bytes]) -> None:
    assert answers(state, BackendRefused("", step="x", reply=tuple(words)), *words) == heard


@pytest.mark.parametrize(
    ("state", "heard"),
    [
        ("imap", [b"a NO [AUTHENTICATIONFAILED] Authentication failed", b"* BYE Connection closing"]),
        ("pop3", [b"-ERR [AUTH] Authentication failed"]),
        ("smtp", [b"535 5.7.8 Authentication credentials invalid"]),
    ],
)
def test_a_backend_that_says_so_means_the_credentials(state: str, heard: list[bytes]) -> None:
    refused = BackendRefused("no", step="LOGIN", reply=(b"x",), credentials=True, explicit=True)

    assert answers(state, refused) == heard


@pytest.mark.parametrize(
    ("error", "goodbye"),
    [
        (LoginDenied("refused"), b"* BYE Login refused"),
        (TooManyErrors("3 failed logins", blame="client"), b"* BYE Too many errors"),
        (PeerTimeout("silent", blame="client"), b"* BYE Disconnected for inactivity"),
        (Kicked("by an operator"), b"* BYE Server shutting down"),
        (PeerGone("closed", blame="client"), None),
        (TlsFailed("no", blame="client"), None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("protocol", ["imap", "pop3", "smtp"])
def test_goodbyes(protocol: str, error: SessionError, goodbye: bytes | None) -> None:
    """IMAP has a word for them; the others say what an operator's end makes them say, or nothing."""
    client = Rehearsal(peer="client")
    PROTOCOLS[protocol](server(protocol)).frontend(client, client_at()).farewell(error)

    if protocol == "imap":
        assert client.said == ([goodbye] if goodbye else [])
    else:
        assert bool(client.said) is isinstance(error, Kicked)


def test_every_bye_has_a_text() -> None:
    """RFC 9051: ``resp-text`` is not empty; Outlook and others stumble over it."""
    for error in (*FAILURES, LoginDenied("x"), TooManyErrors("x", blame="client"), Kicked("x")):
        for line in answers("imap", error):
            assert not line.startswith(b"* BYE") or line.removeprefix(b"* BYE ").strip()
