"""The text of a geomail.toml in which each line names its origin."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os.path import relpath
from pathlib import Path
from typing import Any

from geomail.config.nginx.statements import Statement
from geomail.config.toml_text import write_toml_value

_COLUMN = 48


@dataclass(frozen=True)
class Item:
    """A value, and the statement that gave it, or the reason for it."""

    value: Any
    origin: Statement | str


@dataclass(frozen=True)
class Entry:
    """The values of one key; with ``listed``, a single value is an array too."""

    items: Sequence[Item]
    listed: bool = False


@dataclass
class Table:
    """A table of the file: entries by key, statements left out, and flags for each ``listen``."""

    header: str
    origin: Statement | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    left_out: list[Statement] = field(default_factory=list)
    switches: dict[str, Item] = field(default_factory=dict)


def write(source: Path, tables: Sequence[Table]) -> tuple[str, dict[int, Statement]]:
    """Return the text, and for each of its lines the statement that gave it."""
    lines: list[str] = []
    origins: dict[int, Statement] = {}
    for text, origin in _write_lines(source, tables):
        comment = origin if isinstance(origin, str) else _format_place(source, origin) if origin else ""
        lines.append(f"{text:<{_COLUMN}}  # {comment}" if comment else text)
        if isinstance(origin, Statement):
            origins[len(lines)] = origin
    return "\n".join(lines) + "\n", origins


def _write_lines(source: Path, tables: Sequence[Table]) -> Iterator[tuple[str, Statement | str | None]]:
    yield f"# Made by geomail import-nginx from {json.dumps(str(source))[1:-1]}", None
    yield "# The comment after a value tells where it comes from.", None
    for table in tables:
        if not (table.entries or table.origin or table.left_out):
            continue
        yield "", None
        if table.header:
            yield table.header, table.origin
        for key, entry in table.entries.items():
            yield from _write_entry(key, entry)
        for statement in table.left_out:
            yield f"# {_format_statement(statement)}", statement


def _write_entry(key: str, entry: Entry) -> Iterator[tuple[str, Statement | str | None]]:
    items = entry.items
    if all(item.origin is items[0].origin for item in items):
        values = [item.value for item in items]
        whole = values if entry.listed or len(values) > 1 else values[0]
        yield f"{key} = {write_toml_value(whole)}", items[0].origin
        return
    yield f"{key} = [", items[0].origin
    for item in items:
        yield f"  {write_toml_value(item.value)},", item.origin
    yield "]", None


def _format_place(source: Path, origin: Statement) -> str:
    return f"{json.dumps(relpath(origin.file, source.parent))[1:-1]}:{origin.line}"


def _format_statement(statement: Statement) -> str:
    words = " ".join([statement.name, *map(_quote_argument, statement.args)])
    return f"{words} {'{ … }' if statement.block is not None else ''}".rstrip() + ";" * (
        statement.block is None
    )


def _quote_argument(arg: str) -> str:
    return arg if arg.isprintable() and arg.split() == [arg] else json.dumps(arg)
