"""The arguments of IMAP commands: atoms, quoted strings, literals, and their limits."""

from typing import Any

import pytest

from geomail.errors import LineTooLong, PeerGone, ProtocolViolation, TooManyErrors
from geomail.parties import Login, Password
from tests.protocols.support import talk

BUFFER: dict[str, Any] = {"imap_client_buffer": 64}
TOO_MANY = b"* BYE Too many errors"
TOO_LONG = b"* BYE Command too long"
CLOSING = b"* BYE Connection closing"


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [
        (b"u p", b"u", b"p"),
        (b"  u   p  ", b"u", b"p"),
        (b'us%er "p w"', b"us%er", b"p w"),
        (b'"u" ""', b"u", b""),
        (b'"u""p"', b"u", b"p"),
        (b'"u"p', b"u", b"p"),
        (b'u"x p"y', b'u"x', b'p"y'),
        (b'u "a\\"b\\\\c\\d"', b"u", b'a"b\\cd'),
        (b'u "\\"\\"\\""', b"u", b'"""'),
        (b"u p{3}", b"u", b"p{3}"),
        (b"\xc3\xa9 \xff", b"\xc3\xa9", b"\xff"),
        (b"u\tx p", b"u\tx", b"p"),
    ],
    ids=repr,
)
def test_login(text: bytes, user: bytes, password: bytes) -> None:
    happened = talk("imap", b"a LOGIN " + text)

    (login,) = happened.logins
    assert login == Login(Password(user, password), tag=b"a")
    assert happened.said == [b"a NO no"]


@pytest.mark.parametrize(
    "text",
    [b'u "p', b'"u', b'u "p\\', b'u "p\\"', b"u {3", b"u {}", b"u {x}", b"u {3} ", b"u {3}x", b"u {-1}"],
    ids=repr,
)
def test_arguments_that_cannot_be_parsed_are_counted(text: bytes) -> None:
    happened = talk("imap", b"a LOGIN " + text, max_errors=1)

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [b"a BAD invalid command", TOO_MANY]


def test_a_quote_ends_with_its_line() -> None:
    happened = talk("imap", b'a LOGIN "u p', b"b LOGIN u p")

    assert happened.said == [b"a BAD invalid command", b"b NO no"]
    assert happened.logins[0].user == b"u"


@pytest.mark.parametrize(
    ("lines", "user", "password", "go_aheads"),
    [
        ([b"a LOGIN {1}", b"u {1}", b"p"], b"u", b"p", 2),
        ([b"a LOGIN {1+}", b"u {1+}", b"p"], b"u", b"p", 0),
        ([b"a LOGIN u {1}", b"p"], b"u", b"p", 1),
        ([b'a LOGIN "u"{1}', b"p"], b"u", b"p", 1),
        ([b"a LOGIN {1}", b"u p"], b"u", b"p", 1),
        ([b"a LOGIN {1}", b'u "p w" '], b"u", b"p w", 1),
        ([b"a LOGIN u {0}", b""], b"u", b"", 1),
        ([b"a LOGIN u {0+}", b""], b"u", b"", 0),
        ([b"a LOGIN {003}", b"u v p"], b"u v", b"p", 1),
        ([b"a LOGIN {3}", b'{"\\ {4+}', b"{3+}"], b'{"\\', b"{3+}", 1),
    ],
    ids=repr,
)
def test_literals(lines: list[bytes], user: bytes, password: bytes, go_aheads: int) -> None:
    happened = talk("imap", *lines)

    (login,) = happened.logins
    assert login.credentials == Password(user, password)
    assert happened.said == [b"+ OK"] * go_aheads + [b"a NO no"]


def test_an_empty_user_in_a_literal_is_no_user() -> None:
    assert talk("imap", b"a LOGIN {0}", b" p", b"b NOOP").said == [
        b"+ OK",
        b"a BAD invalid command",
        b"b OK completed",
    ]


@pytest.mark.parametrize("rest", [b"x", b'"p"', b"{1}", b"\rx"], ids=repr)
def test_only_a_space_or_the_end_follows_a_literal(rest: bytes) -> None:
    happened = talk("imap", b"a LOGIN {1}", b"u" + rest, b"b NOOP", max_errors=2)

    assert happened.said == [b"+ OK", b"a BAD invalid command", b"b OK completed"]


@pytest.mark.parametrize("rest", [b" p\rq", b" p\0q"], ids=repr)
def test_what_follows_a_literal_is_a_line_like_any_other(rest: bytes) -> None:
    happened = talk("imap", b"a LOGIN {1}", b"u" + rest, max_errors=1)

    assert isinstance(happened.ended, TooManyErrors)


