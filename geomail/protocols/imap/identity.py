"""What an IMAP client says of itself (the ID command, RFC 2971)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from geomail.protocols.imap.arguments import Literal, Unparsable, announced, quoted

#: Bytes of it that are kept for the record.
LONGEST: Final = 512
_ENDS_ATOM: Final = b" )"

#: Reads a literal; gives its value, and the line that goes on after it.
More = Callable[[Literal], tuple[bytes, bytes]]


def described(text: bytes, more: More) -> str:
    """The parameters of ID in one line, ``name: value, name: value``, bounded; empty for NIL.

    ``text`` is what follows the verb. Raises Unparsable.
    """
    strings = _strings(text.strip(b" "), more)
    if len(strings) % 2:
        raise Unparsable("a field without a value")
    fields = [b"%b: %b" % pair for pair in zip(strings[::2], strings[1::2], strict=True) if all(pair)]
    return b", ".join(fields)[:LONGEST].decode("utf-8", "backslashreplace")


def _strings(text: bytes, more: More) -> list[bytes]:
    """What stands in the parentheses; NIL is empty."""
    if text.upper() == b"NIL":
        return []
    if not text.startswith(b"("):
        raise Unparsable("ID takes NIL, or a list in parentheses")
    strings: list[bytes] = []
    text = text[1:].lstrip(b" ")
    while text[:1] != b")":
        value, text = _string(text, more)
        strings.append(value)
        text = text.lstrip(b" ")
    if text != b")":
        raise Unparsable("something behind the list")
    return strings


def _string(text: bytes, more: More) -> tuple[bytes, bytes]:
    """The next string, and what follows it; a client may forget the quotes around a word."""
    if text[:1] == b'"':
        return quoted(text)
    if text[:1] == b"{":
        return more(announced(text))
    end = next((at for at, byte in enumerate(text) if byte in _ENDS_ATOM), len(text))
    if end == 0:
        raise Unparsable("a list that does not end")
    atom = text[:end]
    return b"" if atom.upper() == b"NIL" else atom, text[end:]
