"""Whatever a peer sends, a dialogue ends in a value or in a SessionError; no tracer sees a password."""

import base64
from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geomail.conversation import Rehearsal
from geomail.errors import SessionError
from geomail.parties import Credentials, Login, NoLogin, Password
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.registry import PROTOCOLS
from tests.protocols.support import OPTIONS, WITHOUT_PASSWORD, client_at, server, talk

EVERY_METHOD: dict[str, tuple[str, ...]] = {
    "smtp": ("plain", "login", "cram-md5", "external", "none"),
    "imap": ("plain", "login", "cram-md5", "external"),
    "pop3": ("plain", "apop", "cram-md5", "external"),
}
CREDENTIALS = b"se\xffcr et"
WORDS = [
    *b"HELO EHLO AUTH MAIL RCPT RSET NOOP STARTTLS a b LOGIN CAPABILITY AUTHENTICATE USER PASS".split(),
    *b"APOP CAPA STLS PLAIN CRAM-MD5 EXTERNAL AHUAcA== AHUNAHA= * = GET / HTTP/1.1".split(),
    *rb'" \ {3} {3+} {0} {9999999999} {9999+}'.split(),
    *b"250 220 334 235 - +OK -ERR + * [UNAVAILABLE] OK NO BAD".split(),
    *(b"\0", b"\r", b"\xff", b"* OK", b"a OK", b"a NO", b"250-XCLIENT NAME LOGIN", b"250 AUTH LOGIN"),
]
LINES = st.lists(
    st.lists(st.sampled_from(WORDS) | st.binary(max_size=12), max_size=6).map(b" ".join), max_size=12
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(lines=LINES, starttls=st.sampled_from(["off", "on", "only"]), secured=st.booleans())
@settings(deadline=None)
def test_a_client_cannot_break_a_frontend(
    protocol: str, lines: list[bytes], starttls: str, secured: bool
) -> None:
    options: dict[str, Any] = {f"{protocol}_auth": EVERY_METHOD[protocol], f"{protocol}_client_buffer": 256}

    happened = talk(protocol, *lines, secured=secured, starttls=starttls, max_errors=9, **options)

    for login in happened.logins:
        values = (*astuple(login.credentials), login.helo, login.tag)
        for value in (value for value in values if isinstance(value, bytes)):
            assert not {*b"\r\n\0"} & {*value}
    assert happened.ended is None or happened.ended.blame == "client"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(
    lines=LINES,
    tls=st.sampled_from(["off", "implicit", "starttls"]),
    xclient=st.sampled_from(["on", "off", "auto"]),
    passthrough=st.booleans(),
    credentials=st.sampled_from([Password(b"u", b"p"), NoLogin(b"MAIL x", b"RCPT y"), *WITHOUT_PASSWORD]),
)
@settings(deadline=None)
def test_a_backend_cannot_break_a_handshake(
    protocol: str, lines: list[bytes], tls: Any, xclient: Any, passthrough: bool, credentials: Credentials
) -> None:
    options = HandshakeOptions(
        OPTIONS.server_name, xclient=xclient, passthrough=passthrough, proxy_protocol="v2", tls=tls
    )
    login = Login(credentials, tag=b"a", helo=b"me")
    backend = Rehearsal(*lines)
    ended: tuple[bytes, ...] | SessionError
    try:
        ended = PROTOCOLS[protocol](server(protocol)).handshake(backend, login, client_at(), options)
    except SessionError as error:
        ended = error

    if isinstance(ended, SessionError):
        assert ended.step
    else:
        assert ended
        assert not any({*b"\r\n\0"} & {*line} for line in ended)


@pytest.mark.parametrize(
    ("protocol", "lines"),
    [
        ("smtp", [b"AUTH PLAIN %s"]),
        ("smtp", [b"AUTH PLAIN", b"%s"]),
        ("smtp", [b"AUTH LOGIN", b"dQ==", b"%s"]),
        ("smtp", [b"auth login %s", b"%s"]),
        ("smtp", [b"AUTH NTLM", b"%s"]),
        ("imap", [b"a LOGIN u %r"]),
        ("imap", [b'a LOGIN "u" "%r"']),
        ("imap", [b"a LOGIN u {%d}", b"%r"]),
        ("imap", [b"a LOGIN {1+}", b"u {%d+}", b"%r"]),
        ("imap", [b"a LOGIN {1}", b"u %r"]),
        ("imap", [b"a LOGIN {1}", b'u "%r']),
        ("imap", [b"a AUTHENTICATE PLAIN", b"%s"]),
        ("imap", [b"a AUTHENTICATE PLAIN %s"]),
        ("imap", [b"a AUTHENTICATE PLAIN {%l}", b"%s"]),
        ("imap", [b"LOGIN u %r"]),
        ("imap", [b"a LOGIN u %r x y z"]),
        ("pop3", [b"USER u", b"PASS %r"]),
        ("pop3", [b"PASS %r"]),
        ("pop3", [b"APOP u %s"]),
        ("pop3", [b"AUTH PLAIN", b"%s"]),
        ("pop3", [b"AUTH PLAIN %s"]),
        ("pop3", [b"%r"]),
        ("smtp", [b"%r"]),
        ("imap", [b"%s"]),
    ],
    ids=repr,
)
def test_a_tracer_never_sees_a_password(protocol: str, lines: list[bytes]) -> None:
    coded = base64.b64encode(b"\0u\0" + CREDENTIALS)
    fields = {b"%r": CREDENTIALS, b"%s": coded, b"%d": b"%d" % len(CREDENTIALS), b"%l": b"%d" % len(coded)}
    for name, value in fields.items():
        lines = [line.replace(name, value) for line in lines]
    happened = talk(protocol, *lines)

    seen = b"\n".join(step.line for step in happened.client.steps)
    assert not any(secret in seen for secret in (CREDENTIALS, b"se\xffcr", coded, coded[:12]))
