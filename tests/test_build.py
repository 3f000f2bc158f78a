"""The build of a wheel: compiled or pure Python, and never a mixture."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email import message_from_bytes
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hatch_build import find_obstacle

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
TOOLS = WHEEL["hooks"]["custom"]["tools"]
LIBRARY = sysconfig.get_config_var("EXT_SUFFIX")
NO_COMPILER = {"CC": "/nonexistent/cc"}
#: A project of two modules that is built like geomail.
SMALL = f"""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "small"
version = "1"
requires-python = ">=3"
dependencies = ["needed>=1"]
dynamic = ["urls"]
[tool.hatch.metadata.hooks.custom]
[tool.hatch.build.targets.wheel]
packages = ["small"]
exclude = {WHEEL.get("exclude", [])}
[tool.hatch.build.targets.wheel.hooks.custom]
tools = ["tool>=1"]
modules = ["small/[ab].py"]
"""
#: Our strict type checker complains about each line; no complaint stops the code from running.
UNTIDY = """\
from typing import Any, cast

def text(given: Any, number: int) -> str:
    if not isinstance(number, int):
        number = 1
    number = cast(int, number)
    number = 2  # type: ignore[assignment]
    return given
"""


class Small:
    """That project, and the output of its builds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "small").mkdir()
        (folder / "pyproject.toml").write_text(SMALL)
        (folder / "hatch_build.py").write_bytes((ROOT / "hatch_build.py").read_bytes())
        for name in ("__init__", "a", "b"):
            self.write(name, "")

    def write(self, name: str, text: str) -> None:
        """Change a module."""
        (self.folder / "small" / f"{name}.py").write_text(text)

    def run(self, call: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Call hatchling, as a frontend does after making the environment."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("GEOMAIL_")}
        return subprocess.run(
            [sys.executable, "-c", f"import hatchling.build; print(hatchling.build.{call})"],
            cwd=self.folder, env={**variables, **env}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def build(self, **env: str) -> tuple[int, str]:
        """Build a wheel; return the exit status, and the output."""
        done = self.run("build_wheel('dist')", **env)
        return done.returncode, done.stdout + done.stderr

    def wheels(self) -> dict[str, set[str]]:
        """Return the files of each wheel, without its metadata."""
        return {
            path.name: {name for name in zipfile.ZipFile(path).namelist() if ".dist-info/" not in name}
            for path in (self.folder / "dist").glob("*")
        }


SOURCES = {"small/__init__.py", "small/a.py", "small/b.py"}
PURE = {"small-1-py3-none-any.whl": SOURCES}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path)


def test_it_is_compiled_where_that_can_be_done_without_being_asked(small: Small) -> None:
    assert small.build()[0] == 0

    [(name, files)] = small.wheels().items()
    assert re.fullmatch(r"small-1-cp3\d+-cp3\d+-linux_\w+\.whl", name)
    assert files == SOURCES | {f"small/a{LIBRARY}", f"small/b{LIBRARY}", f"geomail__mypyc{LIBRARY}"}


def test_without_a_compiler_it_is_pure_and_the_build_says_why(small: Small) -> None:
    status, said = small.build(**NO_COMPILER)

    assert status == 0
    assert "built as pure Python: there is no C compiler (/nonexistent/cc: No such file or directory)" in said
    assert small.wheels() == PURE


def test_a_compiler_that_does_not_work(small: Small) -> None:
    status, said = small.build(CC="false")
    assert status == 0
    assert "built as pure Python: the C compiler does not work (false" in said
    assert small.wheels() == PURE


def test_python_without_its_headers_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path))
    assert find_obstacle() == f"Python's headers are not in {tmp_path}; Debian has them in python3-dev"


def test_an_interpreter_that_is_not_cpython_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.implementation, "name", "pypy")
    assert find_obstacle() == "mypyc compiles for CPython alone, and this is pypy"


def test_a_compiler_with_arguments_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -O1")
    assert find_obstacle() is None


def test_pure_python_can_be_asked_for(small: Small) -> None:
    assert small.build(GEOMAIL_PURE="1")[0] == 0
    assert small.wheels() == PURE


