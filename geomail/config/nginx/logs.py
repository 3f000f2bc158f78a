"""``error_log`` becomes the one ``[log]`` table."""

from __future__ import annotations

import re
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
#: What nginx can debug alone.
_DEBUGGED = frozenset(
    f"debug_{part}" for part in ("core", "alloc", "mutex", "event", "http", "mail", "stream")
)
_SYSLOG = "/dev/log"
_SYSLOG_NAMES = ("server", "facility", "severity", "tag", "nohostname")
_TAG = re.compile(r"\w{1,32}", re.ASCII)
Tell = Callable[[Statement, str], None]


def log_entries(statements: Sequence[Statement], prefix: Path, error: Tell, note: Tell) -> dict[str, Entry]:
    """The entries of ``[log]``: the first ``error_log`` that has a counterpart; the others are noted."""
    entries: dict[str, Entry] = {}
    for statement in statements:
        values = log_values(statement, prefix, error)
        if values is None:
            continue
        if entries:
            note(statement, "is left out: geomail has one log")
        elif not values["target"]:
            note(statement, f"is left out: geomail cannot log to {shown(statement.args[0])}")
        else:
            entries = {key: Entry([Item(value, statement)]) for key, value in values.items()}
            if "tag=" in statement.args[0]:
                note(statement, "loses its tag: geomail's is geomail")
    return entries


def log_values(statement: Statement, prefix: Path, error: Tell) -> dict[str, str] | None:
    """What an ``error_log`` says, its target empty if geomail cannot log there; None if it is wrong."""
    try:
        if not statement.args:
            raise ValueError('invalid number of arguments in "error_log" directive')
        word, *levels = statement.args
        level, target = _level(levels), _target(word, prefix)
        return {"target": target["target"], "level": level, **target}
    except ValueError as wrong:
        error(statement, str(wrong))
        return None


def _level(words: Sequence[str]) -> str:
    """The level, in geomail's words."""
    level = ""
    for position, word in enumerate(words):
        if word in _DEBUGGED and all(earlier in _DEBUGGED for earlier in words[:position]):
            level = "debug"
        elif word not in _LEVELS:
            raise ValueError(f"invalid log level {shown(word)}")
        elif level:
            raise ValueError(f"duplicate log level {shown(word)}")
        else:
            level = _LEVELS[word]
    return level or "error"


def _target(word: str, prefix: Path) -> dict[str, str]:
    """Where to log, and what else that says."""
    if word.startswith("memory:"):
        return {"target": ""}
    if word.startswith("syslog:"):
        return _syslog(word.removeprefix("syslog:"))
    return {"target": str(prefix / word) if word not in ("", "stderr") else "stderr"}


def _syslog(words: str) -> dict[str, str]:
    settings: dict[str, str] = {}
    for word in words.split(","):
        name, _, value = word.partition("=")
        if name not in _SYSLOG_NAMES or name in settings:
            known = "duplicate" if name in settings else "unknown"
            raise ValueError(f"{known} syslog parameter {shown(word)}; allowed: {', '.join(_SYSLOG_NAMES)}")
        settings[name] = value
    if not settings.get("server"):
        raise ValueError("no syslog server specified")
    if settings.get("severity", "info") not in _LEVELS:
        raise ValueError(f"unknown syslog severity {shown(settings['severity'])}")
    if not _TAG.fullmatch(settings.get("tag", "nginx")):
        raise ValueError(f"{shown(settings['tag'])}: a tag is up to 32 letters, digits and _")
    path = settings["server"].removeprefix("unix:")
    if path == settings["server"]:
        return {"target": ""}
    target = "syslog" if path == _SYSLOG else f"syslog:{path}"
    return {"target": target, "facility": settings.get("facility", "local7")}
