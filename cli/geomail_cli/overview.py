"""How a running server is, for people: what ``geomail status`` prints."""

from __future__ import annotations

import time
from typing import Any

import typer

from geomail.config.units import escape_unprintable
from geomail_cli import render, table, units
from geomail_cli.chosen import Format
from geomail_cli.table import Column

_COUNTS = (
    Column("sessions", "SESSIONS", right=True),
    Column("logins", "LOGINS", units.size, right=True),
    Column("refused", "REFUSED", units.size, right=True),
)
_BYTES = (
    Column("bytes_in", "IN", units.size, right=True),
    Column("bytes_out", "OUT", units.size, right=True),
)
_WORKERS = (
    Column("pid", "WORKER"),
    Column("generation", "GENERATION", right=True),
    Column("state", "STATE"),
    Column("age", "AGE", units.duration, right=True),
    *_COUNTS,
    *_BYTES,
)
_SERVERS = (Column("name", "SERVER", flexible=True), *_COUNTS, *_BYTES)
_FAILED = Column("failed", "FAILED", units.size, right=True)
_BACKENDS = (Column("name", "BACKEND", flexible=True), *_COUNTS, _FAILED, *_BYTES)


def show(known: dict[str, Any]) -> None:
    """Print the answer to ``status``; what asks for attention goes to standard error."""
    for fact, text in _facts(known):
        typer.echo(f"{fact:<15}{escape_unprintable(text)}")
    for columns, rows in (
        (_WORKERS, [_worker(one, known["now"]) for one in known["workers"]]),
        (_SERVERS, _named(known["servers"])),
        (_BACKENDS, _named(known["backends"])),
    ):
        if rows:
            typer.echo()
            table.print_list(Format.TABLE, columns, rows, ())
    for text in _warnings(known):
        render.show_note(render.stderr(), text, "warning")


def _facts(known: dict[str, Any]) -> list[tuple[str, str]]:
    now, configuration, totals, rates = (known[key] for key in ("now", "configuration", "totals", "rates"))
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(known["started"]))
    age = units.duration(now - known["started"])
    state = "ending, " * known["ending"]
    loaded = units.duration(now - configuration["loaded"])
    counts = [
        f"{units.size(totals[counter])} {word} ({units.rate(rates[counter])})"
        for counter, word in (("opened", "opened"), ("logins", "logins"), ("refused", "refused"))
    ]
    return [
        ("geomail", f"{known['version']}, {state}process {known['pid']}, since {since} ({age})"),
        (
            "configuration",
            f"{configuration['file']}, generation {configuration['generation']}, loaded {loaded} ago",
        ),
        ("sessions", f"{known['sessions']} now; {', '.join(counts)}"),
    ]


def _warnings(known: dict[str, Any]) -> list[str]:
    configuration, warnings = known["configuration"], []
    if configuration["refused"] is not None:
        ago = units.duration(known["now"] - configuration["refused"]["time"])
        warnings.append(f"the last reload, {ago} ago, was refused: {configuration['refused']['error']}")
    if configuration["changed"]:
        warnings.append("the configuration file has changed since; geomail reload puts it in force")
    return warnings


def _worker(worker: dict[str, Any], now: float) -> dict[str, Any]:
    state = "draining" if worker["draining"] else "serving"
    return {
        **worker,
        "state": state if worker["answers"] else "does not answer",
        "age": max(0.0, now - worker["started"]),
    }


def _named(rows: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    return [{"name": name, "sessions": row["active"], **row} for name, row in rows.items()]
