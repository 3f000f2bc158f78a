"""Selections: which sessions they select."""

import time
from typing import Any

import pytest

from geomail.control.selection import FIELDS, BadSelection, Selection, parse_selection

JANE = {
    "user": "Jane.Doe@example.org",
    "client": "192.0.2.7",
    "server": "[::]:143",
    "protocol": "imap",
    "backend": "10.0.0.1:143 (dc-1)",
    "session": "9f3a01bc22-1f",
}


def matches(record: dict[str, Any] = JANE, **patterns: Any) -> bool:
    return parse_selection(patterns).matches(record)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("jane.doe@example.org", True),
        ("JANE*", True),
        ("*@example.org", True),
        ("*", True),
        ("*.*@*.*", True),
        ("jane?doe@*", True),
        ("jane??doe@*", False),
        ("jane", False),
        ("ane*", False),
        ("", False),
        ("[Jj]*", False),
        ("*\n", False),
    ],
)
def test_patterns_are_those_of_doveadm(pattern: str, fits: bool) -> None:
    assert matches(user=pattern) is fits


@pytest.mark.parametrize("user", ["[x]@y", "a\nb", "ü", "a]b"])
def test_a_pattern_takes_every_other_character_as_it_is(user: str) -> None:
    assert matches({"user": user}, user=user)
    assert not matches({"user": user + "x"}, user=user)
    assert matches({"user": user}, user="*")


@pytest.mark.parametrize(
    ("client", "pattern", "fits"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.0/24", True),
        ("192.0.2.7", "192.0.2.9/24", True),
        ("192.0.2.7", "192.0.3.0/24", False),
        ("192.0.2.7", "192.0.2.*", True),
        ("192.0.2.77", "192.0.2.7", False),
        ("192.0.2.7", "::/0", False),
        ("::ffff:192.0.2.7", "192.0.2.0/24", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db8::1", "2001:0db8:0::1", True),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("unix:", "unix:", True),
        ("unix:", "0.0.0.0/0", False),
        ("unix:", "*", True),
    ],
)
def test_clients_are_chosen_by_address_network_or_pattern(client: str, pattern: str, fits: bool) -> None:
    assert matches({"client": client}, client=pattern) is fits


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("dc-1", True),
        ("dc-?", True),
        ("10.0.0.1:143", True),
        ("10.0.0.*", True),
        ("*(dc-1)", True),
        ("dc", False),
    ],
)
def test_a_backend_has_a_name_and_an_address(pattern: str, fits: bool) -> None:
    assert matches(backend=pattern) is fits
    assert not matches({"backend": "10.0.0.2:143"}, backend="dc-1")
    assert matches({"backend": "10.0.0.2:143"}, backend="10.0.0.2*")


def test_each_field_must_fit_by_one_of_its_patterns() -> None:
    assert matches(user=["nobody", "jane*"], protocol=["imap", "pop3"])
    assert not matches(user=["nobody", "jane*"], protocol=["smtp", "pop3"])
    assert not matches(user=[], protocol="imap")
    assert matches()


def test_a_field_that_is_not_there_fits_nothing() -> None:
    assert not matches({"user": "jane"}, outcome="*")


def test_ids_are_chosen_one_by_one_or_by_pattern() -> None:
    assert matches(session=["a-1", "9f3a01bc22-1f"])
    assert not matches(session=["a-1", "9f3a01bc22-1"])
    assert matches(session="9f3a01bc22-*")


def test_a_selection_tells_whether_it_leaves_sessions_out() -> None:
    assert not Selection({})
    assert Selection({"user": ["*"]})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "select: must be an object"),
        (None, "select: must be an object"),
        ({"colour": "red"}, "use one of user, client"),
        ({"user": 1}, "user: must be a text or an array"),
        ({"user": ["a", None]}, "user: must be a text or an array"),
        ({"client": "300.0.0.1"}, "'300.0.0.1' is not an address, network or pattern"),
        ({"client": "192.0.2.0/33"}, "is not an address, network or pattern"),
        ({"user": "x" * 1001}, "at most 1000 patterns"),
        ({"user": ["x"] * 1001}, "at most 1000 patterns"),
    ],
)
def test_an_error_says_what_is_wrong(value: object, text: str) -> None:
    with pytest.raises(BadSelection, match=text):
        parse_selection(value)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_can_be_chosen_by(field: str) -> None:
    assert matches({field: "192.0.2.7"}, **{field: "192.0.2.7"})


@pytest.mark.parametrize("pattern", ["*a*b*c*d*e*f*", "*a" * 200, "?*" * 200])
def test_no_name_makes_a_pattern_slow(pattern: str) -> None:
    began = time.perf_counter()
    for user in ("a" * 4000, "ab" * 2000, "abcde" * 800):
        matches({"user": user}, user=pattern)
    assert time.perf_counter() - began < 5