def test_a_stale_library_gets_into_no_wheel(small: Small) -> None:
    (small.folder / "small" / f"a{LIBRARY}").touch()
    assert small.build(GEOMAIL_PURE="1")[0] == 0
    assert small.wheels() == PURE


def test_compiled_or_none_can_be_asked_for(small: Small) -> None:
    status, said = small.build(GEOMAIL_PURE="0", **NO_COMPILER)
    assert (status, small.wheels()) == (1, {})
    assert "not compiled, which GEOMAIL_PURE=0 asks for: there is no C compiler" in said


def test_an_unknown_choice_is_refused(small: Small) -> None:
    status, said = small.build(GEOMAIL_PURE="yes")
    assert (status, small.wheels()) == (1, {})
    assert "GEOMAIL_PURE=yes is not understood: it must be 1 (pure Python) or 0 (compiled)" in said


def test_a_module_that_mypyc_refuses_ends_the_build_and_leaves_no_wheel(small: Small) -> None:
    small.write("b", "def number() -> int:\n    return 'one'\n")
    status, said = small.build()
    assert (status, small.wheels()) == (1, {})
    assert "b.py:2: error: " in said
    assert "could not be compiled, for the reason above. GEOMAIL_PURE=1 builds it as pure Python" in said


def test_warnings_of_newer_compilers_and_packages_do_not_end_the_build(small: Small) -> None:
    with (small.folder / "pyproject.toml").open("a") as settings:
        settings.write("[tool.mypy]\nstrict = true\nwarn_unreachable = true\n")
    small.write("b", UNTIDY)
    assert small.build(CFLAGS="-Wpadded", GEOMAIL_PURE="0")[0] == 0


def test_a_compiler_that_fails_later_ends_the_build_and_leaves_no_wheel(small: Small) -> None:
    compiler = small.folder / "cc"
    compiler.write_text('#!/bin/sh\ncase "$*" in *probe.c*) exec cc "$@" ;; esac\necho full >&2\nexit 1\n')
    compiler.chmod(0o755)
    status, said = small.build(CC=str(compiler))
    assert (status, small.wheels()) == (1, {})
    assert "full\n" in said
    assert "GEOMAIL_PURE=1 builds it as pure Python" in said


def test_an_editable_install_is_pure(small: Small) -> None:
    done = small.run("build_editable('dist')")
    assert done.returncode == 0
    [files] = small.wheels().values()
    assert [name for name in files if name.endswith(".so")] == []


@pytest.mark.parametrize(
    ("env", "needed"),
    [({}, ["tool>=1", "needed>=1"]), ({"GEOMAIL_PURE": "1"}, []), (NO_COMPILER, [])],
    ids=["compiled", "asked for", "no compiler"],
)
def test_a_pure_build_needs_no_tools(small: Small, env: dict[str, str], needed: list[str]) -> None:
    assert small.run("get_requires_for_build_wheel()", **env).stdout == f"{needed}\n"


@pytest.mark.parametrize("tool", TOOLS)
def test_the_tools_are_those_that_the_tests_run_with(tool: str) -> None:
    requirement = Requirement(tool)
    assert requirement.specifier.contains(version(requirement.name))


@pytest.mark.parametrize(
    ("env", "urls"),
    [
        ({}, []),
        (
            {"GEOMAIL_REPOSITORY": "https://example.test/mail/geomail/"},
            [
                "Source, https://example.test/mail/geomail",
                "Changelog, https://example.test/mail/geomail/blob/main/CHANGELOG.md",
                "Issues, https://example.test/mail/geomail/issues",
                "Security, https://example.test/mail/geomail/security/policy",
            ],
        ),
    ],
    ids=["a clone", "a release"],
)
def test_a_release_has_its_addresses(small: Small, env: dict[str, str], urls: list[str]) -> None:
    assert small.build(GEOMAIL_PURE="1", **env)[0] == 0
    [wheel] = (small.folder / "dist").glob("*.whl")
    metadata = message_from_bytes(zipfile.ZipFile(wheel).read("small-1.dist-info/METADATA"))
    assert metadata.get_all("Project-URL", []) == urls
