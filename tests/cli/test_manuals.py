"""The manual pages of the commands: readable, complete, and about existing options only."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from geomail.console.requests import TRACE_CAPS, Requests
from geomail.control.selection import FIELDS
from geomail.errors import SessionError
from geomail.events import KINDS, Event, TraceLine
from geomail.sinks import json_lines
from geomail_cli.main import app
from tests.servers.geomail import COMMAND
from tests.servers.support import program
from tests.sinks.support import closed

ALL = sorted((Path(__file__).parents[2] / "man").glob("man*/*"))
MAN = Path(__file__).parents[2] / "man" / "man1"
APP: Any = typer.main.get_command(app)

every_command = pytest.mark.parametrize("command", sorted(APP.commands))


def page(command: str) -> str:
    return (MAN / f"geomail-{command}.1").read_text()


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_mandoc_has_nothing_to_say(file: Path) -> None:
    said = subprocess.run([program("mandoc"), "-T", "lint", file], capture_output=True, text=True)
    complaints = (said.stdout + said.stderr).splitlines()

    assert [
        line for line in complaints if str(file) in line and "referenced manual not found" not in line
    ] == []


def options_of(command: Any) -> set[str]:
    """Return the options in the help, long and short, without their hyphens."""
    names = {name for parameter in command.params for name in parameter.opts if name.startswith("-")}
    return {name.lstrip("-") for name in names} | {"help", "h"}


def options_told(text: str) -> set[str]:
    """Return the options that a page describes."""
    items = " ".join(re.findall(r"^\.It .*", text.partition(".Sh DESCRIPTION")[2], re.MULTILINE))
    return set(re.findall(r"Fl (?:Fl )?([a-z][a-z-]*)", items))


@every_command
def test_a_page_tells_of_every_option_and_of_nothing_else(command: str) -> None:
    assert options_told(page(command)) == options_of(APP.commands[command])


def test_the_first_page_tells_of_every_command_and_option() -> None:
    text = (MAN / "geomail.1").read_text()

    assert options_told(text) == options_of(APP)
    assert set(re.findall(r"^\.It Cm ([a-z-]+)$", text, re.MULTILINE)) == set(APP.commands)
    assert set(re.findall(r"^\.Xr geomail-(\S+) 1", text, re.MULTILINE)) == set(APP.commands)


def test_no_page_is_of_a_command_that_does_not_exist() -> None:
    assert {path.stem.removeprefix("geomail-") for path in MAN.glob("geomail-*")} == set(APP.commands)


def test_the_protocol_page_tells_of_every_request_event_and_field() -> None:
    text = (MAN.parent / "man7" / "geomail-control.7").read_text()
    words = set(re.findall(r"[a-z][a-z._-]+", re.sub(r"^\.\\\".*", "", text, flags=re.MULTILINE)))

    assert set(Requests(Any, Any, Any).handlers) <= words  # type: ignore[arg-type]
    kinds: list[type[Event]] = [*KINDS.values(), TraceLine]
    for kind in kinds:
        assert {kind.kind, *(field.name for field in fields(kind))} <= words
    assert set(FIELDS) | set(TRACE_CAPS) <= words


def items(command: str, section: str) -> set[str]:
    """Return the items of a section of a page."""
    text = re.split(r"^\.S[hs] ", page(command).partition(f".Ss {section}\n")[2], flags=re.MULTILINE)[0]
    return {word for line in re.findall(r"^\.It Cm (.*)", text, re.MULTILINE) for word in line.split(" , ")}


def test_the_page_of_serve_tells_of_every_field_of_the_record_in_the_log() -> None:
    assert items("serve", "The record of a session") == set(
        json.loads(json_lines.format_session_closed("info", closed()))
    )


def test_the_page_of_serve_tells_of_every_outcome() -> None:
    def kinds(error: type[SessionError]) -> set[type[SessionError]]:
        return {error}.union(*map(kinds, error.__subclasses__()))

    assert items("serve", "Outcomes") == {
        "done",
        "quit",
        "bug",
        *(error.outcome for error in kinds(SessionError)),
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    env = os.environ | {"_GEOMAIL_COMPLETE": f"source_{shell}"}
    script = subprocess.run([COMMAND], env=env, capture_output=True, text=True, check=True).stdout

    assert f"_GEOMAIL_COMPLETE=complete_{shell}" in script
    if path := shutil.which(shell):
        subprocess.run([path, "-n"], input=script, text=True, check=True)


def test_bash_completes_commands_and_options() -> None:
    def completed(words: str, number: int) -> list[str]:
        env = {"_GEOMAIL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        answer = subprocess.run([COMMAND], env=os.environ | env, capture_output=True, text=True, check=True)
        return answer.stdout.split()

    assert completed("geomail t", 1) == ["tail", "trace"]
    assert completed("geomail trace --s", 2) == ["--server", "--seconds", "--socket"]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("preview-handshake", ["--user", "u"]),
        ("check-auth", ["--user", "u", "--password-file", "-"]),
    ],
)
def test_it_tells_of_every_key_of_the_json(command: str, options: list[str], tmp_path: Path) -> None:
    file = tmp_path / "geomail.toml"
    file.write_text('[mail]\nauth_http = "http://127.0.0.1:1/"\n[[mail.server]]\nlisten = "127.0.0.1:25"\n')
    result = CliRunner().invoke(app, [command, "-c", str(file), "--json", *options], input="p\n")
    json_part = page(command).partition(".Ss JSON")[2].partition(".Sh ")[0]

    assert re.findall(r"^\.It Cm (\w+)", json_part, re.MULTILINE) == list(json.loads(result.stdout))
