"""A terminal in which a test types and reads: tmux, with a server of its own."""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.commands import environment
from tests.servers.support import program


class Terminal:
    """One window; ``raw`` has the bytes that a program wrote to it."""

    def __init__(self, command: str, columns: int, lines: int, folder: Path) -> None:
        self._tmux = [program("tmux"), "-S", str(folder / "tmux"), "-f", os.devnull]
        self._written = folder / "written"
        env = environment()
        del env["NO_COLOR"]
        size = ("-x", str(columns), "-y", str(lines))
        script = f"trap : INT; {command}"  # Ctrl-C is for the command, not for its shell
        self._run("new-session", "-d", *size, f"exec sh -c {shlex.quote(script)}", env=env)

    @property
    def raw(self) -> bytes:
        """The bytes that were written since :meth:`record`."""
        return self._written.read_bytes() if self._written.exists() else b""

    @property
    def lines(self) -> list[str]:
        """The lines of the screen now."""
        return self._run("capture-pane", "-p").splitlines()

    @property
    def coloured(self) -> str:
        """The screen now, with its colours."""
        return self._run("capture-pane", "-p", "-e")

    def is_full_screen(self) -> bool:
        """Tell whether a program uses the whole screen."""
        return self._run("display-message", "-p", "#{alternate_on}").strip() == "1"

    def record(self) -> None:
        """Record the bytes that are written from now on."""
        self._run("pipe-pane", f"cat >> {shlex.quote(str(self._written))}")

    def type(self, *keys: str) -> None:
        """Press keys."""
        self._run("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the window."""
        self._run("resize-window", "-x", str(columns), "-y", str(lines))

    def wait_for(self, pattern: str, seconds: float = 30) -> list[str]:
        """Wait until a line of the screen matches; return the screen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            lines = self.lines
            if any(re.search(pattern, line) for line in lines):
                return lines
            time.sleep(0.05)
        pytest.fail(f"not on the screen: {pattern}\n" + "\n".join(self.lines))

    def close(self) -> None:
        """End the program in the window."""
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, timeout=30, check=False)

    def _run(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        return subprocess.run(
            [*self._tmux, *arguments], capture_output=True, text=True, check=True, timeout=30, env=env
        ).stdout


@contextmanager
def terminal(folder: Path, command: str, columns: int = 120, lines: int = 20) -> Iterator[Terminal]:
    """Yield a window in which a shell runs the command."""
    window = Terminal(command, columns, lines, folder)
    try:
        yield window
    finally:
        window.close()
