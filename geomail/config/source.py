"""What the file said and where, for those who find something in it."""

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

    ``broken`` holds the paths whose value is known to be wrong: a check that
    needs one of them has nothing to say.
    """

    file: str
    content: Mapping[str, Any]
    lines: dict[KeyPath, int]
    broken: set[KeyPath] = field(default_factory=set)

    def make_problem(
        self, path: KeyPath, text: str, severity: Literal["error", "warning"] = "error"
    ) -> Problem:
        """A problem with what stands at ``path``."""
        return Problem(self.file, self.find_line(path), format_path(path), escape_unprintable(text), severity)

    def find_line(self, path: KeyPath) -> int:
        """The line of the path, or of what is nearest around it; 0 if nothing is."""
        return find_line(self.lines, path)

    def get_value(self, path: KeyPath) -> Any:
        """What the file holds at this path; None if it does not."""
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
        """Whether the file holds this path (TOML has no value that is None)."""
        return self.get_value(path) is not None

    def find_origin(self, server: int, key: str) -> KeyPath | None:
        """Where the value of a server's option was given; None: nowhere, it is the default."""
        for path in (("mail", "server", server, key), ("mail", key)):
            if self.has(path):
                return path
        return None

    def is_sound(self, path: KeyPath) -> bool:
        """Whether nothing is known to be wrong with the path, or with what it stands in."""
        return not any(path[:length] in self.broken for length in range(1, len(path) + 1))


def format_path(path: KeyPath) -> str:
    """The path as a message names it: ``mail.server[0].listen``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _BARE_KEY.fullmatch(step) else show(step))
    return text


def format_header(path: KeyPath) -> str:
    """The header of the table at this path, as the keys of :data:`schema.TABLES` write it."""
    match path:
        case ():
            return ""
        case ("mail", "server", int()):
            return "[[mail.server]]"
        case ("backends", str()):
            return "[backends.NAME]"
    return f"[{'.'.join(str(step) for step in path)}]"
