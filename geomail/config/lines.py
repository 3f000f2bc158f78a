"""The line of each key in a TOML file, which the standard library's reader does not tell."""

from __future__ import annotations

import re
import tomllib

#: The path to a value: ``("mail", "server", 0, "listen", 1)``.
KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SCALAR = re.compile(r"[^,\]}#\r\n]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


def scan(text: str) -> dict[KeyPath, int]:
    """Find the line, from 1, of every table, key and array element of a valid TOML document."""
    return _Scanner(text).scan()


def find_line(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """Return the line of the path, else that of the nearest table around it, else 0."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 0


class _Scanner:
    """A single pass over a document. It trusts the syntax, as tomllib has read the text before."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[KeyPath, int] = {}
        self._line = 1
        self._counted = 0
        self._array_lengths: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self.position < len(self.text):
            if self._skip_character("["):
                table = self._scan_header()
            else:
                self._scan_pair(table)
            self._skip(_BLANK)
        return self.lines

    def _scan_header(self) -> KeyPath:
        line, array = self._count_lines(), self._skip_character("[")
        keys = self._scan_key()
        self.position += 2 if array else 1
        path = self._resolve_header(keys[:-1])
        path = (*path, keys[-1])
        if array:
            index = self._array_lengths.get(path, 0)
            self._array_lengths[path] = index + 1
            self.lines.setdefault(path, line)
            path = (*path, index)
        self._note(path, line)
        return path

    def _resolve_header(self, keys: list[str]) -> KeyPath:
        """Return the path that the keys of a header name; an array of tables means its last element."""
        path: KeyPath = ()
        for key in keys:
            path = (*path, key)
            if path in self._array_lengths:
                path = (*path, self._array_lengths[path] - 1)
        return path

    def _scan_pair(self, table: KeyPath) -> None:
        line = self._count_lines()
        path = (*table, *self._scan_key())
        self.position += 1
        self._note(path, line)
        self._scan_value(path)

    def _scan_value(self, path: KeyPath) -> None:
        self._skip(_SPACE)
        if self._skip_character("["):
            self._scan_array(path)
        elif self._skip_character("{"):
            self._scan_inline_table(path)
        elif not self._skip(_STRING):
            self._skip(_SCALAR)

    def _scan_array(self, path: KeyPath) -> None:
        index = 0
        self._skip(_BLANK)
        while not self._skip_character("]"):
            self._note((*path, index), self._count_lines())
            self._scan_value((*path, index))
            self._skip(_BLANK)
            self._skip_character(",")
            self._skip(_BLANK)
            index += 1

    def _scan_inline_table(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        while not self._skip_character("}"):
            self._scan_pair(path)
            self._skip(_BLANK)
            self._skip_character(",")
            self._skip(_BLANK)

    def _scan_key(self) -> list[str]:
        """Read a dotted key, up to the character after it."""
        keys: list[str] = []
        while not keys or self._skip_character("."):
            self._skip(_SPACE)
            bare = self._skip(_BARE_KEY)
            keys.append(bare or _unquote(self._skip(_STRING)))
            self._skip(_SPACE)
        return keys

    def _skip_character(self, character: str) -> bool:
        if self.text.startswith(character, self.position):
            self.position += 1
            return True
        return False

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match[0]

    def _note(self, path: KeyPath, line: int) -> None:
        """Remember the line of a path, and of each table around it that has no header of its own."""
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], line)
        self.lines[path] = line

    def _count_lines(self) -> int:
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line


def _unquote(key: str) -> str:
    """Return a quoted key without its quotes and escapes."""
    return next(iter(tomllib.loads(f"{key} = 0"))) if key.startswith('"') else key[1:-1]
