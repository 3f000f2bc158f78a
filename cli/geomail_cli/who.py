"""``geomail who``: the sessions of a running server."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from geomail_cli import chosen, render
from geomail_cli.chosen import Format
from geomail_cli.control import ConfigOption, Failed, Place, SocketOption
from geomail_cli.render import counted

#: The fields of a session, in the order in which programs get them.
FIELDS = (
    "session", "protocol", "server", "state", "user", "method", "client", "client_port",
    "local", "local_port", "tls", "backend", "started", "idle", "bytes_in", "bytes_out", "worker",
)  # fmt: skip


def who(
    users: Annotated[list[str] | None, typer.Argument(metavar="USER", help="As --user.")] = None,
    user: chosen.Users = None,
    client: chosen.Clients = None,
    server: chosen.Servers = None,
    protocol: chosen.Protocols = None,
    backend: chosen.Backends = None,
    ids: chosen.Ids = None,
    form: chosen.FormatOption = Format.TABLE,
    as_json: chosen.JsonOption = False,
    config: ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """List the sessions of a running server, those of workers that are draining too.

    Each option may be given several times: a session is listed if, of every
    option that was given, one value fits. The case of letters does not matter.

    Exit status: 0 also where there is none, 2 wrong usage, 69 no server runs
    there, 77 no permission.
    """
    select = chosen.selection(
        user=[*(users or ()), *(user or ())],
        client=client,
        server=server,
        protocol=protocol,
        backend=backend,
        session=ids,
    )
    try:
        with Place(config, socket).connect() as connection:
            sessions = connection.sessions("who", select)
    except Failed as failed:
        raise failed.exit() from None
    form = Format.JSON if as_json else form
    show(sessions, form)
    if form is Format.TABLE:
        render.stderr().print(f"{counted(len(sessions), 'session')}")


def show(sessions: list[dict[str, Any]], form: Format, *, err: bool = False) -> None:
    """Print sessions, sorted by user; with ``err``, to standard error."""
    from geomail_cli import table

    now = time.time()
    rows = [{**one, "age": max(0.0, now - one["started"])} for one in sessions]
    rows.sort(key=lambda one: (one["user"], one["started"]))
    table.print_list(form, table.SESSION_COLUMNS, rows, FIELDS, err=err)
