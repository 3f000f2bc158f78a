import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geomail.config.units import (
    escape_unprintable,
    format_size,
    format_time,
    parse_flag,
    parse_number,
    parse_size,
    parse_time,
    parse_words,
    parse_workers,
    show,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (60, 60),
        (0.5, 0.5),
        ("60", 60),
        ("60s", 60),
        ("1m30s", 90),
        ("1m 30s", 90),
        ("1m30", 90),
        ("24h", 86400),
        ("1w2d3h4m5s6ms", 788645.006),
        ("500ms", 0.5),
        ("0", 0),
    ],
)
def test_times(value: object, seconds: float) -> None:
    assert parse_time(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " 60",
            "60 s",
            "24 hours",
            "1y",
            "1M",
            "30s1m",
            "1h1h",
            "1s30",
            "-1s",
            "1.5s",
            "h",
            "1h-",
            "٣s",
        ),
        *(-1, True, float("inf"), float("nan"), None, [60], "9999999999w", 10**400, "9" * 5000),
    ],
)
def test_no_times(value: object) -> None:
    with pytest.raises(ValueError, match=r"seconds|units of a time"):
        parse_time(value)


@given(st.integers(min_value=0, max_value=10**12))
def test_a_time_is_written_as_it_is_read(milliseconds: int) -> None:
    assert parse_time(format_time(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("value", "size"),
    [(4096, 4096), ("4096", 4096), ("8k", 8192), ("8K", 8192), ("1m", 1 << 20), ("1M", 1 << 20)],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "8kb", "1g", "k", "8 k", "-8k", -1, 1.5, True, None, "9" * 5000])
def test_no_sizes(value: object) -> None:
    with pytest.raises(ValueError, match="must be a number of bytes, or text such as"):
        parse_size(value)


@given(st.integers(min_value=0, max_value=1 << 40))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("value", "flag"),
    [(True, True), (False, False), ("on", True), ("off", False), ("ON", True), ("oFF", False)],
)
def test_flags(value: object, flag: bool) -> None:
    assert parse_flag(value) is flag


@pytest.mark.parametrize("value", ["yes", "true", "", 1, 0, None])
def test_no_flags(value: object) -> None:
    with pytest.raises(ValueError, match='must be true, false, "on" or "off", not '):
        parse_flag(value)


@pytest.mark.parametrize(("value", "number"), [(0, 0), (5, 5), ("20", 20)])
def test_numbers(value: object, number: int) -> None:
    assert parse_number(value) == number


@pytest.mark.parametrize("value", ["", "5x", "-5", -5, 1.0, True, "٣"])
def test_no_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="must be a whole number, 0 or more, not"):
        parse_number(value)


@pytest.mark.parametrize(("value", "count"), [(1, 1), ("3", 3), ("AUTO", len(os.sched_getaffinity(0)))])
def test_workers(value: object, count: int) -> None:
    assert parse_workers(value) == count


@pytest.mark.parametrize(("value", "found"), [(0, "0"), (-2, "-2"), ("none", '"none"'), (1.5, "1.5")])
def test_no_workers(value: object, found: str) -> None:
    with pytest.raises(ValueError, match=f'^must be at least 1, or "auto", not {found}$'):
        parse_workers(value)


@pytest.mark.parametrize("value", ["plain LOGIN  plain", ["plain", "Login", "plain"]])
def test_words_are_lowered_and_stand_once(value: object) -> None:
    assert parse_words(value) == ("plain", "login")


@pytest.mark.parametrize("value", ["", [], 5, {"plain": True}])
def test_no_words(value: object) -> None:
    with pytest.raises(ValueError, match=r"must be an array of words|must have at least one word"):
        parse_words(value)


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "\x7f", "\x9b31m", "\u202egnp.exe", "\ud800"])
def test_what_is_shown_cannot_steer_a_terminal(text: str) -> None:
    assert escape_unprintable(text).isprintable()
    assert show(text).isprintable()


def test_what_is_shown_is_short() -> None:
    assert len(show("x" * 10_000)) < 100
