"""CONTRIBUTING.md knows every part of the package."""

from pathlib import Path

import pytest

from tests.test_imports import RULES

ROOT = Path(__file__).parents[1]
MAP, _, TABLE = (ROOT / "CONTRIBUTING.md").read_text().partition("## Who may import whom")
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
