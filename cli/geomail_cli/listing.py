"""Who says what, and why: rows in columns that fit the terminal, plain lines where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

#: Terminals that are narrower get the reasons below the lines.
_NARROW = 72
_WHO = 7
_GAP = 2
_INDENT = 2
_PLAIN_WHAT = 64
_SPEAKERS = {"geomail": "cyan", "backend": "magenta", "service": "magenta"}


class Listing:
    """Prints rows as they come; a speaker that goes on is named once on a terminal.

    ``merges``: so is a reason that goes on. A context manager: what is still
    held back at its end is printed.
    """

    def __init__(self, console: Console, *, merges: bool = False) -> None:
        self._console = console
        self._merges = merges
        self._width = console.width if console.is_terminal else 0
        self._last = ("", "")
        self._held = Text()

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def row(self, who: str, what: str, why: str = "", style: str = "dim") -> None:
        """Print one row; everything in it is printable, ``style`` is that of ``why``."""
        if not self._width:
            self._print(Text(f"{who:<{_WHO}}  {what:<{_PLAIN_WHAT if why else 0}}  {why}"))
            return
        last, self._last = self._last, (who, why)
        speaker = Text.assemble(("" if who == last[0] else who, _SPEAKERS.get(who, "")))
        goes_on = self._merges and (who, why) == last
        reason = Text("" if goes_on else why, style)
        if self._width >= _NARROW:
            self._side_by_side(speaker, what, reason)
            return
        if not goes_on:
            self._release()
            self._held = reason
        self._stacked(speaker, what)

    def _side_by_side(self, who: Text, what: str, why: Text) -> None:
        why_width = min(44, max(30, self._width * 3 // 8))
        what_width = min(76, self._width - _WHO - why_width - 2 * _GAP)
        rows = zip_longest(self._indented(what, what_width), self._wrapped(why, why_width), fillvalue=Text())
        for left, right in rows:
            self._print(_padded(who, _WHO + _GAP) + _padded(left, what_width + _GAP) + right)
            who = Text()

    def _stacked(self, who: Text, what: str) -> None:
        """Print a row whose reason comes later, below the last line that it is the reason of."""
        for line in self._indented(what, self._width - _WHO - _GAP) if what else ():
            self._print(_padded(who, _WHO + _GAP) + line)
            who = Text()

    def _release(self) -> None:
        margin = _WHO + _GAP + 2 * _INDENT
        for line in self._wrapped(self._held, self._width - margin):
            self._print(Text(" " * margin) + line)
        self._held = Text()

    def _indented(self, what: str, width: int) -> Sequence[Text]:
        """The text in lines of this width, all but the first indented."""
        first, *others = self._wrapped(Text(what), width - _INDENT) or [Text()]
        return [first, *(Text(" " * _INDENT) + line for line in others)]

    def _wrapped(self, text: Text, width: int) -> Sequence[Text]:
        return list(text.wrap(self._console, max(1, width), overflow="fold")) if text else []

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True)


def _padded(text: Text, width: int) -> Text:
    padded = text.copy()
    padded.pad_right(max(0, width - text.cell_len))
    return padded
