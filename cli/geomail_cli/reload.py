"""``geomail reload``: put a changed configuration file in force."""

from __future__ import annotations

import json

import typer

from geomail_cli import output
from geomail_cli.control import NOT_READY, ControlError, SocketOptions
from geomail_cli.option_groups import JsonOption, spread_groups
from geomail_cli.output import pluralize


@spread_groups
def reload(server: SocketOptions, as_json: JsonOption = False) -> None:
    """Make a running server read its configuration again.

    The command waits until the new configuration is in force. New workers
    serve new sessions; each old worker ends with its last session. If the file
    has an error, the command prints it, and the old configuration stays in
    force.

    Exit status: 0 the configuration is in force, 1 it was refused, 2 wrong
    usage, 69 no server runs there, 75 the new workers did not start in time, 77
    no permission.
    """
    try:
        with server.find().connect() as connection:
            done = connection.ask_once("reload")
    except ControlError as error:
        if error.code == "not-started":
            error.status = NOT_READY
        if as_json:
            typer.echo(json.dumps({"error": error.code or "unavailable", "text": str(error)}, indent=2))
            raise typer.Exit(error.status) from None
        raise error.report() from None
    if as_json:
        typer.echo(json.dumps(done, indent=2))
        return
    text = f"generation {done['generation']} is in force, {pluralize(len(done['workers']), 'worker')}"
    if done["draining"]:
        text += f"; {pluralize(len(done['draining']), 'old worker')} will end with the last session of each"
    output.show_summary(output.make_error_console(), text, failed=False)
