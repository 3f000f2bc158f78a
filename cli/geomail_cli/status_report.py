"""The state of a running server as ``geomail status`` prints it."""

from __future__ import annotations

import time
from typing import Any

import typer

from geomail.config.units import escape_unprintable
from geomail_cli import output, table, units
from geomail_cli.session_options import Format
from geomail_cli.table import Column

_COUNTS = (
    Column("sessions", "SESSIONS", right=True),
    Column("logins", "LOGINS", units.format_size, right=True),
    Column("refused", "REFUSED", units.format_size, right=True),
)
_BYTES = (
    Column("bytes_in", "IN", units.format_size, right=True),
    Column("bytes_out", "OUT", units.format_size, right=True),
)
_WORKERS = (
    Column("pid", "WORKER"),
    Column("generation", "GENERATION", right=True),
    Column("state", "STATE"),
    Column("age", "AGE", units.format_duration, right=True),
    *_COUNTS,
    *_BYTES,
)
_SERVERS = (Column("name", "SERVER", flexible=True), *_COUNTS, *_BYTES)
_FAILED = Column("failed", "FAILED", units.format_size, right=True)
_BACKENDS = (Column("name", "BACKEND", flexible=True), *_COUNTS, _FAILED, *_BYTES)


def show(state: dict[str, Any]) -> None:
    """Print the answer to ``status``; warnings go to standard error."""
    for fact, text in _list_facts(state):
        typer.echo(f"{fact:<15}{escape_unprintable(text)}")
    for columns, rows in (
        (_WORKERS, [_make_worker_row(one, state["now"]) for one in state["workers"]]),
        (_SERVERS, _make_named_rows(state["servers"])),
        (_BACKENDS, _make_named_rows(state["backends"])),
    ):
        if rows:
            typer.echo()
            table.print_list(Format.TABLE, columns, rows, ())
    for text in _list_warnings(state):
        output.show_note(output.make_error_console(), text, "warning")


def _list_facts(state: dict[str, Any]) -> list[tuple[str, str]]:
    now, configuration, totals, rates = (state[key] for key in ("now", "configuration", "totals", "rates"))
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state["started"]))
    age = units.format_duration(now - state["started"])
    ending = "ending, " * state["ending"]
    loaded = units.format_duration(now - configuration["loaded"])
    counts = [
        f"{units.format_size(totals[counter])} {word} ({units.format_rate(rates[counter])})"
        for counter, word in (("opened", "opened"), ("logins", "logins"), ("refused", "refused"))
    ]
    return [
        ("geomail", f"{state['version']}, {ending}process {state['pid']}, since {since} ({age})"),
        (
            "configuration",
            f"{configuration['file']}, generation {configuration['generation']}, loaded {loaded} ago",
        ),
        ("sessions", f"{state['sessions']} now; {', '.join(counts)}"),
    ]


def _list_warnings(state: dict[str, Any]) -> list[str]:
    configuration, warnings = state["configuration"], []
    if configuration["refused"] is not None:
        ago = units.format_duration(state["now"] - configuration["refused"]["time"])
        warnings.append(f"the last reload, {ago} ago, was refused: {configuration['refused']['error']}")
    if configuration["changed"]:
        warnings.append(
            "the configuration file has changed since then: run geomail reload to put it in force"
        )
    return warnings


def _make_worker_row(worker: dict[str, Any], now: float) -> dict[str, Any]:
    state = "draining" if worker["draining"] else "serving"
    return {
        **worker,
        "state": state if worker["answers"] else "does not answer",
        "age": max(0.0, now - worker["started"]),
    }


def _make_named_rows(rows: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    return [{"name": name, "sessions": row["active"], **row} for name, row in rows.items()]
