"""``geomail import-nginx``: an nginx.conf becomes a geomail.toml."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geomail_cli import render
from geomail_cli.render import counted

if TYPE_CHECKING:
    from geomail.config.nginx import Conversion


def import_nginx(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The nginx.conf; what it includes is read too.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT", help="Where to write; default: standard output."),
    ] = None,
    prefix: Annotated[
        Path | None,
        typer.Option(
            "--prefix", metavar="DIR", help="Where relative names of logs start; default: FILE's folder."
        ),
    ] = None,
    lenient: Annotated[
        bool,
        typer.Option("--lenient", help="Leave out what is unknown in mail {}, instead of giving up."),
    ] = False,
) -> None:
    """Convert an nginx.conf with a mail block into a geomail.toml that does the same.

    The result says behind each value where it comes from. What cannot be taken
    over is told on standard error. See check-config for what only this machine
    can tell of the result: certificates, keys, host names.

    Exit status: 0 written, 1 something is wrong, and nothing is written, 2 wrong usage.
    """
    from geomail.config.nginx import convert

    result = convert(file, prefix=prefix, lenient=lenient)
    console = render.stderr()
    for note in result.notes:
        render.show_note(console, f"{note.file}:{note.line}: {note.key} {note.text}")
    for problem in result.problems:
        render.show_problem(console, problem)
    verdict = _verdict(result)
    if result.toml is None:
        if result.has_unknown:
            render.show_note(console, "--lenient leaves out what is unknown", "hint")
        render.show_verdict(console, f"{file} cannot be converted ({verdict})", failed=True)
        raise typer.Exit(1)
    if output is None:
        typer.echo(result.toml, nl=False)
        return
    try:
        _write(output, result.toml, _mode_for([file, *map(Path, result.files)]))
    except OSError as error:
        render.show_verdict(console, f"{output} cannot be written: {error.strerror}", failed=True)
        raise typer.Exit(1) from None
    render.show_verdict(console, f"{output} is written ({verdict})", failed=False)


def _verdict(result: Conversion) -> str:
    counts = [
        counted(number, severity)
        for severity in ("error", "warning")
        if (number := sum(problem.severity == severity for problem in result.problems))
    ]
    return ", ".join([*counts, counted(len(result.notes), "note")])


def _mode_for(files: Iterable[Path]) -> int:
    """Who may read and write what comes of all of these, of which each may hold a secret."""
    mode = 0o666
    for file in files:
        mode &= file.stat().st_mode
    return mode | 0o600


def _write(output: Path, text: str, mode: int) -> None:
    """Write the file as a whole, readable to whom the mode says from the start."""
    handle, name = tempfile.mkstemp(dir=output.absolute().parent, prefix=f".{output.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        Path(name).replace(output)
    except OSError:
        Path(name).unlink()
        raise
