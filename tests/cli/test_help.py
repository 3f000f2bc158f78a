"""The help texts: whole sentences that fit a terminal of 80 columns."""

import re
from typing import Any

import pytest
import typer.main

from geomail_cli.main import app
from tests.cli.commands import invoked

APP: Any = typer.main.get_command(app)

every_command = pytest.mark.parametrize("command", sorted(APP.commands))


def help_lines(*command: str) -> list[str]:
    return invoked(*command, "--help", COLUMNS="80").stdout.splitlines()


@every_command
def test_a_command_is_listed_with_a_whole_sentence_on_its_line(command: str) -> None:
    [line] = [line for line in help_lines() if line.split()[:1] == [command]]
    listed = line.split(None, 1)[1]

    assert listed == APP.commands[command].help.partition("\n")[0]
    assert re.fullmatch(r"[A-Z].*[a-z]\.", listed)
    assert len(line) <= 80


@every_command
def test_each_option_is_described_by_one_sentence_on_one_line(command: str) -> None:
    lines = help_lines(command)

    for option in APP.commands[command].params:
        assert re.fullmatch(r"[^.]+(\.[a-z0-9][^.]*)*\.", option.help), option.name
        assert any(option.help in line for line in lines), option.help


@every_command
def test_no_line_is_wider_than_the_terminal(command: str) -> None:
    assert max(map(len, help_lines(command))) <= 80
