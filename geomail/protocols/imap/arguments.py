"""The arguments of an IMAP command: atoms, quoted strings and literals (RFC 9051, section 4)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from geomail.errors import GeomailError

MAX_ARGUMENTS: Final = 3
_QUOTE: Final = 0x22
_BRACE: Final = 0x7B
#: What no tag holds: CTL, SP and 8-bit characters, and those of ``atom-specials`` but ``]``; and ``+``.
_is_tag: Final = re.compile(rb"[^\0-\x20\x7F-\xFF(){%*\"\\+]+").fullmatch
#: As many digits as any literal that fits could have.
_MAX_DIGITS: Final = 10


class Unparsable(GeomailError):
    """A line is not IMAP."""


class Literal(NamedTuple):
    """A line ended in the announcement of a literal; ``waits``: its sender wants to be asked for it."""

    size: int
    waits: bool


def is_tag(tag: bytes) -> bool:
    """Tell whether this may be a tag: any ASTRING-CHAR but ``+``, as many as fit (nginx: 32, fewer kinds)."""
    return tag.isalnum() or _is_tag(tag) is not None


def split(text: bytes, arguments: list[bytes]) -> Literal | None:
    """Add the arguments in ``text`` to those already read.

    Returns the literal that the line ends with, which is the next argument;
    None if there is none. Raises Unparsable, also for one argument too many.
    """
    while text := text.lstrip(b" "):
        if len(arguments) == MAX_ARGUMENTS:
            raise Unparsable("too many arguments")
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
    """The quoted string at ``start``, and where it ends; a backslash makes any byte literal, as in nginx."""
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
    raise Unparsable("a quote that does not end")


def read_announcement(text: bytes) -> Literal:
    """The literal that a line ends with. Raises Unparsable if it is none."""
    waits = not text.endswith(b"+}")
    digits = text[1 : -1 if waits else -2]
    if not (text.endswith(b"}") and digits.isdigit() and len(digits) <= _MAX_DIGITS):
        raise Unparsable("the size of a literal")
    return Literal(int(digits), waits)
