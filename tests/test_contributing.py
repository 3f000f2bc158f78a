"""CONTRIBUTING.md describes every part of the package, and its commands exist."""

import re
from pathlib import Path

import pytest

from tests.test_imports import RULES

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MAP, _, TABLE = CONTRIBUTING.partition("## Allowed imports")
PARTS = sorted(
    f"{path.name}/" if path.is_dir() else path.name
    for path in (ROOT / "geomail").iterdir()
    if path.suffix in ("", ".py") and not path.name.startswith("_")
)


@pytest.mark.parametrize("part", PARTS)
def test_the_map_shows_it(part: str) -> None:
    assert f"geomail/{part}`" in MAP or f"`{part}`" in MAP


@pytest.mark.parametrize("module", RULES)
def test_the_table_of_imports_has_it(module: str) -> None:
    path = module.replace(".", "/")
    assert any(f"`{name}`" in TABLE for name in (path, f"{path}/", f"{path}.py"))


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"(?:^|`)make ([\w-]+)", CONTRIBUTING, re.MULTILINE)))
)
def test_its_targets_are_in_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
