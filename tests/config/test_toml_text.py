"""tomllib reads back every text that geomail writes as TOML, whatever the text holds."""

import math
import tomllib
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geomail.config.toml_text import NotUtf8, write_toml_key, write_toml_value

#: Difficult texts: quotes, invalid escapes, control characters, and texts that look like other TOML.
PIECES = st.sampled_from(
    [
        *('"', "'", '"""', "'''", "\\", "\\x41", "\\u0041", "\\U0001F4E7", "\\\\x", "\\", "\n", "\r\n", "\t"),
        *("\0", "\x1b[31m", "\x7f", "\x85", "\x9b", "\u2028", "\u202e", "\ufeff", "\uffff", "\U0010ffff"),
        *(".", "=", "#", "[", "]", "[[x]]", "{", "}", ",", " ", "", "true", "1", "nan", "é", "é", "📧"),
    ]
)
TEXTS = st.text() | st.lists(PIECES, max_size=8).map("".join)
VALUES = st.recursive(
    TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def equal(one: Any, other: Any) -> bool:
    """Tell whether two values, and all items in them, have the same type and value; NaN equals NaN."""
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(equal, one, other))
    both_nan = isinstance(one, float) and math.isnan(one) and math.isnan(other)
    return type(one) is type(other) and (one == other or both_nan)


@given(key=TEXTS, value=VALUES)
def test_tomllib_reads_back_what_was_written(key: str, value: object) -> None:
    line = f"{write_toml_key(key)} = {write_toml_value(value)}"
    found = tomllib.loads(f"first = 1\n{line}  # a comment\n[table]\n{line}\nlast = 1\n")

    assert found["table"].keys() == {key, "last"} or key == "last"
    assert equal(found["table"][key], value)


@given(key=TEXTS, value=VALUES)
def test_it_is_one_line_that_steers_no_terminal(key: str, value: object) -> None:
    assert (write_toml_key(key) + write_toml_value(value)).isprintable()


@given(keys=st.lists(TEXTS, min_size=1, max_size=4))
def test_keys_with_dots_are_one_key_each(keys: list[str]) -> None:
    found: Any = tomllib.loads(f"[{'.'.join(map(write_toml_key, keys))}]\nx = 1\n")
    for key in keys:
        found = found[key]

    assert found == {"x": 1}


def test_a_tuple_is_an_array() -> None:
    assert write_toml_value(("a", (1, True))) == '["a", [1, true]]'


def test_a_text_or_number_of_a_class_of_its_own_is_one() -> None:
    class Word(StrEnum):
        ON = "on"

    class Number(IntEnum):
        TWO = 2

    assert (write_toml_value(Word.ON), write_toml_value(Number.TWO)) == ('"on"', "2")


@pytest.mark.parametrize(
    "value", [None, b"bytes", {"a": 1}, {"a"}, object(), 1j, ["a", None], [[b""]]], ids=repr
)
def test_what_toml_has_no_word_for_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be written as TOML"):
        write_toml_value(value)


@pytest.mark.parametrize("text", ["\ud800", "a\udcff"])
def test_what_is_no_utf8_is_refused(text: str) -> None:
    with pytest.raises(NotUtf8, match="not valid UTF-8"):
        write_toml_value([text])
    with pytest.raises(NotUtf8, match="not valid UTF-8"):
        write_toml_key(text)
