"""Conversion of ``error_log`` into the table ``[log]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from geomail.config.nginx.directives import ONE_OR_MORE, explain_count
from geomail.config.nginx.statements import Statement
from geomail.config.nginx.write import Entry, Item
from geomail.config.units import show

_LEVELS = {
    "debug": "debug",
    "info": "info",
    "notice": "notice",
    "warn": "warning",
    **dict.fromkeys(("error", "crit", "alert", "emerg"), "error"),
}
#: Parts of nginx that have a debug level of their own.
_DEBUGGED = frozenset(
    f"debug_{part}" for part in ("core", "alloc", "mutex", "event", "http", "mail", "stream")
)
_SYSLOG = "/dev/log"
_SYSLOG_NAMES = ("server", "facility", "severity", "tag", "nohostname")
_TAG = re.compile(r"\w{1,32}", re.ASCII)
Report = Callable[[Statement, str], None]


def read_log_entries(
    statements: Sequence[Statement], prefix: Path, error: Report, note: Report
) -> dict[str, Entry]:
    """Return the entries of ``[log]`` from the first usable ``error_log``, and note the others."""
    entries: dict[str, Entry] = {}
    for statement in statements:
        values = read_log_values(statement, prefix, error)
        if values is None:
            continue
        if entries:
            note(statement, "is left out: geomail has only one log")
        elif not values["target"]:
            note(statement, f"is left out: geomail cannot log to {show(statement.args[0])}")
        else:
            entries = {key: Entry([Item(value, statement)]) for key, value in values.items()}
            if "tag=" in statement.args[0]:
                note(statement, "loses its tag: geomail always uses the tag geomail")
    return entries


def read_log_values(statement: Statement, prefix: Path, error: Report) -> dict[str, str] | None:
    """Return the values of an ``error_log``, None if it is wrong.

    The target is empty if geomail cannot log there.
    """
    try:
        if not statement.args:
            raise ValueError(explain_count(0, ONE_OR_MORE))
        word, *levels = statement.args
        level, target = _read_level(levels), _read_target(word, prefix)
        return {"target": target["target"], "level": level, **target}
    except ValueError as wrong:
        error(statement, str(wrong))
        return None


def _read_level(words: Sequence[str]) -> str:
    """Return geomail's name of the level."""
    level = ""
    for position, word in enumerate(words):
        if word in _DEBUGGED and all(earlier in _DEBUGGED for earlier in words[:position]):
            level = "debug"
        elif word not in _LEVELS:
            raise ValueError(f"{show(word)} is not a log level; allowed: {', '.join(_LEVELS)}")
        elif level:
            raise ValueError(f"{show(word)} is a second log level; remove one")
        else:
            level = _LEVELS[word]
    return level or "error"


def _read_target(word: str, prefix: Path) -> dict[str, str]:
    """Return the target, and the other settings that it holds."""
    if word.startswith("memory:"):
        return {"target": ""}
    if word.startswith("syslog:"):
        return _read_syslog(word.removeprefix("syslog:"))
    return {"target": str(prefix / word) if word not in ("", "stderr") else "stderr"}


def _read_syslog(words: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for word in words.split(","):
        name, _, value = word.partition("=")
        if name not in _SYSLOG_NAMES or name in settings:
            wrong = "is given twice" if name in settings else "is not a parameter of syslog"
            raise ValueError(f"{show(word)} {wrong}; allowed once each: {', '.join(_SYSLOG_NAMES)}")
        settings[name] = value
    if not settings.get("server"):
        raise ValueError("syslog has no server; add server=unix:/dev/log")
    if settings.get("severity", "info") not in _LEVELS:
        raise ValueError(
            f"{show(settings['severity'])} is not a syslog severity; allowed: {', '.join(_LEVELS)}"
        )
    if not _TAG.fullmatch(settings.get("tag", "nginx")):
        raise ValueError(f"a tag must be 1 to 32 letters, digits and _, not {show(settings['tag'])}")
    path = settings["server"].removeprefix("unix:")
    if path == settings["server"]:
        return {"target": ""}
    target = "syslog" if path == _SYSLOG else f"syslog:{path}"
    return {"target": target, "facility": settings.get("facility", "local7")}
