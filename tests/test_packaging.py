"""Wheel and source distribution hold all that they must, and nothing else of the tree."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from geomail import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DATA = f"geomail-{__version__}.data/data/share"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and the source distribution in a folder."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    env = {**os.environ, "GEOMAIL_PURE": "1"}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> set[str]:
    """Return the names in the wheel."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def sdist(built: Path) -> set[str]:
    """Return the names in the source distribution."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def files(folder: str) -> set[str]:
    """Return the paths of all files in a folder of the tree."""
    paths = (
        path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {str(path.relative_to(ROOT / folder)) for path in paths}


def test_the_wheel_holds_both_packages_whole(wheel: set[str]) -> None:
    assert {f"geomail/{name}" for name in files("geomail")} <= wheel
    assert {f"geomail_cli/{name}" for name in files("cli/geomail_cli")} <= wheel
    assert {"geomail/py.typed", "geomail_cli/py.typed"} <= wheel


def test_the_wheel_puts_nothing_else_into_site_packages(wheel: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not re.search(r"\.(dist-info|data)$", top)} == {"geomail", "geomail_cli"}


@pytest.mark.parametrize(("folder", "place"), [("man", "man"), ("samples", "geomail/samples")])
def test_the_wheel_brings_manual_pages_and_samples(wheel: set[str], folder: str, place: str) -> None:
    assert files(folder)
    assert {f"{DATA}/{place}/{name}" for name in files(folder)} <= wheel


def test_manual_pages_are_where_man_looks_for_them() -> None:
    assert [name for name in files("man") if not re.fullmatch(r"man(\d)/[\w.-]+\.\1", name)] == []


@pytest.mark.parametrize("folder", [".github", "geomail", "cli", "man", "samples", "tests"])
def test_the_source_distribution_holds_what_the_tree_holds(sdist: set[str], folder: str) -> None:
    assert {f"{folder}/{name}" for name in files(folder)} <= sdist


LOCKS = {name: (ROOT / name).read_text() for name in ("requirements.lock", "tests/wheels.lock")}

every_lock = pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS.keys())


def pinned(lock: str) -> list[str]:
    """Return the packages that a lock file pins by version and by hash."""
    return re.findall(r"^([\w-]+)==\S+.* \\\n    --hash=sha256:", lock, re.MULTILINE)


def test_every_requirement_is_locked() -> None:
    asked = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    assert {re.split(r"[><=~!]", name)[0] for name in asked} <= set(pinned(LOCKS["requirements.lock"]))


@every_lock
def test_a_lock_pins_everything_with_hashes(lock: str) -> None:
    assert len(pinned(lock)) == len(re.findall(r"^\w", lock, re.MULTILINE)) > 0


@every_lock
def test_a_lock_names_no_place_to_fetch_from(lock: str) -> None:
    assert re.findall(r"^.*(?:://|index-url|find-links|/(?:root|home|opt|tmp)/).*$", lock, re.MULTILINE) == []
