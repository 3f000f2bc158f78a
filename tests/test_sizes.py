"""Functions have at most 25 lines, without their docstring, and files at most 400."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "geomail").rglob("*.py")), *sorted((ROOT / "cli").rglob("*.py"))]
MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_FILE = 25, 400


def count_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    docstring = function.body[0] if ast.get_docstring(function) else None
    return _count(function) - (_count(docstring) if docstring is not None else 0)


def _count(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_or_file_is_too_long(path: Path) -> None:
    text = path.read_text()
    functions = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {one.name: lines for one in functions if (lines := count_lines(one)) > MOST_LINES_OF_A_FUNCTION}
    assert not long
    assert text.count("\n") <= MOST_LINES_OF_A_FILE
