"""``geomail trace``: its output; tests/console/test_trace.py has what a trace contains."""

import json

import pytest

from geomail_cli import trace

LOST = {"id": 1, "lost": 3}
DONE = {"id": 1, "done": {"reached": "lines", "lines": 10, "lost": 3}}


def test_losses_are_said_beside_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    trace._show(dict(LOST), as_json=False)
    trace._show(dict(DONE), as_json=False)
    printed, said = capsys.readouterr()
    assert printed == ""
    assert "3 lines lost" in said
    assert "the limit of lines is reached (--lines); 10 lines, 3 lost" in said


def test_programs_are_told_losses_among_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    trace._show(dict(LOST), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"lost": 3}


def test_no_line_steers_the_terminal_whatever_the_server_sends(capsys: pytest.CaptureFixture[str]) -> None:
    event = {"event": "trace.line", "time": 0.0, "session": "c0ffee-1\x1b[2J", "leg": "client"}
    trace._show({**event, "direction": "<", "line": "\x1b]0;x\x07", "because": "\x9b31m"}, as_json=False)
    printed = capsys.readouterr().out
    assert printed.removesuffix("\n").isprintable()
    assert "\\x1b]0;x\\x07   # \\x9b31m" in printed
