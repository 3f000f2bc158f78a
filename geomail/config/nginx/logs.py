"""``error_log`` becomes the one ``[log]`` table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from geomail.config.nginx.statements import Statement
from geomail.config.nginx.write import Entry, Item
from geomail.config.units import shown

_LEVELS = {
    "debug": "debug",
    "info": "info",
    "notice": "notice",
    "warn": "warning",
    **dict.fromkeys(("error", "crit", "alert", "emerg"), "error"),
}
_SYSLOG = "/dev/log"
Tell = Callable[[Statement, str], None]


def log_entries(statements: Sequence[Statement], prefix: Path, error: Tell, note: Tell) -> dict[str, Entry]:
    """The entries of ``[log]``: the first ``error_log`` that has a counterpart; the others are noted."""
    entries: dict[str, Entry] = {}
    for statement in statements:
        level = level_of(statement, error)
        if not level:
            continue
        target, settings = _target(statement.args[0], prefix)
        if entries:
            note(statement, "is left out: geomail has one log")
        elif not target:
            note(statement, f"is left out: geomail cannot log to {shown(statement.args[0])}")
        else:
            values = {"target": target, "level": level, **settings}
            entries = {key: Entry([Item(value, statement)]) for key, value in values.items()}
    return entries


def level_of(statement: Statement, error: Tell) -> str:
    """The level of an ``error_log``, in geomail's words; empty if it could not be read."""
    if not statement.args:
        error(statement, 'invalid number of arguments in "error_log" directive')
        return ""
    words = [word for word in statement.args[1:] if not word.startswith("debug_")]
    for word in words:
        if word not in _LEVELS:
            error(statement, f"invalid log level {shown(word)}")
            return ""
    if len(words) > 1:
        error(statement, f"duplicate log level {shown(words[1])}")
    return _LEVELS[words[0]] if words else "error"


def _target(word: str, prefix: Path) -> tuple[str, dict[str, str]]:
    """Where to log, empty if geomail cannot; and what else that says."""
    if word.startswith("memory:"):
        return "", {}
    if word == "stderr":
        return word, {}
    if not word.startswith("syslog:"):
        return str(prefix / word), {}
    settings = dict(part.partition("=")[::2] for part in word.removeprefix("syslog:").split(","))
    server, facility = settings.get("server", ""), settings.get("facility", "local7")
    if not server.startswith("unix:"):
        return "", {}
    path = server.removeprefix("unix:")
    return "syslog" if path == _SYSLOG else f"syslog:{path}", {"facility": facility}
