"""A configuration file as it was written, with the line of each key, for reports of problems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from geomail.config.lines import KeyPath, find_line
from geomail.config.units import escape_unprintable, show
from geomail.errors import Problem

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True)
class Source:
    """A configuration file as it was written.

    ``broken`` holds the paths whose value is known to be wrong. A check that
    needs one of these values reports nothing.
    """

    file: str
    content: Mapping[str, Any]
    lines: dict[KeyPath, int]
    broken: set[KeyPath] = field(default_factory=set)

    def make_problem(
        self, path: KeyPath, text: str, severity: Literal["error", "warning"] = "error"
    ) -> Problem:
        """Return a problem with the value at ``path``."""
        return Problem(self.file, self.find_line(path), format_path(path), escape_unprintable(text), severity)

    def find_line(self, path: KeyPath) -> int:
        """Return the line of the path, else that of the nearest table around it, else 0."""
        return find_line(self.lines, path)

    def get_value(self, path: KeyPath) -> Any:
        """Return the value that the file holds at this path, None if it holds none."""
        value: Any = self.content
        for step in path:
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    def has(self, path: KeyPath) -> bool:
        """Tell whether the file holds this path (TOML has no value that is None)."""
        return self.get_value(path) is not None

    def find_origin(self, server: int, key: str) -> KeyPath | None:
        """Return the path that gives a server's option its value; None means the default."""
        for path in (("mail", "server", server, key), ("mail", key)):
            if self.has(path):
                return path
        return None

    def is_sound(self, path: KeyPath) -> bool:
        """Tell whether no error is known in the path or in a table around it."""
        return not any(path[:length] in self.broken for length in range(1, len(path) + 1))


def format_path(path: KeyPath) -> str:
    """Write a path as messages do: ``mail.server[0].listen``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE_KEY.fullmatch(step) else show(step))
    return text


def format_header(path: KeyPath) -> str:
    """Write the header of the table at this path, as in the keys of :data:`schema.TABLES`."""
    match path:
        case ():
            return ""
        case ("mail", "server", int()):
            return "[[mail.server]]"
        case ("backends", str()):
            return "[backends.NAME]"
    return f"[{'.'.join(str(step) for step in path)}]"
