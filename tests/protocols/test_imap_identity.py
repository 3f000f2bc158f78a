"""IMAP's ID before a login (RFC 2971): always answered, bounded, and kept for the record."""

from typing import Any

import pytest

from geomail.conversation import Rehearsal
from geomail.errors import SessionError
from geomail.protocols.imap.identity import LONGEST
from geomail.protocols.registry import PROTOCOLS
from tests.protocols.support import client_at, server, talk

DONE = b"a OK completed"
BAD = b"a BAD invalid command"
OWN = '("name" "geomail" "support-url" NIL)'


def told(*lines: bytes, **options: Any) -> tuple[str, list[bytes]]:
    """What is kept of a client's ID, and what the client hears."""
    client, who = Rehearsal(*lines, peer="client"), client_at()
    with pytest.raises(SessionError):
        PROTOCOLS["imap"](server("imap", **options)).frontend(client, who).login()
    return who.client_id, client.said


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([b"a ID NIL"], ""),
        ([b"a id nil"], ""),
        ([b"a ID ()"], ""),
        ([b'a ID ("name" "Thunderbird")'], "name: Thunderbird"),
        ([b'a ID ( "name"  "iPhone Mail" "version" NIL "os" "iOS" )'], "name: iPhone Mail, os: iOS"),
        ([b'a ID ("a\\"b" "(c) \\\\")'], 'a"b: (c) \\'),
        ([b"a ID (name {4+}", b"K-9!)"], "name: K-9!"),
        ([b'a ID ("name" {2+}', b'\xc3\xa9 "os" {1+}', b"\xff)"], "name: \xe9, os: \\xff"),
        ([b'a ID ("name" "")'], ""),
        ([b'a ID ("n" "' + b"x" * 3000 + b'")'], "n: " + "x" * (LONGEST - 3)),
        ([b"a ID (" + b'"n" "v" ' * 400 + b")"], ("n: v, " * 400)[:LONGEST]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_client_is_answered_and_its_words_are_kept(lines: list[bytes], kept: str) -> None:
    assert told(*lines) == (kept, [b"* ID NIL", DONE])


def test_a_literal_is_asked_for() -> None:
    assert told(b'a ID ("name" {3}', b"K-9)")[1] == [b"+ OK", b"* ID NIL", DONE]


def test_what_geomail_says_of_itself() -> None:
    assert told(b"a ID NIL", imap_id=OWN)[1] == [b"* ID " + OWN.encode(), DONE]


@pytest.mark.parametrize(
    "options", [{}, {"starttls": "on"}, {"starttls": "only"}, {"nginx_replies": True}], ids=repr
)
def test_it_is_valid_in_any_state(options: dict[str, Any]) -> None:
    assert told(b"a ID NIL", **options)[1] == [b"* ID NIL", DONE]


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"x", b"(", b'("name"', b'("name")', b'("name" "x" "y")', b'("name" "x") y', b"NIL NIL"),
        *(b'("name" "x', b'("name" {x}', b'("name" {99999}', b"(name {3", b'("name" ("x"))'),
    ],
    ids=repr,
)
def test_what_is_no_list_is_counted(text: bytes) -> None:
    happened = talk("imap", b"a ID " + text, max_errors=1)

    assert happened.said == [BAD, b"* BYE Too many errors"]


def test_a_literal_beyond_the_buffer_ends_the_session() -> None:
    happened = talk("imap", b'a ID ("name" {99999+}', b"x")

    assert happened.said == [BAD, b"* BYE Command too long"]


def test_a_session_goes_on_to_its_login() -> None:
    happened = talk("imap", b'2 ID ("name" "x")', b"3 LOGIN u p")

    assert happened.said == [b"* ID NIL", b"2 OK completed", b"3 NO no"]
