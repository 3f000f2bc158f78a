"""A full terminal screen: drawn in one piece, so that it does not flicker, and left as it was found."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType

from rich.cells import set_cell_size
from rich.color import ColorSystem
from rich.style import Style

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
# Terminals that know it hold the picture until it is whole; the others ignore it.
_BEGIN, _END = "\x1b[?2026h\x1b[H", "\x1b[J\x1b[?2026l"


class Screen:
    """The terminal, for a context: the alternate screen, keys unseen and at once.

    Ctrl-Z gives it back for as long as the process is stopped; afterwards it
    ``is_blank``, until something is drawn.
    """

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._settings: list[object] = []
        self.is_blank = True

    def __enter__(self) -> Screen:
        signal.signal(signal.SIGTERM, _end)
        self._take()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _take(self) -> None:
        self._settings = termios.tcgetattr(sys.stdin)
        signal.signal(signal.SIGTSTP, self._stop)
        tty.setcbreak(sys.stdin)
        self._write(_ENTER)
        self.is_blank = True

    def _give_back(self) -> None:
        self._write(_LEAVE)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings)  # type: ignore[arg-type]
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._give_back()
        os.kill(os.getpid(), number)
        self._take()  # which is after the process has been continued

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, now."""
        size = shutil.get_terminal_size()
        return size.columns, size.lines

    def draw(self, lines: Sequence[tuple[str, Style]]) -> None:
        """Show these lines, from the top; what does not fit is left out."""
        columns, height = self.size
        shown = [self._styled(text, style, columns) for text, style in lines[:height]]
        self.is_blank = False
        self._write(_BEGIN + "\r\n".join(shown) + _END)

    def key(self, seconds: float) -> str:
        """The key that is pressed within this time; empty if none is."""
        if not select.select([sys.stdin], [], [], max(0.0, seconds))[0]:
            return ""
        return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace")

    def _styled(self, text: str, style: Style, columns: int) -> str:
        system = ColorSystem.STANDARD if self._colour else None
        return style.render(set_cell_size(text, columns), color_system=system)

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding, "replace")
        while data:  # without Python's buffer, which a signal's handler must not enter twice
            data = data[os.write(sys.stdout.fileno(), data) :]


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
