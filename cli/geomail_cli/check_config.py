"""``geomail check-config``: check a configuration, without starting anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from geomail_cli import output
from geomail_cli.option_groups import ConfigOption, JsonOption, spread_groups
from geomail_cli.output import pluralize

if TYPE_CHECKING:
    from geomail.config.load import Inspection
    from geomail.config.schema import Config
    from geomail.config.source import Source
    from geomail.errors import Problem


@dataclass(frozen=True)
class CheckOptions:
    """The options that say what is printed, and what fails."""

    dump: Annotated[bool, typer.Option("--dump", help="Print every option's value; secrets are masked.")] = (
        False
    )
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print only what makes the check fail.")] = (
        False
    )
    as_json: JsonOption = False


@spread_groups
def check_config(options: CheckOptions, config: ConfigOption = None) -> None:
    """Check a configuration and list all its problems.

    Without -c the configuration is the file that GEOMAIL_CONFIG names, or
    /etc/geomail/geomail.toml. The check covers names, values and
    contradictions, then files, users, host names and addresses of this machine.

    Exit status: 0 the configuration can be used, 1 it cannot, 2 wrong usage.
    """
    if options.dump and options.as_json:
        raise typer.BadParameter("--dump and --json exclude each other: give only one")
    from geomail.config.load import find_config, inspect, sort_problems
    from geomail.config.probe import probe

    found = inspect(find_config(config))
    problems = sort_problems([*found.problems, *probe(found)])
    failing = [problem for problem in problems if options.strict or problem.severity == "error"]
    if options.as_json:
        typer.echo(json.dumps(_make_result(found, problems, failing), indent=2))
    elif failing or not options.quiet:
        _show(found, failing if options.quiet else problems, failing)
    if options.dump and found.config is not None:
        _dump(found.config, found.source)
    if failing:
        raise typer.Exit(1)


def _dump(config: Config, source: Source) -> None:
    from geomail.config.dump import dump
    from geomail.config.toml_text import NotUtf8

    try:
        typer.echo(dump(config, source), nl=False)
    except NotUtf8 as error:
        raise typer.BadParameter(f"--dump: {error}") from None


def _make_result(
    found: Inspection, problems: Sequence[Problem], failing: Sequence[Problem]
) -> dict[str, object]:
    return {
        "file": found.source.file,
        "ok": not failing,
        "servers": len(found.draft.servers) if found.draft else 0,
        "problems": [asdict(problem) for problem in problems],
    }


def _show(found: Inspection, shown: Sequence[Problem], failing: Sequence[Problem]) -> None:
    console = output.make_error_console()
    for problem in shown:
        output.show_problem(console, problem)
    output.show_summary(console, _summarize(found, shown, bool(failing)), bool(failing))


def _summarize(found: Inspection, problems: Sequence[Problem], failed: bool) -> str:
    counts = []
    if not failed and found.draft is not None:
        counts.append(pluralize(len(found.draft.servers), "server"))
    for severity in ("error", "warning"):
        number = sum(problem.severity == severity for problem in problems)
        if number:
            counts.append(pluralize(number, severity))
    return f"configuration {found.source.file} {'is not ok' if failed else 'is ok'} ({', '.join(counts)})"
