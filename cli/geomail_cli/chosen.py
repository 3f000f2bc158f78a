"""What ``tail``, ``who`` and ``kick`` have in common: options that choose sessions and list them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from geomail.protocols.facts import FACTS

Users = Annotated[
    list[str] | None, typer.Option("--user", metavar="MASK", help="Users; * is any text, ? any character.")
]
Clients = Annotated[
    list[str] | None,
    typer.Option("--client", metavar="CIDR", help="Clients: an address, a network, or a mask."),
]
Servers = Annotated[
    list[str] | None, typer.Option("--server", metavar="MASK", help="Servers, by their name in the log.")
]
Protocols = Annotated[
    list[str] | None, typer.Option("--protocol", metavar="MASK", help=f"{', '.join(FACTS)}.")
]
Backends = Annotated[
    list[str] | None, typer.Option("--backend", metavar="MASK", help="Backends, by name or address.")
]
Ids = Annotated[list[str] | None, typer.Option("--id", metavar="MASK", help="Session ids.")]
Outcomes = Annotated[
    list[str] | None,
    typer.Option("--outcome", metavar="MASK", help="How sessions ended; nothing else is shown then."),
]


class Format(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"
    TAB = "tab"


FormatOption = Annotated[Format, typer.Option("--format", help="How the list is printed.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


def selection(**masks: list[str] | None) -> dict[str, list[str]]:
    """The selection of a request: only what was given. Raises BadParameter if that cannot be understood."""
    from geomail.control.selection import BadSelection, Selection

    given = {field: values for field, values in masks.items() if values}
    try:
        Selection(given)
    except BadSelection as error:
        raise typer.BadParameter(str(error)) from None
    return given
