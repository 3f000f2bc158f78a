"""``geomail status``: the state of a running server."""

from __future__ import annotations

import json

import typer

from geomail_cli.control import ControlError, SocketOptions
from geomail_cli.option_groups import JsonOption, spread_groups


@spread_groups
def status(server: SocketOptions, as_json: JsonOption = False) -> None:
    """Show the state of a running server.

    The command shows workers, sessions, rates, configuration, servers and
    backends. Rates are those of the last ten seconds. Counters include workers
    that have ended; if the console process starts again, they start with the
    counts of the live workers. The bytes of a session are counted when it ends.

    Exit status: 0 the server runs, 2 wrong usage, 69 no server runs there, 77
    no permission.
    """
    try:
        with server.find().connect() as connection:
            state = connection.ask_once("status")
    except ControlError as error:
        raise error.report() from None
    if as_json:
        typer.echo(json.dumps(state, indent=2))
    else:
        from geomail_cli.status_report import show

        show(state)
