"""``geomail check-config``: everything that is wrong with a configuration, without starting anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geomail_cli import render
from geomail_cli.render import counted

if TYPE_CHECKING:
    from geomail.config.load import Inspection
    from geomail.errors import Problem


def check_config(
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="Configuration file.")
    ] = None,
    dump: Annotated[
        bool, typer.Option("--dump", help="Print the effective configuration, secrets masked.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Say nothing but what makes the check fail.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on standard output.")
    ] = False,
) -> None:
    """Check a configuration and list everything that is wrong with it.

    Without -c the file is the one that GEOMAIL_CONFIG names, else
    /etc/geomail/geomail.toml. Names, values and contradictions are checked,
    then what this machine can tell: files, users, names and addresses.

    Exit status: 0 the configuration can be used, 1 it cannot, 2 wrong usage.
    """
    if dump and as_json:
        raise typer.BadParameter("--dump and --json exclude each other")
    from geomail.config.dump import dump as dumped
    from geomail.config.load import find_config, inspect, sort_problems
    from geomail.config.probe import probe
    from geomail.config.toml_text import NotUtf8

    found = inspect(find_config(config))
    problems = sort_problems([*found.problems, *probe(found)])
    failing = [problem for problem in problems if strict or problem.severity == "error"]
    if as_json:
        typer.echo(json.dumps(_result(found, problems, failing), indent=2))
    elif failing or not quiet:
        _show(found, failing if quiet else problems, failing)
    if dump and found.config is not None:
        try:
            typer.echo(dumped(found.config, found.source), nl=False)
        except NotUtf8 as error:
            raise typer.BadParameter(f"--dump: {error}") from None
    if failing:
        raise typer.Exit(1)


def _result(found: Inspection, problems: Sequence[Problem], failing: Sequence[Problem]) -> dict[str, object]:
    return {
        "file": found.source.file,
        "ok": not failing,
        "servers": len(found.draft.servers) if found.draft else 0,
        "problems": [asdict(problem) for problem in problems],
    }


def _show(found: Inspection, shown: Sequence[Problem], failing: Sequence[Problem]) -> None:
    console = render.stderr()
    for problem in shown:
        render.show_problem(console, problem)
    render.show_verdict(console, _verdict(found, shown, bool(failing)), bool(failing))


def _verdict(found: Inspection, problems: Sequence[Problem], failed: bool) -> str:
    counts = []
    if not failed and found.draft is not None:
        counts.append(counted(len(found.draft.servers), "server"))
    for severity in ("error", "warning"):
        number = sum(problem.severity == severity for problem in problems)
        if number:
            counts.append(counted(number, severity))
    return f"configuration {found.source.file} {'is not ok' if failed else 'is ok'} ({', '.join(counts)})"
