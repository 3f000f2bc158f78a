"""XCLIENT: what a backend is told of the client."""

from dataclasses import replace

import pytest

from geomail.conversation import Rehearsal
from geomail.parties import Client, Login
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.smtp import handshake, xclient
from tests.protocols.smtp_backend import (
    AUTO,
    EHLO,
    EVERYTHING,
    HELO,
    LOOPBACK_CLIENT,
    NOT_VOUCHED_FOR,
    SILENT,
    Server,
    rehearse,
)
from tests.protocols.support import OPTIONS, client_at


@pytest.mark.parametrize(
    ("client", "start"),
    [
        (client_at("192.0.2.7"), b"XCLIENT ADDR=192.0.2.7 "),
        (client_at("2001:db8::7"), b"XCLIENT ADDR=IPV6:2001:db8::7 "),
        (client_at("::ffff:192.0.2.7"), b"XCLIENT ADDR=IPV6:::ffff:192.0.2.7 "),
        (client_at("fe80::1%eth0"), b"XCLIENT ADDR=IPV6:fe80::1 "),
        (client_at("unix:", 0), b"XCLIENT ADDR=[UNAVAILABLE] "),
    ],
)
@pytest.mark.parametrize("options", [OPTIONS, replace(AUTO, authenticate=True)], ids=["on", "auto"])
def test_the_clients_address(client: Client, start: bytes, options: HandshakeOptions) -> None:
    said, _ = rehearse(EHLO, options, Server(b"XCLIENT ADDR NAME"), client)

    assert said[1].startswith(start)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        (b"user@example.org", b"user@example.org"),
        (b"a b", b"a+20b"),
        (b"a+b=c", b"a+2Bb+3Dc"),
        (b"\x01\x7f\xc3\xa9~!", b"+01+7F+C3+A9~!"),
    ],
)
def test_values_are_xtext(text: bytes, encoded: bytes) -> None:
    login = replace(EHLO.rewrite(text), helo=text.replace(b" ", b""))
    named = client_at()
    named.name = b"host.example"

    assert (
        rehearse(login, client=named)[0][1] == b"XCLIENT ADDR=192.0.2.7 LOGIN=%b NAME=host.example" % encoded
    )


def test_an_xclient_that_is_not_offered_is_sent_and_remarked() -> None:
    offering, silent = (
        Rehearsal(b"220 hi", answers=Server(EVERYTHING)),
        Rehearsal(b"220 hi", answers=Server()),
    )
    for backend in (offering, silent):
        handshake(backend, EHLO, LOOPBACK_CLIENT, OPTIONS)

    assert offering.said == silent.said
    assert offering.remarks == ()
    assert len(silent.remarks) == 1


@pytest.mark.parametrize(
    ("offer", "login", "options", "line"),
    [
        pytest.param(
            EVERYTHING,
            EHLO,
            AUTO,
            b"XCLIENT PORT=41184 PROTO=ESMTP HELO=me LOGIN=u DESTADDR=192.0.2.1 DESTPORT=587"
            b" ADDR=127.0.0.1 NAME=[UNAVAILABLE]",
            id="everything",
        ),
        pytest.param(
            EVERYTHING,
            SILENT,
            replace(AUTO, authenticate=True),
            b"XCLIENT PORT=41184 PROTO=SMTP HELO=[UNAVAILABLE] DESTADDR=192.0.2.1 DESTPORT=587"
            b" ADDR=127.0.0.1 NAME=[UNAVAILABLE]",
            id="nothing known, nothing vouched for",
        ),
        pytest.param(b"xclient name addr", EHLO, AUTO, NOT_VOUCHED_FOR, id="only what is offered"),
        pytest.param(b"XCLIENT NEWER HELO", EHLO, AUTO, b"XCLIENT HELO=me", id="unknown attributes"),
        pytest.param(
            b"XCLIENT HELO",
            replace(EHLO, helo=b"my printer=1\xff"),
            AUTO,
            b"XCLIENT HELO=my+20printer+3D1+FF",
            id="an odd name",
        ),
    ],
)
def test_auto_tells_what_is_offered(
    offer: bytes, login: Login, options: HandshakeOptions, line: bytes
) -> None:
    assert rehearse(login, options, Server(offer))[0][1] == line


@pytest.mark.parametrize(
    ("login", "hello"), [(EHLO, b"EHLO me"), (HELO, b"HELO me"), (SILENT, b"EHLO mx.test")]
)
def test_auto_greets_again_after_xclient(login: Login, hello: bytes) -> None:
    said, _ = rehearse(login, AUTO, Server(EVERYTHING))

    assert [said[0], said[2:]] == [b"EHLO mx.test", [hello]]


@pytest.mark.parametrize("offer", [b"XCLIENT", b"XCLIENT TTL"])
def test_auto_says_nothing_to_a_backend_that_wants_nothing(offer: bytes) -> None:
    assert rehearse(EHLO, AUTO, Server(offer))[0] == [b"EHLO mx.test"]


@pytest.mark.parametrize("size", [10, 200, 300, 470, 496, 497, 5000])
def test_auto_keeps_each_command_within_512_bytes(size: int) -> None:
    login = replace(EHLO.rewrite(b"u" * size), helo=b"h" * size)
    client = client_at("2001:db8::7")
    client.name = b"n" * 255
    said, _ = rehearse(login, AUTO, Server(EVERYTHING), client)
    commands = [line for line in said if line.startswith(b"XCLIENT")]

    assert all(len(line) + 2 <= xclient.COMMAND_SIZE for line in commands)
    assert commands[-1].endswith(b" ADDR=IPV6:2001:db8::7 NAME=" + b"n" * 255)
    names = [word.partition(b"=")[0] for line in commands for word in line.split()[1:]]
    assert names == [b"PORT", b"PROTO", b"HELO", b"LOGIN", b"DESTADDR", b"DESTPORT", b"ADDR", b"NAME"]
    assert (b"LOGIN=" + b"u" * size in b" ".join(commands)) == (size <= 496)
    assert (b"LOGIN=[UNAVAILABLE]" in b" ".join(commands)) == (size > 496)


# -- the session's id (pass_session_id) --------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "options", "line"),
    [
        (b"XCLIENT ADDR SESSION", OPTIONS, b"XCLIENT SESSION=c0ffee-1 ADDR=192.0.2.7 LOGIN=u NAME="),
        (b"XCLIENT ADDR", OPTIONS, b"XCLIENT ADDR=192.0.2.7 LOGIN=u NAME="),
        (b"SIZE", OPTIONS, b"XCLIENT ADDR=192.0.2.7 LOGIN=u NAME="),
        (b"XCLIENT ADDR SESSION", AUTO, b"XCLIENT SESSION=c0ffee-1 ADDR=192.0.2.7"),
        (b"XCLIENT ADDR", AUTO, b"XCLIENT ADDR=192.0.2.7"),
    ],
)
def test_the_sessions_id_is_told_where_it_is_offered(
    offer: bytes, options: HandshakeOptions, line: bytes
) -> None:
    client = replace(client_at("192.0.2.7"), session=b"c0ffee-1")

    said, _ = rehearse(EHLO, options, Server(offer), client)

    assert said[1].startswith(line)
    assert b"".join(said).count(b"SESSION") == line.count(b"SESSION")


@pytest.mark.parametrize("options", [OPTIONS, AUTO])
def test_the_sessions_id_is_not_told_unless_it_is_passed(options: HandshakeOptions) -> None:
    said, _ = rehearse(EHLO, options, Server(b"XCLIENT ADDR SESSION"), client_at("192.0.2.7"))

    assert not any(b"SESSION" in line for line in said)
