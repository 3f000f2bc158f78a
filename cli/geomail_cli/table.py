"""Lists for operators and programs: aligned columns, JSON, or fields between tabs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from rich.cells import cell_len, set_cell_size

from geomail.config.units import escape_unprintable
from geomail_cli import units
from geomail_cli.session_options import Format

Row = dict[str, Any]

_GAP = "  "
#: Columns do not become narrower than this.
_NARROWEST = 8


@dataclass(frozen=True)
class Column:
    """A column: its name for programs, its head for operators, and the format of its values.

    ``flexible`` columns become narrower if the list is wider than the terminal.
    """

    name: str
    head: str
    format: Callable[[Any], str] = str
    right: bool = False
    flexible: bool = False

    def format_cell(self, row: Row) -> str:
        """Return the text of a row in this column."""
        value = row[self.name]
        return "-" if value is None or value == "" else escape_unprintable(self.format(value))


SESSION_COLUMNS = (
    Column("session", "ID"),
    Column("protocol", "PROTO"),
    Column("user", "USER", flexible=True),
    Column("client", "CLIENT", flexible=True),
    Column("backend", "BACKEND", flexible=True),
    Column("state", "STATE"),
    Column("age", "AGE", units.format_duration, right=True),
    Column("idle", "IDLE", units.format_duration, right=True),
    Column("bytes_in", "IN", units.format_size, right=True),
    Column("bytes_out", "OUT", units.format_size, right=True),
)


def format_lines(columns: Sequence[Column], rows: Sequence[Row], width: int | None) -> Iterator[str]:
    """Yield the head and the rows in aligned columns, cut to ``width`` cells if it is given."""
    cells = [[column.format_cell(row) for column in columns] for row in rows]
    heads = [column.head for column in columns]
    widths = [max(map(cell_len, column)) for column in zip(heads, *cells, strict=True)]
    if width is not None:
        _shrink(widths, columns, width)
    for row in (heads, *cells):
        line = _GAP.join(map(_fit, row, widths, columns)).rstrip()
        yield line if width is None or cell_len(line) <= width else set_cell_size(line, width)


def print_list(
    form: Format, columns: Sequence[Column], rows: Sequence[Row], names: Sequence[str], *, err: bool = False
) -> None:
    """Print rows to standard output or error; ``names`` are the fields for programs, in their order."""
    if form is Format.JSON:
        typer.echo(json.dumps([{name: row.get(name) for name in names} for row in rows], indent=2), err=err)
    elif form is Format.TAB:
        typer.echo("\t".join(names), err=err)
        for row in rows:
            typer.echo("\t".join(_format_field(row.get(name)) for name in names), err=err)
    elif rows:
        is_terminal = (sys.stderr if err else sys.stdout).isatty()
        width = shutil.get_terminal_size().columns if is_terminal else None
        typer.echo("\n".join(format_lines(columns, rows, width)), err=err)


def _format_field(value: object) -> str:
    return "" if value is None else escape_unprintable(str(value))


def _shrink(widths: list[int], columns: Sequence[Column], width: int) -> None:
    """Make the widest flexible column narrower until all fit, or none can become narrower."""
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    flexible = [index for index, column in enumerate(columns) if column.flexible]
    while excess > 0:
        widest = max(flexible, key=lambda index: widths[index])
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1
        excess -= 1


def _fit(text: str, width: int, column: Column) -> str:
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if column.right else text + " " * (width - length)
