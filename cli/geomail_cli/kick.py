"""``geomail kick``: end sessions of a running server."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from geomail_cli import output, who
from geomail_cli.control import Connection, ControlError, SocketOptions
from geomail_cli.option_groups import spread_groups
from geomail_cli.output import pluralize
from geomail_cli.session_options import Format, UserFilter

#: Sessions that one request names.
_AT_A_TIME = 500


@spread_groups
def kick(
    chosen: UserFilter,
    server: SocketOptions,
    yes: Annotated[bool, typer.Option("--yes", help="End several sessions without a question.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ended sessions as JSON.")] = False,
) -> None:
    """End sessions of a running server.

    Choose sessions as for "geomail who", by at least one option; --user "*" is
    every user who has logged in. If several sessions match, the command lists
    them and asks first. It ends only the sessions that it has listed.

    geomail says goodbye to a client that has not logged in yet, and to one
    whose session has been silent for a second after the end of a line. It just
    closes other connections: the client could take a goodbye for a part of a
    message.

    Exit status: 0 sessions were ended, 1 none matches or you said no, 2 wrong
    usage, 69 no server runs there, 77 no permission.
    """
    selection = chosen.make_selection()
    if not selection:
        raise typer.BadParameter(
            "no session is chosen: give USER, --client, --server, --protocol, --backend or --id"
        )
    try:
        with server.find().connect() as connection:
            _kick(connection, selection, yes, as_json)
    except ControlError as error:
        raise error.report() from None


def _kick(connection: Connection, selection: dict[str, list[str]], yes: bool, as_json: bool) -> None:
    found = connection.ask_for_sessions("who", selection)
    if len(found) > 1 and not yes:
        _confirm(found)
    ended: list[dict[str, Any]] = []
    for start in range(0, len(found), _AT_A_TIME):
        ids = [session["session"] for session in found[start : start + _AT_A_TIME]]
        ended += connection.ask_for_sessions("kick", {"session": ids})
    if as_json:
        typer.echo(json.dumps(ended, indent=2))
    else:
        _show_summary(len(found), len(ended))
    if not ended:
        raise typer.Exit(1)


def _show_summary(found: int, ended: int) -> None:
    console = output.make_error_console()
    if not found:
        output.show_summary(console, 'no session matches; "geomail who" lists all sessions', failed=True)
        return
    earlier = f"; {pluralize(found - ended, 'session')} had ended before" * (ended < found)
    output.show_summary(console, f"{pluralize(ended, 'session')} ended{earlier}", failed=False)


def _confirm(found: list[dict[str, Any]]) -> None:
    """Ask the operator. Raises ControlError without a yes."""
    if not sys.stdin.isatty():
        raise ControlError(f"{len(found)} sessions match, and there is no terminal to ask at: give --yes")
    who.show(found, Format.TABLE, err=True)
    if not typer.confirm(f"End these {len(found)} sessions?", err=True):
        raise ControlError("no session was ended")
