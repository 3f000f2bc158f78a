"""Docstrings open with a verb (functions) or a noun phrase (classes and properties)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "geomail").rglob("*.py")), *sorted((ROOT / "cli").rglob("*.py"))]

QUESTION_WORDS = frozenset(
    [
        "What",
        "Who",
        "Whom",
        "Whose",
        "Where",
        "Which",
        "When",
        "Why",
        "How",
        "Whether",
        "Whoever",
        "Whatever",
        "If",
    ]
)
NOT_VERBS = QUESTION_WORDS | frozenset(
    [
        "The",
        "A",
        "An",
        "All",
        "Each",
        "Every",
        "Any",
        "Some",
        "No",
        "None",
        "This",
        "That",
        "These",
        "Those",
        "One",
        "Two",
        "It",
        "Its",
        "Until",
        "As",
        "For",
        "In",
        "Of",
        "On",
        "With",
    ]
)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(path: Path) -> Iterator[tuple[Definition, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Definition) and (text := ast.get_docstring(node)):
            yield node, text


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = {getattr(mark, "id", getattr(mark, "attr", "")) for mark in node.decorator_list}
    return bool(names & {"property", "cached_property"})


def complaint(node: Definition, text: str) -> str:
    """Say what is wrong with a docstring's first word; empty if nothing is."""
    first = text.split(None, 1)[0].rstrip(",.:;")
    if isinstance(node, ast.ClassDef) or is_property(node):
        return "a noun phrase must come first" if first in QUESTION_WORDS else ""
    if first in NOT_VERBS or (first.endswith("s") and not first.endswith(("ss", "us"))):
        return "a verb in the imperative must come first"
    return ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_open_as_they_should(path: Path) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}: {why}: {text.splitlines()[0]}"
        for node, text in definitions(path)
        if (why := complaint(node, text))
    ]
    assert not found, "\n".join(found)
