"""``geomail reload``: put the configuration file in force."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from geomail_cli import render
from geomail_cli.control import NOT_READY, ConfigOption, Failed, Place, SocketOption
from geomail_cli.render import counted


def reload(
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON.")] = False,
    config: ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """Put the configuration file of a running server in force, and wait until that is done.

    New sessions are served by new workers; the old ones stay until their last
    session has ended. A file with an error changes nothing: the reason is
    printed, and the old configuration stays in force.

    Exit status: 0 it is in force, 1 it was refused, 2 wrong usage, 69 no server
    runs there, 75 the new workers did not start in time, 77 no permission.
    """
    try:
        with Place(config, socket).connect() as connection:
            done = connection.done("reload")
    except Failed as failed:
        if failed.code == "not-started":
            failed.status = NOT_READY
        if as_json:
            typer.echo(json.dumps({"error": failed.code or "unavailable", "text": str(failed)}, indent=2))
            raise typer.Exit(failed.status) from None
        raise failed.exit() from None
    if as_json:
        typer.echo(json.dumps(done, indent=2))
        return
    text = f"generation {done['generation']} is in force, {counted(len(done['workers']), 'worker')}"
    if done["draining"]:
        text += f"; {counted(len(done['draining']), 'old worker')} will end with the last session of each"
    render.show_verdict(render.stderr(), text, failed=False)
