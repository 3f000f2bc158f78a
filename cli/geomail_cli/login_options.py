"""The options of ``check-auth`` and ``preview-handshake`` that describe a client and its login."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geomail.protocols.facts import FACTS
from geomail_cli.passwords import read_password

if TYPE_CHECKING:
    from geomail.preview.client import Words


if TYPE_CHECKING:
    ProtocolName = str
else:  # mypy takes no computed enumeration
    ProtocolName = StrEnum("ProtocolName", {name.upper(): name for name in FACTS})


class MethodName(StrEnum):
    """The ways for a client to log in."""

    PLAIN = "plain"
    APOP = "apop"
    CRAM_MD5 = "cram-md5"
    EXTERNAL = "external"
    NONE = "none"


@dataclass(frozen=True)
class LoginOptions:
    """A client, the server that it connects to, and what it says there to log in."""

    server: Annotated[
        str | None,
        typer.Option("--server", metavar="NAME|ADDRESS", help="Server (default: the only one)."),
    ] = None
    protocol: Annotated[
        ProtocolName | None,
        typer.Option("--protocol", metavar="PROTOCOL", help="Protocol (default: smtp if served)."),
    ] = None
    client: Annotated[
        str | None,
        typer.Option(
            "--client", metavar="IP[:PORT]", help="Client's address (default: 192.0.2.1 or similar)."
        ),
    ] = None
    client_name: Annotated[
        str | None, typer.Option("--client-name", metavar="NAME", help="Host name of the client's address.")
    ] = None
    ehlo: Annotated[
        str | None,
        typer.Option("--ehlo", metavar="NAME", help="Name in EHLO (default: the client's address)."),
    ] = None
    helo: Annotated[
        str | None,
        typer.Option("--helo", metavar="NAME", help="The client says HELO with this name instead."),
    ] = None
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="User who logs in.")] = None
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="File with the password; - is standard input."),
    ] = None
    sender: Annotated[
        str | None,
        typer.Option("--from", metavar="ADDRESS", help="Sender of a mail without a login (smtp_auth none)."),
    ] = None
    recipient: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="Recipient of a mail without a login.")
    ] = None

    def make_words(self) -> Words:
        """Return what the client says; read the password file. Raises BadParameter."""
        from geomail.preview.client import Words

        if self.helo is not None and self.ehlo is not None:
            raise typer.BadParameter("--helo and --ehlo exclude each other: give only one")
        return Words(
            hello=self.ehlo if self.helo is None else self.helo,
            esmtp=self.helo is None,
            user=self.user,
            password=read_password(self.password_file),
            sender=self.sender,
            recipient=self.recipient,
        )
