"""The arguments of an IMAP command: atoms, quoted strings and literals (RFC 9051, section 4)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from geomail.errors import GeomailError

MAX_ARGUMENTS: Final = 3
_QUOTE: Final = 0x22
_BRACE: Final = 0x7B
#: A tag must not hold CTL, SP, 8-bit characters, ``+``, nor any of ``atom-specials`` but ``]``.
_is_tag: Final = re.compile(rb"[^\0-\x20\x7F-\xFF(){%*\"\\+]+").fullmatch
#: The most digits in the size of a literal that fits.
_MAX_DIGITS: Final = 10


class ParseError(GeomailError):
    """A line that is not IMAP."""


class Literal(NamedTuple):
    """The announcement of a literal at the end of a line; ``waits``: the client waits for a ``+``."""

    size: int
    waits: bool


def is_tag(tag: bytes) -> bool:
    """Tell whether this is a tag: any ASTRING-CHAR but ``+``, of any length (nginx: 32, fewer characters)."""
    return tag.isalnum() or _is_tag(tag) is not None


def split(text: bytes, arguments: list[bytes]) -> Literal | None:
    """Split ``text`` and append to ``arguments``.

    Return the announcement of the literal that is the next argument; None if
    the line does not end in one. Raises ParseError, also for too many arguments.
    """
    while text := text.lstrip(b" "):
        if len(arguments) == MAX_ARGUMENTS:
            raise ParseError("too many arguments")
        if text[0] == _BRACE:
            return read_announcement(text)
        if text[0] == _QUOTE:
            argument, end = read_quoted(text)
            text = text[end:]
        else:
            argument, _, text = text.partition(b" ")
        arguments.append(argument)
    return None


def read_quoted(text: bytes, start: int = 0) -> tuple[bytes, int]:
    """Return the quoted string at ``start`` and its end; a backslash quotes any byte, as in nginx."""
    pieces = []
    position = start + 1
    end = text.find(b'"', position)
    while end >= 0:
        escape = text.find(b"\\", position, end)
        if escape < 0:
            pieces.append(text[position:end])
            return b"".join(pieces), end + 1
        pieces += (text[position:escape], text[escape + 1 : escape + 2])
        position = escape + 2
        if position > end:
            end = text.find(b'"', position)
    raise ParseError("a quoted string without an end")


def read_announcement(text: bytes) -> Literal:
    """Return the announcement of a literal that ``text`` is. Raises ParseError if it is not one."""
    waits = not text.endswith(b"+}")
    digits = text[1 : -1 if waits else -2]
    if not (text.endswith(b"}") and digits.isdigit() and len(digits) <= _MAX_DIGITS):
        raise ParseError("the size of a literal is not a number")
    return Literal(int(digits), waits)
