"""Passwords that an operator gives a command: in a file, through a pipe, or at the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from geomail_cli.error_reports import report_errors

#: Bytes of a password line that are read: more than any password has.
_LONGEST_LINE = 65536


def read_password(file: Path | None) -> bytes | None:
    """Return the first line of a file, or of standard input for ``-``; None without a file."""
    if file is None:
        return None
    with report_errors():
        if str(file) == "-":
            text = sys.stdin.buffer.readline(_LONGEST_LINE)
        else:
            with file.open("rb") as opened:
                text = opened.readline(_LONGEST_LINE)
    return text.removesuffix(b"\n").removesuffix(b"\r")


def ask_for_password(user: str) -> bytes:
    """Ask for a user's password at the terminal, without showing it."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("no password, and no terminal to ask for one: give --password-file")
    return prompt_for_password(f"Password of {user}")


def prompt_for_password(label: str, confirmation: str | bool = False) -> bytes:
    """Return what is typed at the terminal, unseen; ``confirmation``: the label of a second prompt."""
    typed: str = typer.prompt(label, hide_input=True, confirmation_prompt=confirmation, err=True)
    return typed.encode("utf-8", "surrogateescape")
