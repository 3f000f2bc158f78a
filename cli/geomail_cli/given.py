"""What commands take from the command line in the same way: a configuration, a password, a client."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from geomail_cli import render

if TYPE_CHECKING:
    from geomail.config.schema import Config


class ProtocolName(StrEnum):
    """What a server speaks."""

    SMTP = "smtp"
    IMAP = "imap"
    POP3 = "pop3"


class MethodName(StrEnum):
    """How a client logs in."""

    PLAIN = "plain"
    APOP = "apop"
    CRAM_MD5 = "cram-md5"
    EXTERNAL = "external"
    NONE = "none"


#: Bytes that a password may have, and then some.
_LONGEST_PASSWORD = 65536


def configuration(file: Path | None) -> Config:
    """The configuration, if it has no error; else its problems are shown, and the command ends."""
    from geomail.config.load import find_config, load
    from geomail.errors import ConfigError

    try:
        return load(find_config(file))
    except ConfigError as error:
        for problem in error.problems:
            render.show_problem(render.stderr(), problem)
        raise typer.Exit(1) from None


@contextmanager
def usage() -> Iterator[None]:
    """What cannot be shown as asked is wrong usage; a file that cannot be used is an error."""
    from geomail.errors import GeomailError
    from geomail.preview.client import Unusable

    try:
        yield
    except Unusable as error:
        raise typer.BadParameter(str(error)) from None
    except GeomailError as error:
        render.show_verdict(render.stderr(), str(error), failed=True)
        raise typer.Exit(1) from None
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        render.show_verdict(render.stderr(), f"{name}{error.strerror or error}", failed=True)
        raise typer.Exit(1) from None


def password_in(file: Path | None) -> bytes | None:
    """The first line of a file, or of standard input for ``-``; None without a file."""
    if file is None:
        return None
    with usage():
        if str(file) == "-":
            text = sys.stdin.buffer.readline(_LONGEST_PASSWORD)
        else:
            with file.open("rb") as opened:
                text = opened.readline(_LONGEST_PASSWORD)
    return text.removesuffix(b"\n").removesuffix(b"\r")


def password_prompted(user: str) -> bytes:
    """The password that is typed in, unseen."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask for the password at: give --password-file")
    typed: str = typer.prompt(f"Password of {user}", hide_input=True, err=True)
    return typed.encode("utf-8", "surrogateescape")
