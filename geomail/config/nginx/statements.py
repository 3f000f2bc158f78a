"""An nginx.conf with its includes, read as nginx reads it: words, quotes, escapes, blocks.

No directive is known here but ``include``.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from geomail.config.units import shown

#: Includes within includes: more is a file that includes itself.
_DEEPEST = 16
_SPACE = frozenset(" \t\r\n")
_ENDS_WORD = _SPACE | frozenset(";{")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}


class NginxError(Exception):
    """An nginx.conf cannot be read; ``line`` is 0 where the file as a whole is meant."""

    def __init__(self, file: str, line: int, text: str) -> None:
        super().__init__(text)
        self.file = file
        self.line = line


@dataclass(frozen=True)
class Statement:
    """A directive with its arguments; ``block`` is None where it ends in a semicolon."""

    name: str
    args: tuple[str, ...]
    file: str
    line: int
    block: tuple[Statement, ...] | None = None


@dataclass(frozen=True)
class _Token:
    """A word, or one of ``{``, ``}``, ``;`` (then it is no ``word``)."""

    text: str
    line: int
    word: bool


def read(path: Path) -> tuple[Statement, ...]:
    """The statements of a file, with those of its includes in their place. Raises NginxError."""
    return _Reader(path.parent).file(path, str(path), 0)


@dataclass
class _Reader:
    """Reads files; relative names of includes start in ``folder``, that of the first file."""

    folder: Path
    depth: int = field(default=0)

    def file(self, path: Path, asked_by: str, line: int) -> tuple[Statement, ...]:
        """All statements of a file, which another one may have asked for."""
        if self.depth == _DEEPEST:
            raise NginxError(asked_by, line, f"more than {_DEEPEST} includes within each other")
        try:
            text = path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise NginxError(asked_by, line, f"{shown(str(path))} cannot be read: {error.strerror}") from None
        self.depth += 1
        tokens = _tokens(text, str(path))
        statements = tuple(self._block(tokens, str(path), None))
        self.depth -= 1
        return statements

    def _block(self, tokens: Iterator[_Token], file: str, opened: _Token | None) -> Iterator[Statement]:
        """The statements up to the end of a block, or of the file where none is open."""
        for token in tokens:
            if token.text == "}" and not token.word:
                if opened is None:
                    raise NginxError(file, token.line, 'unexpected "}"')
                return
            statement = self._statement(token, tokens, file)
            if statement.name == "include":
                yield from self._included(statement)
            else:
                yield statement
        if opened is not None:
            text = f'unexpected end of file, expecting "}}" to the "{{" in line {opened.line}'
            raise NginxError(file, opened.line, text)

    def _statement(self, first: _Token, tokens: Iterator[_Token], file: str) -> Statement:
        if not first.word:
            raise NginxError(file, first.line, f'unexpected "{first.text}"')
        args: list[str] = []
        for token in tokens:
            if token.word:
                args.append(token.text)
            elif token.text == ";":
                return Statement(first.text, tuple(args), file, first.line)
            elif token.text == "{":
                block = tuple(self._block(tokens, file, token))
                return Statement(first.text, tuple(args), file, first.line, block)
            else:
                break
        raise NginxError(file, first.line, f'directive {shown(first.text)} is not terminated by ";"')

    def _included(self, statement: Statement) -> Iterator[Statement]:
        if len(statement.args) != 1 or statement.block is not None:
            raise NginxError(
                statement.file, statement.line, 'invalid number of arguments in "include" directive'
            )
        pattern = str(self.folder / statement.args[0])
        # Path.glob takes no absolute pattern
        names = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
        for name in names:
            yield from self.file(Path(name), statement.file, statement.line)


def _tokens(text: str, file: str) -> Iterator[_Token]:
    position, line = 0, 1
    while position < len(text):
        start = text[position]
        if start == "\n":
            line += 1
        if start in _SPACE:
            position += 1
        elif start == "#":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif start in "{};":
            yield _Token(start, line, word=False)
            position += 1
        else:
            end = _end_of_quoted(text, position) if start in "\"'" else _end_of_word(text, position)
            if end < 0:
                raise NginxError(file, line, "unexpected end of file: a quote is missing")
            if start in "\"'" and end < len(text) and text[end] not in _ENDS_WORD:
                raise NginxError(file, line, f"unexpected {shown(text[end])}")
            raw = text[position:end]
            yield _Token(_unescaped(raw[1:-1] if start in "\"'" else raw), line, word=True)
            line += raw.count("\n")
            position = end


def _end_of_word(text: str, start: int) -> int:
    """Where a word without quotes ends: ``}``, ``#`` and quotes inside it are part of it."""
    position = start
    while position < len(text) and (
        text[position] not in _ENDS_WORD or (text[position] == "{" and text[position - 1] == "$")
    ):
        position += 2 if text[position] == "\\" else 1
    return min(position, len(text))


def _end_of_quoted(text: str, start: int) -> int:
    """Where a word in quotes ends, behind its last quote; -1 if it does not."""
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        position += 2 if text[position] == "\\" else 1
    return position + 1 if position < len(text) else -1


def _unescaped(raw: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[0]), raw)
