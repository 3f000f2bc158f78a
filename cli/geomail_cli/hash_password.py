"""``geomail hash-password``: make a password hash, or a whole line for the users file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geomail_cli import output
from geomail_cli.option_groups import spread_groups
from geomail_cli.passwords import prompt_for_password, read_password

#: Bytes of a password: no client's login holds more.
LONGEST_PASSWORD = 4096


class SchemeName(StrEnum):
    """The hash schemes for a new password."""

    ARGON2ID = "argon2id"
    BCRYPT = "bcrypt"
    SHA512_CRYPT = "sha512-crypt"


@dataclass(frozen=True)
class LineOptions:
    """The options that ask for a whole line of the users file."""

    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Print a whole line of the users file.")
    ] = None
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAME", help="Name this backend in the line of --user.")
    ] = None

    def check(self) -> None:
        """Check that the names have a place in the file. Raises BadParameter."""
        if self.backend is not None and self.user is None:
            raise typer.BadParameter("--backend is part of a line of the users file: give --user too")
        try:
            self.make_line("-")
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    def make_line(self, hashed: str) -> str:
        """Return the line with this hash, or the hash alone without a user. Raises ValueError."""
        from geomail.config.users import format_entry

        return hashed if self.user is None else format_entry(self.user, hashed, self.backend)


@spread_groups
def hash_password(
    line: LineOptions,
    scheme: Annotated[
        SchemeName, typer.Option("--scheme", metavar="SCHEME", help="argon2id, bcrypt or sha512-crypt.")
    ] = SchemeName.ARGON2ID,
) -> None:
    """Make a password hash for the users file.

    On a terminal the command asks for the password twice; from a pipe it reads
    the first line. The password is not an argument, as other users of the
    machine could see it. The hash goes to standard output.

    Exit status: 0 the hash was made, 1 the password cannot be used, 2 wrong
    usage.
    """
    line.check()
    password = _get_password()
    if problem := _find_problem(password, scheme):
        output.show_summary(output.make_error_console(), problem, failed=True)
        raise typer.Exit(1)
    typer.echo(line.make_line(_make_hash(password, scheme)))


def _get_password() -> bytes:
    if not sys.stdin.isatty():
        return read_password(Path("-")) or b""
    return prompt_for_password("Password", confirmation="Password again")


def _find_problem(password: bytes, scheme: SchemeName) -> str:
    """Return the reason why no client could log in with it, or not safely; empty if there is none."""
    from geomail.hashes import BCRYPT_LENGTH

    if not password:
        return "the password is empty: give at least one character"
    if b"\0" in password or b"\r" in password:
        return "the password contains NUL or CR, which no client can send: choose another one"
    if scheme == SchemeName.BCRYPT and len(password) > BCRYPT_LENGTH:
        return (
            f"the password has more than {BCRYPT_LENGTH} bytes, the limit of bcrypt: give --scheme argon2id"
        )
    if len(password) > LONGEST_PASSWORD:
        return f"the password has more than {LONGEST_PASSWORD} bytes: choose a shorter one"
    return ""


def _make_hash(password: bytes, scheme: SchemeName) -> str:
    from geomail import hashes

    if scheme == SchemeName.BCRYPT:
        return hashes.make_bcrypt(password)
    if scheme == SchemeName.SHA512_CRYPT:
        return hashes.make_sha512_crypt(password)
    return hashes.make_argon2id(password)
