"""How a log writes texts from outside, which are bounded and cannot pass for anything else, and times."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

#: Most bytes that one text from outside takes up in a line: a line of several stays below a pipe's PIPE_BUF.
LONGEST = 600
#: Most bytes that any form makes of one character: JSON, of one beyond U+FFFF.
_WIDEST = 12
_MILLISECONDS = [f".{number:03d}Z" for number in range(1000)]


def visible(text: str, never: str = '"\\') -> str:
    """``text`` with what is in ``never``, backslashes and whatever does not print as escapes."""
    return "".join(c if c.isprintable() and c not in never else _escape(c) for c in text)


def cut(text: str, written: Callable[[str], str] = visible) -> str:
    """``text``, or as much of its beginning as is LONGEST bytes when it is ``written``, and an ellipsis."""
    if len(text) * _WIDEST <= LONGEST:
        return text
    kept = text[:LONGEST]
    while len(written(kept).encode()) > LONGEST:
        kept = kept[: len(kept) * 4 // 5]
    return text if kept == text else f"{kept}…"


def timestamp(when: float) -> str:
    """``when``, of time.time(), as RFC 3339 has it: in UTC, with milliseconds."""
    second, millisecond = divmod(int(when * 1000), 1000)
    return _to_the_second(second) + _MILLISECONDS[millisecond]


@lru_cache(maxsize=4)
def _to_the_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