@pytest.mark.parametrize("literal", [b"{1}", b"{1+}"])
def test_literals_count_as_arguments_of_any_command(literal: bytes) -> None:
    assert talk("imap", b"a NOOP " + literal, b"x", b"b NOOP").said[-2:] == [
        b"a OK completed",
        b"b OK completed",
    ]


def test_a_fourth_argument_is_not_asked_for() -> None:
    assert talk("imap", b"a LOGIN u p x {1}", b"b NOOP").said == [b"a BAD invalid command", b"b OK completed"]


@pytest.mark.parametrize("bad", [b"p\r\nb NOOP", b"p\nq", b"p\rq", b"p\0q"], ids=repr)
@pytest.mark.parametrize("place", ["user", "password"])
def test_line_breaks_and_nul_in_literals_are_refused(bad: bytes, place: str) -> None:
    user, password = (bad, b"p") if place == "user" else (b"u", bad)
    lines = [b"a LOGIN {%d+}" % len(user), user + b" {%d+}" % len(password), password, b"b NOOP"]
    happened = talk("imap", *lines, max_errors=1)

    assert happened.logins == []
    assert happened.said == [b"a BAD invalid command", b"b OK completed"]


# -- limits on literals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        (64 - len(b"a LOGIN u {99}\r\n") - 2, True),
        (64 - len(b"a LOGIN u {99}\r\n") - 1, False),
        (10**9, False),
    ],
)
def test_a_literal_that_does_not_fit_is_not_asked_for(size: int, fits: bool) -> None:
    happened = talk("imap", b"a LOGIN u {%d}" % size, b"p" * 46, b"b NOOP", **BUFFER)

    if fits:
        assert happened.said == [b"+ OK", b"a NO no", b"b OK completed"]
    else:
        ps = b"p" * 46
        assert happened.said == [b"a BAD invalid command", ps + b" BAD invalid command", b"b OK completed"]


def test_a_literal_that_does_not_fit_is_counted() -> None:
    happened = talk("imap", *[b"a LOGIN u {99}"] * 3, max_errors=2, **BUFFER)

    assert isinstance(happened.ended, TooManyErrors)
    assert happened.said == [b"a BAD invalid command"] * 2 + [TOO_MANY]


def test_a_literal_sent_unasked_that_does_not_fit_ends_the_session_with_one_reply() -> None:
    happened = talk("imap", b"a LOGIN u {60+}", b"p" * 60, **BUFFER)

    assert isinstance(happened.ended, LineTooLong)
    assert happened.said == [b"a BAD invalid command", TOO_LONG]


@pytest.mark.parametrize(
    ("lines", "fits"),
    [
        ([b"a LOGIN {20+}", b"u" * 20 + b" {9+}", b"p" * 9], True),
        ([b"a LOGIN {20+}", b"u" * 20 + b" {24+}", b"p" * 24], False),
        ([b"a LOGIN {20+}", b"u" * 20 + b" " + b"p" * 26], True),
        ([b"a LOGIN {20+}", b"u" * 20 + b" " + b"p" * 27], False),
    ],
)
def test_a_command_and_its_literals_fit_the_buffer_together(lines: list[bytes], fits: bool) -> None:
    happened = talk("imap", *lines, **BUFFER)

    assert happened.said == ([b"a NO no"] if fits else [b"a BAD invalid command", TOO_LONG])
    assert isinstance(happened.ended, PeerGone if fits else LineTooLong)


@pytest.mark.parametrize("digits", [11, 30, 5000])
def test_absurd_sizes(digits: int) -> None:
    happened = talk("imap", b"a LOGIN u {%b}" % (b"9" * digits), b"b NOOP", imap_client_buffer=8192)

    assert happened.said == [b"a BAD invalid command", b"b OK completed"]


@pytest.mark.parametrize(
    "line",
    [
        b"a SELECT {5+}",
        b"a+ LOGIN u {5+}",
        b"x{5+}",
        b"a LOGIN u p x {5+}",
        b"a LOGIN u {+}",
        b"a LOGIN \r {5+}",
    ],
    ids=repr,
)
@pytest.mark.parametrize(("nginx_replies", "last"), [(False, [CLOSING]), (True, [])])
def test_a_rejected_line_that_announces_a_literal_ends_the_session(
    line: bytes, nginx_replies: bool, last: list[bytes]
) -> None:
    happened = talk("imap", line, b"b NOOP", nginx_replies=nginx_replies)

    assert isinstance(happened.ended, ProtocolViolation)
    assert happened.said[0].endswith(b" BAD invalid command")
    assert happened.said[1:] == last


def test_a_rejected_rest_of_a_line_that_announces_a_literal_ends_the_session() -> None:
    happened = talk("imap", b"a LOGIN {1}", b"ux {7+}", b"b NOOP")

    assert isinstance(happened.ended, ProtocolViolation)
    assert happened.said == [b"+ OK", b"a BAD invalid command", CLOSING]
