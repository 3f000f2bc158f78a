"""The spelling of texts and times in the log.

A text from outside is bounded, and cannot pass for another part of its line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

#: The most bytes of one text from outside in a line: a line with several stays below a pipe's PIPE_BUF.
LONGEST = 600
#: The most bytes that a form needs for one character: JSON's escape of a character beyond U+FFFF.
_WIDEST = 12
_MILLISECONDS = [f".{number:03d}Z" for number in range(1000)]


def escape(text: str, never: str = '"\\') -> str:
    """Return ``text`` with escapes for the characters in ``never`` and for those that do not print."""
    return "".join(c if c.isprintable() and c not in never else _escape_char(c) for c in text)


def shorten(text: str, write: Callable[[str], str] = escape) -> str:
    """Return ``text``, or its beginning and an ellipsis if ``write`` makes more than LONGEST bytes of it."""
    if len(text) * _WIDEST <= LONGEST:
        return text
    kept = text[:LONGEST]
    while len(write(kept).encode()) > LONGEST:
        kept = kept[: len(kept) * 4 // 5]
    return text if kept == text else f"{kept}…"


def format_time(when: float) -> str:
    """Return ``when``, a value of time.time(), as RFC 3339 has it: in UTC, with milliseconds."""
    second, millisecond = divmod(int(when * 1000), 1000)
    return _format_second(second) + _MILLISECONDS[millisecond]


@lru_cache(maxsize=4)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _escape_char(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
