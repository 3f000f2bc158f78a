"""Rows of speaker, line and reason: they fit the terminal, and no text is lost."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from geomail_cli.dialogue_listing import DialogueListing

LONG = "XCLIENT ADDR=192.0.2.1 LOGIN=somebody@a-rather-long-domain.example.org NAME=[UNAVAILABLE]"
ROWS = [
    ("geomail", "EHLO mx.test", "xclient = on"),
    ("backend", "250-backend.example", "250 expected; goes on"),
    ("backend", "250-AUTH PLAIN LOGIN", "250 expected; goes on"),
    ("backend", "250 8BITMIME", "250 expected; goes on"),
    ("geomail", LONG, "a reason that is longer than most of them, and has to be broken somewhere"),
    ("geomail", "x" * 300, ""),
    ("backend", "250 日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語", "any reply"),
    ("backend", "", "error: something is missing"),
]


def printed(width: int | None, *, merges: bool = False, rows: list[tuple[str, str, str]] = ROWS) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=width is not None, color_system=None)
    with DialogueListing(console, merges=merges) as listing:
        for row in rows:
            listing.add_row(*row)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 71, 72, 80, 100, 200])
@pytest.mark.parametrize("merges", [True, False])
def test_no_line_is_wider_than_the_terminal_and_no_letter_is_lost(width: int, merges: bool) -> None:
    lines = printed(width, merges=merges)

    assert max(map(cell_len, lines)) <= width
    letters = "".join("".join(lines).split())
    assert all(letters.count(letter) >= LONG.count(letter) for letter in LONG if letter != " ")
    assert letters.count("x") >= 300
    assert letters.count("語") == 10


def test_columns_are_aligned() -> None:
    lines = printed(80)

    assert lines[:2] == [
        "geomail  EHLO mx.test                             xclient = on",
        "backend  250-backend.example                      250 expected; goes on",
    ]
    assert {line.find("250 expected") for line in lines if "250 expected" in line} == {50}


def test_a_speaker_and_a_reason_that_go_on_are_told_once() -> None:
    assert printed(80, merges=True)[1:4] == [
        "backend  250-backend.example                      250 expected; goes on",
        "         250-AUTH PLAIN LOGIN",
        "         250 8BITMIME",
    ]
    assert printed(80)[2] == "         250-AUTH PLAIN LOGIN                     250 expected; goes on"


def test_a_narrow_terminal_has_the_reason_below() -> None:
    assert printed(40, merges=True)[:6] == [
        "geomail  EHLO mx.test",
        "             xclient = on",
        "backend  250-backend.example",
        "         250-AUTH PLAIN LOGIN",
        "         250 8BITMIME",
        "             250 expected; goes on",
    ]
    assert printed(40, rows=ROWS[-1:]) == ["             error: something is missing"]


def test_in_a_pipe_each_row_is_one_line_that_stands_alone() -> None:
    lines = printed(None, merges=True)

    assert len(lines) == len(ROWS)
    assert lines[2] == f"{'backend  250-AUTH PLAIN LOGIN':<73}  250 expected; goes on"
    assert lines[5] == "geomail  " + "x" * 300
