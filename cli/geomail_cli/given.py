"""What commands take from the command line in the same way: a configuration, a password, a client."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geomail.protocols.facts import FACTS
from geomail_cli import render

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.preview.client import Words


if TYPE_CHECKING:
    ProtocolName = str
else:  # mypy takes no computed enumeration
    ProtocolName = StrEnum("ProtocolName", {name.upper(): name for name in FACTS})


class MethodName(StrEnum):
    """How a client logs in."""

    PLAIN = "plain"
    APOP = "apop"
    CRAM_MD5 = "cram-md5"
    EXTERNAL = "external"
    NONE = "none"


ConfigFile = Annotated[
    Path | None, typer.Option("-c", "--config", metavar="FILE", help="Configuration file.")
]
ServerChoice = Annotated[
    str | None,
    typer.Option("--server", metavar="NAME|ADDRESS", help="Server of the configuration, if it has several."),
]
ProtocolChoice = Annotated[
    ProtocolName | None,
    typer.Option("--protocol", help="Its protocol; default: smtp, if there is such a server."),
]
Client = Annotated[
    str | None,
    typer.Option(
        "--client", metavar="IP[:PORT]", help="Where the client comes from; default: 192.0.2.1 or its like."
    ),
]
ClientName = Annotated[
    str | None,
    typer.Option("--client-name", metavar="NAME", help="Host name that the client's address resolves to."),
]
Ehlo = Annotated[
    str | None,
    typer.Option(
        "--ehlo", metavar="NAME", help="The client says EHLO with this name; default: with its address."
    ),
]
Helo = Annotated[
    str | None, typer.Option("--helo", metavar="NAME", help="The client says HELO with this name instead.")
]
User = Annotated[str | None, typer.Option("--user", metavar="NAME", help="The user who logs in.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FILE", help="File with the password; - is standard input."),
]
Sender = Annotated[
    str | None,
    typer.Option("--from", metavar="ADDRESS", help="Sender of a mail without a login (smtp_auth none)."),
]
Recipient = Annotated[
    str | None, typer.Option("--to", metavar="ADDRESS", help="Recipient of a mail without a login.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

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


def words(
    *,
    ehlo: str | None,
    helo: str | None,
    user: str | None,
    password_file: Path | None,
    sender: str | None,
    recipient: str | None,
) -> Words:
    """What the client says, from the options about it."""
    from geomail.preview.client import Words

    if helo is not None and ehlo is not None:
        raise typer.BadParameter("--helo and --ehlo exclude each other")
    return Words(
        hello=ehlo if helo is None else helo,
        esmtp=helo is None,
        user=user,
        password=password_in(password_file),
        sender=sender,
        recipient=recipient,
    )


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
