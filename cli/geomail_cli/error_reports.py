"""Errors of a command: printed for the operator, with the exit status that fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from geomail_cli import output

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.errors import ConfigError


def load_configuration(file: Path | None) -> Config:
    """Return the configuration. Print its problems and end the command if it has an error."""
    from geomail.config.load import find_config, load
    from geomail.errors import ConfigError

    try:
        return load(find_config(file))
    except ConfigError as error:
        raise report_problems(error) from None


def report_problems(error: ConfigError) -> typer.Exit:
    """Print the problems of a configuration; return the exit to raise."""
    for problem in error.problems:
        output.show_problem(output.make_error_console(), problem)
    return typer.Exit(1)


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn errors of a preview into the end of the command.

    A question that cannot be answered as it was asked is wrong usage (status 2);
    a file or service that cannot be used is an error (status 1).
    """
    from geomail.errors import GeomailError
    from geomail.preview.client import Unusable

    try:
        yield
    except Unusable as error:
        raise typer.BadParameter(str(error)) from None
    except GeomailError as error:
        raise _report(str(error)) from None
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        raise _report(f"{name}{error.strerror or error}") from None


def _report(text: str) -> typer.Exit:
    output.show_summary(output.make_error_console(), text, failed=True)
    return typer.Exit(1)
