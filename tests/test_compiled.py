"""The tests run on the right build: the sources, or the compiled build (``make test-compiled``)."""

import importlib
import os
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
PATTERNS = BUILD["targets"]["wheel"]["hooks"]["custom"]["modules"]
COMPILED = "GEOMAIL_COMPILED" in os.environ


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_module_is_compiled_in_the_compiled_build_only(pattern: str) -> None:
    name = pattern.removesuffix(".py").removesuffix("/*").replace("/", ".")
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert module.__file__.endswith(".so") == COMPILED
