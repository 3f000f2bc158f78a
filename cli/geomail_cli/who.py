"""``geomail who``: the sessions of a running server."""

from __future__ import annotations

import time
from typing import Any

from geomail_cli import output
from geomail_cli.control import ControlError, SocketOptions
from geomail_cli.option_groups import spread_groups
from geomail_cli.output import pluralize
from geomail_cli.session_options import Format, ListOptions, UserFilter

#: The fields of a session, in their order in JSON and between tabs.
FIELDS = (
    "session", "protocol", "server", "state", "user", "method", "client", "client_port",
    "local", "local_port", "tls", "backend", "started", "idle", "bytes_in", "bytes_out", "worker",
)  # fmt: skip


@spread_groups
def who(chosen: UserFilter, listing: ListOptions, server: SocketOptions) -> None:
    """List the sessions of a running server.

    The list includes the sessions of old workers after a reload. An option may
    be given several times: a session must match one value of each option that
    is given. Upper and lower case are the same.

    Exit status: 0 also for an empty list, 2 wrong usage, 69 no server runs
    there, 77 no permission.
    """
    selection = chosen.make_selection()
    try:
        with server.find().connect() as connection:
            sessions = connection.ask_for_sessions("who", selection)
    except ControlError as error:
        raise error.report() from None
    form = listing.choose_format()
    show(sessions, form)
    if form is Format.TABLE:
        output.make_error_console().print(f"{pluralize(len(sessions), 'session')}")


def show(sessions: list[dict[str, Any]], form: Format, *, err: bool = False) -> None:
    """Print sessions, sorted by user; with ``err``, to standard error."""
    from geomail_cli import table

    now = time.time()
    rows = [{**one, "age": max(0.0, now - one["started"])} for one in sessions]
    rows.sort(key=lambda one: (one["user"], one["started"]))
    table.print_list(form, table.SESSION_COLUMNS, rows, FIELDS, err=err)
