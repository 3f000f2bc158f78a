"""The manual pages of the commands: they can be read, and tell of every option and of nothing else."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from geomail_cli.main import app
from tests.servers.support import program

MAN = Path(__file__).parents[2] / "man" / "man1"
PAGES = sorted(path.stem.removeprefix("geomail-") for path in MAN.glob("geomail-*.1"))

every_page = pytest.mark.parametrize("command", PAGES)


def page(command: str) -> str:
    return (MAN / f"geomail-{command}.1").read_text()


@every_page
def test_mandoc_has_nothing_to_say(command: str) -> None:
    file = MAN / f"geomail-{command}.1"
    said = subprocess.run([program("mandoc"), "-T", "lint", file], capture_output=True, text=True)
    complaints = (said.stdout + said.stderr).splitlines()

    assert [
        line for line in complaints if str(file) in line and "referenced manual not found" not in line
    ] == []


@every_page
def test_it_tells_of_every_option(command: str) -> None:
    commands: Any = typer.main.get_command(app)
    options = {name for parameter in commands.commands[command].params for name in parameter.opts}
    text = page(command).partition(".Sh DESCRIPTION")[2]
    told = set(re.findall(r"Fl Fl ([a-z-]+)", " ".join(re.findall(r"^\.It .*", text, re.MULTILINE))))

    assert told == {name.removeprefix("--") for name in options if name.startswith("--")} | {"help"}


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
