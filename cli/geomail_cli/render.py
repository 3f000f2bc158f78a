"""What commands share on screen: colour where there is a terminal, and nothing that could steer it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from geomail.config.units import escape_unprintable

if TYPE_CHECKING:
    from rich.console import Console

    from geomail.errors import Problem

_STYLES = {"error": "bold red", "warning": "bold yellow"}


def stderr() -> Console:
    """The console for messages: plain where it is no terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def stdout() -> Console:
    """The console for results: it breaks lines between words on a terminal, and is plain where it is none."""
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


def show_verdict(console: Console, verdict: str, failed: bool) -> None:
    """Print what came of it, as the last line: ``geomail: …``."""
    from rich.text import Text

    console.print(
        Text("geomail: ") + Text(escape_unprintable(verdict), "bold red" if failed else "bold green")
    )


def show_heading(console: Console, text: str) -> None:
    """Print what the following is about."""
    from rich.text import Text

    console.print(Text(escape_unprintable(text), "bold"))


def show_note(console: Console, text: str, kind: str = "note") -> None:
    """Print something worth knowing: ``note: …``."""
    from rich.text import Text

    console.print(
        Text(f"{kind}: ", "bold yellow" if kind == "hint" else "bold") + Text(escape_unprintable(text))
    )


def abandon_stdout() -> None:
    """Nobody reads standard output any more: what is left for it is not to be complained of at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def counted(number: int, thing: str) -> str:
    """``1 server``, ``2 servers``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
