"""The repository's files for GitHub: workflows, templates, SECURITY.md; and the changelog."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

from geomail import __version__

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (GITHUB / "workflows").iterdir()}
JOBS = {f"{name}: {key}": job for name, flow in WORKFLOWS.items() for key, job in flow["jobs"].items()}
MAKEFILE = (ROOT / "Makefile").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Python versions that geomail has not been tested on.
NOT_SEEN = {"3.14"}

every_job = pytest.mark.parametrize("job", JOBS.values(), ids=JOBS.keys())


def commands(job: dict[str, Any]) -> list[str]:
    """List the commands of a job."""
    return [step["run"] for step in job["steps"] if "run" in step]


@every_job
def test_a_job_has_a_time_limit_and_makes_an_existing_target(job: dict[str, Any]) -> None:
    targets = re.findall(r"\bmake (\S+)", "\n".join(commands(job)))
    assert targets
    assert [name for name in targets if not re.search(rf"^{name}:", MAKEFILE, re.MULTILINE)] == []
    assert job["timeout-minutes"] <= 120


@every_job
def test_a_job_uses_the_python_that_it_sets_up(job: dict[str, Any]) -> None:
    [version] = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in str(step)]
    made = [command for command in commands(job) if "make" in command]
    assert [command for command in made if not command.endswith(f"python{version}")] == []


@pytest.mark.parametrize("flow", WORKFLOWS.values(), ids=WORKFLOWS.keys())
def test_a_workflow_may_only_read(flow: dict[str, Any]) -> None:
    assert flow["permissions"] == {"contents": "read"}


def test_every_python_has_a_job_and_only_an_untested_one_may_fail() -> None:
    job = JOBS["ci: tests"]
    named = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)}
    assert set(job["strategy"]["matrix"]["python"]) == named | NOT_SEEN
    [may_fail] = NOT_SEEN
    assert job["continue-on-error"] == f"${{{{ matrix.python == '{may_fail}' }}}}"
    assert [name for name, other in JOBS.items() if "continue-on-error" in other] == ["ci: tests"]


@pytest.mark.parametrize("name", ["bug", "wish"])
def test_a_template_can_be_filled_in(name: str) -> None:
    form = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert {"name", "description", "body"} <= form.keys()
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in asked}) == len(asked)
    assert any(part.get("validations", {}).get("required") for part in asked)


def test_no_address_is_made_up() -> None:
    files = [ROOT / "SECURITY.md", ROOT / "pyproject.toml", *GITHUB.rglob("*.*")]
    assert [file.name for file in files if re.search(r"https?://|[\w.]+@\w+\.\w", file.read_text())] == []


def test_the_changelog_has_sections_by_version_the_newest_first() -> None:
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
    numbered = [heading for heading in headings if heading != "[Unreleased]"]
    assert headings in (numbered, ["[Unreleased]", *numbered])
    found = [re.fullmatch(r"\[([\d.]+)\] - (\d{4}-\d\d-\d\d|unreleased)", heading) for heading in numbered]
    versions = [Version(heading[1]) for heading in found if heading is not None]
    assert len(versions) == len(headings) - headings.count("[Unreleased]")
    assert [Version(__version__), *versions] == sorted([Version(__version__), *versions], reverse=True)
