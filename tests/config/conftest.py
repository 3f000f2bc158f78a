from collections.abc import Callable
from pathlib import Path

import pytest

from geomail.config.load import Inspection, inspect

Inspect = Callable[[str], Inspection]


@pytest.fixture
def inspect_text(tmp_path: Path) -> Inspect:
    """Read and check a configuration given as text."""

    def read(text: str) -> Inspection:
        file = tmp_path / "geomail.toml"
        file.write_text(text, encoding="utf-8")
        return inspect(file)

    return read
