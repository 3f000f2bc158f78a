"""``geomail status``: how a running server is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from geomail_cli.control import ConfigOption, Failed, Place, SocketOption


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    config: ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """Show how a running server is: workers, sessions, rates, configuration, backends.

    Rates are those of the last ten seconds. What has been counted lasts as
    long as the console process of the server; workers may come and go. Bytes
    are counted when their session ends.

    Exit status: 0 it runs, 2 wrong usage, 69 no server runs there, 77 no
    permission.
    """
    try:
        with Place(config, socket).connect() as connection:
            known = connection.done("status")
    except Failed as failed:
        raise failed.exit() from None
    if as_json:
        typer.echo(json.dumps(known, indent=2))
    else:
        from geomail_cli.overview import show

        show(known)
