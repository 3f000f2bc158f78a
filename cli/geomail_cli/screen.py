"""A full terminal screen: drawn in one piece, so that it does not flicker, and restored at the end."""

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
# Terminals that support it show the picture when it is complete; others ignore it.
_BEGIN, _END = "\x1b[?2026h\x1b[H", "\x1b[?2026l"
# Before the last line: after it, this would erase its last cell if it is as wide as the terminal.
_ERASE_BELOW = "\x1b[J"


class Screen:
    """A context manager for the terminal: the alternate screen, and keys without echo or Enter.

    Ctrl-Z restores the terminal while the process is stopped; then the screen
    ``is_blank`` until the next draw().
    """

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour
        self._settings: list[object] = []
        self.is_blank = True

    def __enter__(self) -> Screen:
        signal.signal(signal.SIGTERM, _exit)
        self._take()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._restore()

    def _take(self) -> None:
        self._settings = termios.tcgetattr(sys.stdin)
        signal.signal(signal.SIGTSTP, self._stop)
        tty.setcbreak(sys.stdin)
        self._write(_ENTER)
        self.is_blank = True

    def _restore(self) -> None:
        self._write(_LEAVE)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings)  # type: ignore[arg-type]
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._restore()
        os.kill(os.getpid(), number)
        self._take()  # the process runs again

    @property
    def size(self) -> tuple[int, int]:
        """The columns and lines of the terminal now."""
        size = shutil.get_terminal_size()
        return size.columns, size.lines

    def draw(self, lines: Sequence[tuple[str, Style]]) -> None:
        """Show these lines from the top; leave out what does not fit."""
        columns, height = self.size
        shown = [self._paint(text, style, columns) for text, style in lines[:height]]
        self.is_blank = False
        *upper, last = shown or [""]
        self._write(_BEGIN + "".join(f"{line}\r\n" for line in upper) + _ERASE_BELOW + last + _END)

    def read_key(self, seconds: float) -> str:
        """Return the next key, or an empty string after this time without one."""
        if not select.select([sys.stdin], [], [], max(0.0, seconds))[0]:
            return ""
        return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace")

    def _paint(self, text: str, style: Style, columns: int) -> str:
        system = ColorSystem.STANDARD if self._colour else None
        return style.render(set_cell_size(text, columns), color_system=system)

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding, "replace")
        while data:  # not through Python's buffer, which a signal handler must not enter twice
            data = data[os.write(sys.stdout.fileno(), data) :]


def _exit(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
