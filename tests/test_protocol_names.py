"""Code outside ``protocols/`` asks for the facts of a protocol, and never compares its name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from geomail.protocols.facts import FACTS
from tests.test_imports import ROOT, SOURCES

#: The importer reads nginx's words; the demo shows three protocols by name.
MAY_NAME_THEM = (
    "geomail/protocols/",
    "geomail/config/nginx/",
    "cli/geomail_cli/demo.py",
    "cli/geomail_cli/demo_server.py",
)


def sources() -> Iterator[Path]:
    for folder in SOURCES.values():
        for path in sorted(folder.rglob("*.py")):
            if not path.relative_to(ROOT).as_posix().startswith(MAY_NAME_THEM):
                yield path


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_code_outside_the_protocols_names_one(path: Path) -> None:
    names = {*FACTS, *(name.encode() for name in FACTS)}
    found = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert found == [], "ask protocols/facts.py instead"
