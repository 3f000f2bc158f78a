"""The description that an IMAP client gives of itself (the ID command, RFC 2971)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from geomail.protocols.imap.arguments import Literal, Unparsable, read_announcement, read_quoted

#: Bytes of it that are kept for the record.
LONGEST: Final = 512
_spaces: Final = re.compile(rb" +").match
_atom: Final = re.compile(rb"[^ )]+").match

#: Reads a literal; gives its value, and the line that goes on after it.
More = Callable[[Literal], tuple[bytes, bytes]]


def describe(text: bytes, more: More) -> str:
    """The parameters of ID in one line, ``name: value, name: value``, bounded; empty for NIL.

    ``text`` is what follows the verb. Raises Unparsable.
    """
    strings = _strings(text.strip(b" "), more)
    if len(strings) % 2:
        raise Unparsable("a field without a value")
    fields = [b"%b: %b" % pair for pair in zip(strings[::2], strings[1::2], strict=True) if all(pair)]
    return b", ".join(fields)[:LONGEST].decode("utf-8", "backslashreplace")


def _strings(text: bytes, more: More) -> list[bytes]:
    """The strings between the parentheses; NIL has none."""
    if text.upper() == b"NIL":
        return []
    if not text.startswith(b"("):
        raise Unparsable("ID takes NIL, or a list in parentheses")
    strings: list[bytes] = []
    position = _after_spaces(text, 1)
    while not text.startswith(b")", position):
        if text.startswith(b"{", position):
            value, text = more(read_announcement(text[position:]))
            position = 0
        else:
            value, position = _string(text, position)
        strings.append(value)
        position = _after_spaces(text, position)
    if position + 1 != len(text):
        raise Unparsable("something behind the list")
    return strings


def _after_spaces(text: bytes, position: int) -> int:
    """The place of the first byte from ``position`` on that is not a space."""
    spaces = _spaces(text, position)
    return spaces.end() if spaces is not None else position


def _string(text: bytes, start: int) -> tuple[bytes, int]:
    """The string at ``start``, and where it ends; a client may forget the quotes around a word."""
    if text.startswith(b'"', start):
        return read_quoted(text, start)
    atom = _atom(text, start)
    if atom is None:
        raise Unparsable("a list that does not end")
    return b"" if atom[0].upper() == b"NIL" else atom[0], atom.end()
