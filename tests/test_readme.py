"""What the README shows is what geomail takes."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from geomail.config.load import inspect
from geomail_cli.main import app

README = (Path(__file__).parents[1] / "README.md").read_text()
MAKEFILE = (Path(__file__).parents[1] / "Makefile").read_text()


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
def test_configurations_are_good(text: str, tmp_path: Path) -> None:
    file = tmp_path / "geomail.toml"
    file.write_text(text)
    found = inspect(file)
    assert [problem.text for problem in found.problems] == []
    assert found.config is not None


def test_commands_exist() -> None:
    named = set(re.findall(r"geomail ([a-z]+(?:-[a-z]+)?)\b(?= |`|$)", "\n".join(_code())))
    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert named
    assert named <= known


def test_targets_exist() -> None:
    targets = set(re.findall(r"^make (\w+)", README, re.MULTILINE))
    assert targets == {"demo", "test"}
    assert all(f"\n{target}:" in MAKEFILE for target in targets)


def _code() -> list[str]:
    """Lines of blocks without a language, comments left out, and words in backquotes."""
    code, block = [], ""
    for line in README.splitlines():
        if line.startswith("```"):
            block = "" if block else line[3:] or "shell"
        elif block == "shell":
            code.append(line.partition("#")[0])
        elif not block:
            code += re.findall(r"`(geomail [^`]*)`", line)
    return code
