"""``geomail kick``: end sessions of a running server."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from geomail_cli import chosen, render, who
from geomail_cli.control import ConfigOption, Connection, Failed, Place, SocketOption
from geomail_cli.render import counted

#: Sessions that are named in one request.
_AT_A_TIME = 500


def kick(
    users: Annotated[list[str] | None, typer.Argument(metavar="USER", help="As --user.")] = None,
    user: chosen.Users = None,
    client: chosen.Clients = None,
    server: chosen.Servers = None,
    protocol: chosen.Protocols = None,
    backend: chosen.Backends = None,
    ids: chosen.Ids = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, however many they are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ended sessions as JSON.")] = False,
    config: ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """End sessions of a running server.

    Sessions are chosen as for "geomail who", and at least one option is
    needed; --user "*" means everybody who has logged in. More than one session
    are listed first, and you are asked. Only those that were listed end.

    A client that has not logged in yet is told goodbye, and so is one whose
    session has been silent for a second after the end of a line. Any other
    connection is just closed: words of geomail's own could be taken for a part
    of a message.

    Exit status: 0 sessions were ended, 1 none fits or you said no, 2 wrong
    usage, 69 no server runs there, 77 no permission.
    """
    select = chosen.selection(
        user=[*(users or ()), *(user or ())],
        client=client,
        server=server,
        protocol=protocol,
        backend=backend,
        session=ids,
    )
    if not select:
        raise typer.BadParameter("say whose: a user, or --client, --server, --backend, --id …")
    try:
        with Place(config, socket).connect() as connection:
            _kick(connection, select, yes, as_json)
    except Failed as failed:
        raise failed.exit() from None


def _kick(connection: Connection, select: dict[str, list[str]], yes: bool, as_json: bool) -> None:
    meant = connection.sessions("who", select)
    if len(meant) > 1 and not yes:
        _ask(meant)
    ended: list[dict[str, Any]] = []
    for start in range(0, len(meant), _AT_A_TIME):
        named = [session["session"] for session in meant[start : start + _AT_A_TIME]]
        ended += connection.sessions("kick", {"session": named})
    if as_json:
        typer.echo(json.dumps(ended, indent=2))
    elif not meant:
        render.show_verdict(render.stderr(), "no session fits", failed=True)
    else:
        left = f"; {counted(len(meant) - len(ended), 'session')} had ended before" * (len(ended) < len(meant))
        render.show_verdict(render.stderr(), f"{counted(len(ended), 'session')} ended{left}", failed=False)
    if not ended:
        raise typer.Exit(1)


def _ask(meant: list[dict[str, Any]]) -> None:
    if not sys.stdin.isatty():
        raise Failed(f"{counted(len(meant), 'session')} would be ended: add --yes if you mean that")
    who.show(meant, chosen.Format.TABLE, err=True)
    if not typer.confirm(f"End these {len(meant)} sessions?", err=True):
        raise Failed("nothing was ended")
