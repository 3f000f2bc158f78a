"""Words, quotes, escapes and blocks of an nginx.conf and its includes, read as nginx reads them.

This module knows only the directive ``include``, and those whose block is Lua.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from geomail.config.units import show

#: Includes within includes: a file with more probably includes itself.
_DEEPEST = 16
_SPACE = frozenset(" \t\r\n")
_ENDS_WORD = _SPACE | frozenset(";{")
#: A closing parenthesis starts the next word: ``if ($a = "b")``.
_FOLLOWS_QUOTED = _ENDS_WORD | frozenset(")")
#: The end of the name of OpenResty's directives whose block is Lua.
_LUA_BLOCK = "_by_lua_block"
#: Comments and strings of Lua as a whole, so that braces in them do not count, and braces.
_LUA = re.compile(
    r"""--\[(?P<comment>=*)\[.*?\](?P=comment)\] | --[^\n]*
    | \[(?P<string>=*)\[.*?\](?P=string)\] | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | [{}]""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}


class NginxError(Exception):
    """An nginx.conf cannot be read; ``line`` is 0 if this is about the whole file."""

    def __init__(self, file: str, line: int, text: str) -> None:
        super().__init__(text)
        self.file = file
        self.line = line


@dataclass(frozen=True)
class Statement:
    """A directive with its arguments; ``block`` is None if it ends with a semicolon."""

    name: str
    args: tuple[str, ...]
    file: str
    line: int
    block: tuple[Statement, ...] | None = None


@dataclass(frozen=True)
class _Token:
    """A word, or one of ``{``, ``}``, ``;`` (then ``word`` is false)."""

    text: str
    line: int
    word: bool


def read(path: Path, unread: Container[str] = ()) -> tuple[Statement, ...]:
    """Return the statements of a file, each include replaced by its file's. Raises NginxError.

    A block whose name is in ``unread`` is empty, and its includes are not read.
    """
    return _Reader(path.parent, unread).read_file(path, str(path), 0)


@dataclass
class _Reader:
    """A reader of files; relative names of includes start in ``folder``, that of the first file."""

    folder: Path
    unread: Container[str]
    depth: int = field(default=0)
    passing: bool = field(default=False)

    def read_file(self, path: Path, asked_by: str, line: int) -> tuple[Statement, ...]:
        """Return all statements of a file, which ``asked_by`` includes in ``line``."""
        if self.depth == _DEEPEST:
            raise NginxError(
                asked_by,
                line,
                f"more than {_DEEPEST} includes within each other; does a file include itself?",
            )
        try:
            text = path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise NginxError(asked_by, line, f"{show(str(path))} cannot be read: {error.strerror}") from None
        self.depth += 1
        tokens = _tokenize(text, str(path))
        statements = tuple(self._read_block(tokens, str(path), None))
        self.depth -= 1
        return statements

    def _read_block(self, tokens: Iterator[_Token], file: str, opened: _Token | None) -> Iterator[Statement]:
        """Return the statements up to the end of a block, or of the file if no block is open."""
        for token in tokens:
            if token.text == "}" and not token.word:
                if opened is None:
                    raise NginxError(file, token.line, 'unexpected "}"; remove it')
                return
            statement = self._read_statement(token, tokens, file)
            if statement.name == "include":
                yield from self._read_include(statement)
            else:
                yield statement
        if opened is not None:
            text = f'the file ends within the block that starts in line {opened.line}; add "}}"'
            raise NginxError(file, opened.line, text)

    def _read_statement(self, first: _Token, tokens: Iterator[_Token], file: str) -> Statement:
        if not first.word:
            raise NginxError(file, first.line, f'unexpected "{first.text}"; remove it')
        args: list[str] = []
        for token in tokens:
            if token.word:
                args.append(token.text)
            elif token.text == ";":
                return Statement(first.text, tuple(args), file, first.line)
            elif token.text == "{":
                outer = self.passing
                self.passing = outer or first.text in self.unread
                block = tuple(self._read_block(tokens, file, token))
                passed, self.passing = self.passing, outer
                return Statement(first.text, tuple(args), file, first.line, () if passed else block)
            else:
                break
        raise NginxError(file, first.line, f'the directive {show(first.text)} must end with ";"; add it')

    def _read_include(self, statement: Statement) -> Iterator[Statement]:
        if len(statement.args) != 1 or statement.block is not None:
            text = "include must have 1 argument and no block"
            raise NginxError(statement.file, statement.line, text)
        if self.passing:
            return
        pattern = str(self.folder / statement.args[0])
        # Path.glob refuses an absolute pattern
        names = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
        for name in names:
            yield from self.read_file(Path(name), statement.file, statement.line)


def _tokenize(text: str, file: str) -> Iterator[_Token]:
    position, line, name = 0, 1, ""
    while position < len(text):
        start, end = text[position], position + 1
        if start == "#":
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
        elif start in "{};":
            yield _Token(start, line, word=False)
            if start == "{" and name.endswith(_LUA_BLOCK):
                end = _find_end_of_lua(text, end)
            name = ""
        elif start not in _SPACE:
            try:
                word, end = _read_word(text, position)
            except ValueError as error:
                raise NginxError(file, line, str(error)) from None
            name = name or word
            yield _Token(word, line, word=True)
        line += text.count("\n", position, end)
        position = end


def _read_word(text: str, start: int) -> tuple[str, int]:
    """Return the word that starts here, and the position after it."""
    if text[start] not in "\"'":
        end = _find_end_of_word(text, start)
        return _unescape(text[start:end]), end
    end = _find_end_of_quoted(text, start)
    if end < 0:
        raise ValueError("the file ends within quotes; add the missing quote")
    if end < len(text) and text[end] not in _FOLLOWS_QUOTED:
        raise ValueError(f"unexpected {show(text[end])} after a quote; put a space between them")
    return _unescape(text[start + 1 : end - 1]), end


def _find_end_of_word(text: str, start: int) -> int:
    """Find the end of a word without quotes: ``${``, ``}``, ``#`` and quotes inside are part of it."""
    position, variable = start, False
    while position < len(text) and (text[position] not in _ENDS_WORD or (text[position] == "{" and variable)):
        variable = text[position] in "${"
        position += 2 if text[position] == "\\" else 1
    return min(position, len(text))


def _find_end_of_lua(text: str, start: int) -> int:
    """Find the ``}`` that ends a block of Lua; the end of the text if there is none."""
    depth = 1
    for found in _LUA.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.start()
    return len(text)


def _find_end_of_quoted(text: str, start: int) -> int:
    """Find the position after the last quote of a word; -1 if there is none."""
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        position += 2 if text[position] == "\\" else 1
    return position + 1 if position < len(text) else -1


def _unescape(raw: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[0]), raw)
