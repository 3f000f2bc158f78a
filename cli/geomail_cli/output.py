"""Output of commands: colours on a terminal only, and no text that could control the terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from geomail.config.units import escape_unprintable

if TYPE_CHECKING:
    from rich.console import Console

    from geomail.errors import Problem

_STYLES = {"error": "bold red", "warning": "bold yellow"}


def make_error_console() -> Console:
    """Return the console for messages, on standard error: without colours if it is not a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def make_result_console() -> Console:
    """Return the console for results, on standard output.

    It breaks lines between words on a terminal; elsewhere it has no colours
    and leaves lines whole.
    """
    from rich.console import Console

    console = Console(highlight=False)
    console.soft_wrap = not console.is_terminal
    return console


def show_problem(console: Console, problem: Problem) -> None:
    """Print one problem on one line: ``file:line: error: key: text``."""
    from rich.text import Text

    line = Text(f"{escape_unprintable(problem.place)}: ")
    line.append(f"{problem.severity}: ", _STYLES[problem.severity])
    if problem.key:
        line.append(f"{problem.key}: ", "bold")
    line.append(problem.text)
    console.print(line)


def show_summary(console: Console, text: str, failed: bool) -> None:
    """Print the result of the command, as its last line: ``geomail: …``."""
    from rich.text import Text

    console.print(Text("geomail: ") + Text(escape_unprintable(text), "bold red" if failed else "bold green"))


def show_heading(console: Console, text: str) -> None:
    """Print a heading for the lines that follow."""
    from rich.text import Text

    console.print(Text(escape_unprintable(text), "bold"))


def show_note(console: Console, text: str, kind: str = "note") -> None:
    """Print something worth knowing: ``note: …``."""
    from rich.text import Text

    console.print(
        Text(f"{kind}: ", "bold yellow" if kind == "hint" else "bold") + Text(escape_unprintable(text))
    )


def abandon_stdout() -> None:
    """Discard what Python would write to standard output at exit: its reader is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def pluralize(number: int, thing: str) -> str:
    """Return the number and the thing: ``1 server``, ``2 servers``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
