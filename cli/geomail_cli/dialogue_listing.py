"""A dialogue as rows of speaker, line and reason: in columns on a terminal, in plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

#: A terminal narrower than this shows the reasons below the lines.
_NARROW = 72
_SPEAKER_WIDTH = 7
_GAP = 2
_INDENT = 2
_PLAIN_LINE_WIDTH = 64
_SPEAKERS = {"geomail": "cyan", "backend": "magenta", "service": "magenta"}


class DialogueListing:
    """A listing that prints each row at once; on a terminal it does not repeat a speaker.

    With ``merges`` it does not repeat a reason either. A context manager: a
    reason that is held back for the next row is printed at the end.
    """

    def __init__(self, console: Console, *, merges: bool = False) -> None:
        self._console = console
        self._merges = merges
        self._width = console.width if console.is_terminal else 0
        self._last = ("", "")
        self._held_reason = Text()

    def __enter__(self) -> DialogueListing:
        return self

    def __exit__(self, *_: object) -> None:
        self._print_held_reason()

    def add_row(self, speaker: str, line: str, reason: str = "", style: str = "dim") -> None:
        """Print one row of escape_unprintable texts; ``style`` is that of the reason."""
        if not self._width:
            self._print(
                Text(f"{speaker:<{_SPEAKER_WIDTH}}  {line:<{_PLAIN_LINE_WIDTH if reason else 0}}  {reason}")
            )
            return
        last, self._last = self._last, (speaker, reason)
        name = Text("" if speaker == last[0] else speaker, _SPEAKERS.get(speaker, ""))
        repeats = self._merges and (speaker, reason) == last
        shown_reason = Text("" if repeats else reason, style)
        if self._width >= _NARROW:
            self._print_side_by_side(name, line, shown_reason)
            return
        if not repeats:
            self._print_held_reason()
            self._held_reason = shown_reason
        self._print_without_reason(name, line)

    def _print_side_by_side(self, name: Text, line: str, reason: Text) -> None:
        right_width = min(44, max(30, self._width * 3 // 8))
        left_width = min(76, self._width - _SPEAKER_WIDTH - right_width - 2 * _GAP)
        rows = zip_longest(
            self._wrap_line(line, left_width), self._wrap(reason, right_width), fillvalue=Text()
        )
        for left, right in rows:
            self._print(_pad(name, _SPEAKER_WIDTH + _GAP) + _pad(left, left_width + _GAP) + right)
            name = Text()

    def _print_without_reason(self, name: Text, line: str) -> None:
        """Print a row whose reason appears later, below the last line with the same reason."""
        for part in self._wrap_line(line, self._width - _SPEAKER_WIDTH - _GAP) if line else ():
            self._print(_pad(name, _SPEAKER_WIDTH + _GAP) + part)
            name = Text()

    def _print_held_reason(self) -> None:
        margin = _SPEAKER_WIDTH + _GAP + 2 * _INDENT
        for part in self._wrap(self._held_reason, self._width - margin):
            self._print(Text(" " * margin) + part)
        self._held_reason = Text()

    def _wrap_line(self, line: str, width: int) -> Sequence[Text]:
        """Return the line in parts of this width; all but the first are indented."""
        first, *others = self._wrap(Text(line), width - _INDENT) or [Text()]
        return [first, *(Text(" " * _INDENT) + part for part in others)]

    def _wrap(self, text: Text, width: int) -> Sequence[Text]:
        return list(text.wrap(self._console, max(1, width), overflow="fold")) if text else []

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, soft_wrap=True)


def _pad(text: Text, width: int) -> Text:
    padded = text.copy()
    padded.pad_right(max(0, width - text.cell_len))
    return padded
