"""``error_log`` becomes the one ``[log]`` table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

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
#: What nginx can debug alone.
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
    """The entries of ``[log]``: the first ``error_log`` that has a counterpart; the others are noted."""
    entries: dict[str, Entry] = {}
    for statement in statements:
        values = read_log_values(statement, prefix, error)
        if values is None:
            continue
        if entries:
            note(statement, "is left out: geomail has one log")
        elif not values["target"]:
            note(statement, f"is left out: geomail cannot log to {show(statement.args[0])}")
        else:
            entries = {key: Entry([Item(value, statement)]) for key, value in values.items()}
            if "tag=" in statement.args[0]:
                note(statement, "loses its tag: geomail's is geomail")
    return entries


def read_log_values(statement: Statement, prefix: Path, error: Report) -> dict[str, str] | None:
    """What an ``error_log`` says, its target empty if geomail cannot log there; None if it is wrong."""
    try:
        if not statement.args:
            raise ValueError('invalid number of arguments in "error_log" directive')
        word, *levels = statement.args
        level, target = _read_level(levels), _read_target(word, prefix)
        return {"target": target["target"], "level": level, **target}
    except ValueError as wrong:
        error(statement, str(wrong))
        return None


def _read_level(words: Sequence[str]) -> str:
    """The level, in geomail's words."""
    level = ""
    for position, word in enumerate(words):
        if word in _DEBUGGED and all(earlier in _DEBUGGED for earlier in words[:position]):
            level = "debug"
        elif word not in _LEVELS:
            raise ValueError(f"invalid log level {show(word)}")
        elif level:
            raise ValueError(f"duplicate log level {show(word)}")
        else:
            level = _LEVELS[word]
    return level or "error"


def _read_target(word: str, prefix: Path) -> dict[str, str]:
    """Where to log, and what else that says."""
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
            known = "duplicate" if name in settings else "unknown"
            raise ValueError(f"{known} syslog parameter {show(word)}; allowed: {', '.join(_SYSLOG_NAMES)}")
        settings[name] = value
    if not settings.get("server"):
        raise ValueError("no syslog server specified")
    if settings.get("severity", "info") not in _LEVELS:
        raise ValueError(f"unknown syslog severity {show(settings['severity'])}")
    if not _TAG.fullmatch(settings.get("tag", "nginx")):
        raise ValueError(f"{show(settings['tag'])}: a tag is up to 32 letters, digits and _")
    path = settings["server"].removeprefix("unix:")
    if path == settings["server"]:
        return {"target": ""}
    target = "syslog" if path == _SYSLOG else f"syslog:{path}"
    return {"target": target, "facility": settings.get("facility", "local7")}
