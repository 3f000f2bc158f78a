"""An IMAP client's description of itself (the ID command, RFC 2971)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from geomail.protocols.imap.arguments import Literal, ParseError, read_announcement, read_quoted

#: Bytes of the description that the session's record keeps.
LONGEST: Final = 512
_spaces: Final = re.compile(rb" +").match
_atom: Final = re.compile(rb"[^ )]+").match

#: Reads a literal; returns its value, and the rest of the line after it.
ReadLiteral = Callable[[Literal], tuple[bytes, bytes]]


def describe(text: bytes, read_literal: ReadLiteral) -> str:
    """Return the parameters of ID as ``name: value, name: value``, shortened; empty for NIL.

    ``text`` is the command without its verb. Raises ParseError.
    """
    strings = _read_strings(text.strip(b" "), read_literal)
    if len(strings) % 2:
        raise ParseError("a field without a value")
    fields = [b"%b: %b" % pair for pair in zip(strings[::2], strings[1::2], strict=True) if all(pair)]
    return b", ".join(fields)[:LONGEST].decode("utf-8", "backslashreplace")


def _read_strings(text: bytes, read_literal: ReadLiteral) -> list[bytes]:
    """Return the strings between the parentheses; none for NIL."""
    if text.upper() == b"NIL":
        return []
    if not text.startswith(b"("):
        raise ParseError("ID takes NIL, or a list in parentheses")
    strings: list[bytes] = []
    position = _skip_spaces(text, 1)
    while not text.startswith(b")", position):
        if text.startswith(b"{", position):
            value, text = read_literal(read_announcement(text[position:]))
            position = 0
        else:
            value, position = _read_string(text, position)
        strings.append(value)
        position = _skip_spaces(text, position)
    if position + 1 != len(text):
        raise ParseError("text after the list")
    return strings


def _skip_spaces(text: bytes, position: int) -> int:
    """Return the place of the next byte from ``position`` on that is not a space."""
    spaces = _spaces(text, position)
    return spaces.end() if spaces is not None else position


def _read_string(text: bytes, start: int) -> tuple[bytes, int]:
    """Return the string at ``start`` and the place of its end; the quotes around a word may be missing."""
    if text.startswith(b'"', start):
        return read_quoted(text, start)
    atom = _atom(text, start)
    if atom is None:
        raise ParseError("a list without an end")
    return b"" if atom[0].upper() == b"NIL" else atom[0], atom.end()
