"""``geomail hash-password``: a password hash, or a whole line for the users file."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geomail_cli import render
from geomail_cli.given import password_in

#: Bytes that a password may have: more fits into no client's login.
LONGEST_PASSWORD = 4096


class SchemeName(StrEnum):
    """How a password is hashed."""

    ARGON2ID = "argon2id"
    BCRYPT = "bcrypt"
    SHA512_CRYPT = "sha512-crypt"


def hash_password(
    scheme: Annotated[SchemeName, typer.Option("--scheme", help="How to hash it.")] = SchemeName.ARGON2ID,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Print a line for the users file.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAME", help="Backend to name in that line.")
    ] = None,
) -> None:
    """Make a password hash for auth = "users".

    The password is asked for twice on a terminal; from a pipe, the first line
    is taken. It is never an argument, where other users of the machine would
    see it. The result goes to standard output.

    Exit status: 0 made, 1 no password that can be used, 2 wrong usage.
    """
    if backend is not None and user is None:
        raise typer.BadParameter("--backend goes with --user")
    from geomail.config.users import format_entry

    try:
        format_entry("-" if user is None else user, "-", backend)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    password = _password()
    problem = _problem(password, scheme)
    if problem:
        render.show_verdict(render.stderr(), problem, failed=True)
        raise typer.Exit(1)
    hashed = _hashed(password, scheme)
    typer.echo(hashed if user is None else format_entry(user, hashed, backend))


def _password() -> bytes:
    if not sys.stdin.isatty():
        return password_in(Path("-")) or b""
    typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
    return typed.encode("utf-8", "surrogateescape")


def _problem(password: bytes, scheme: SchemeName) -> str:
    """Why no client could log in with it, or not safely; empty if one can."""
    from geomail.hashes import BCRYPT_LENGTH

    if not password:
        return "the password is empty"
    if b"\0" in password or b"\r" in password:
        return "the password holds a NUL or CR, which no client can send"
    if scheme == SchemeName.BCRYPT and len(password) > BCRYPT_LENGTH:
        return f"bcrypt takes no more than {BCRYPT_LENGTH} bytes; use --scheme argon2id"
    if len(password) > LONGEST_PASSWORD:
        return f"the password has more than {LONGEST_PASSWORD} bytes"
    return ""


def _hashed(password: bytes, scheme: SchemeName) -> str:
    from geomail import hashes

    if scheme == SchemeName.BCRYPT:
        return hashes.make_bcrypt(password)
    if scheme == SchemeName.SHA512_CRYPT:
        return hashes.make_sha512_crypt(password)
    return hashes.make_argon2id(password)
