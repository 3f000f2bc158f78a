"""``geomail import-nginx``: make a geomail.toml from an nginx.conf."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geomail_cli import output
from geomail_cli.option_groups import spread_groups
from geomail_cli.output import pluralize

if TYPE_CHECKING:
    from geomail.config.nginx import Conversion


@dataclass(frozen=True)
class TargetOptions:
    """The options about files that the result names or goes to."""

    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT", help="File to write (default: standard output)."),
    ] = None
    prefix: Annotated[
        Path | None,
        typer.Option(
            "--prefix", metavar="DIR", help="Folder of relative log names (default: FILE's folder)."
        ),
    ] = None


@spread_groups
def import_nginx(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="nginx.conf; included files are read too.")],
    target: TargetOptions,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Leave out unknown directives of mail {}.")
    ] = False,
) -> None:
    """Convert an nginx.conf into a geomail.toml.

    The result does the same as the mail block, and names the source of each
    value. Notes on standard error name what cannot be converted. Run "geomail
    check-config" on the result: it checks certificates, keys and host names.

    Exit status: 0 the file was written, 1 an error, and nothing was written, 2
    wrong usage.
    """
    from geomail.config.nginx import convert

    result = convert(file, prefix=target.prefix, lenient=lenient)
    console = output.make_error_console()
    for note in result.notes:
        output.show_note(console, f"{note.file}:{note.line}: {note.key} {note.text}")
    for problem in result.problems:
        output.show_problem(console, problem)
    if result.toml is None:
        if result.has_unknown:
            output.show_note(console, "--lenient leaves out unknown directives", "hint")
        output.show_summary(console, f"{file} cannot be converted ({_summarize(result)})", failed=True)
        raise typer.Exit(1)
    if target.output is None:
        typer.echo(result.toml, nl=False)
    else:
        _save(target.output, result.toml, [file, *map(Path, result.files)], _summarize(result))


def _summarize(result: Conversion) -> str:
    counts = [
        pluralize(number, severity)
        for severity in ("error", "warning")
        if (number := sum(problem.severity == severity for problem in result.problems))
    ]
    return ", ".join([*counts, pluralize(len(result.notes), "note")])


def _save(target: Path, text: str, sources: Sequence[Path], summary: str) -> None:
    """Write the result and report it. Ends the command if that fails."""
    console = output.make_error_console()
    try:
        _write(target, text, _find_mode(sources))
    except OSError as error:
        output.show_summary(console, f"{target} cannot be written: {error.strerror}", failed=True)
        raise typer.Exit(1) from None
    output.show_summary(console, f"{target} is written ({summary})", failed=False)


def _find_mode(files: Iterable[Path]) -> int:
    """Return the mode for a file made of these files: the rights that all of them give, and its owner's.

    Each of them may contain a secret.
    """
    mode = 0o666
    for file in files:
        mode &= file.stat().st_mode
    return mode | 0o600


def _write(output: Path, text: str, mode: int) -> None:
    """Write the file as a whole; it has its mode before it has its name."""
    handle, name = tempfile.mkstemp(dir=output.absolute().parent, prefix=f".{output.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        Path(name).replace(output)
    except OSError:
        Path(name).unlink()
        raise
