"""``geomail tail``: the events of a running server, as they happen."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from geomail.config.units import escape_unprintable
from geomail_cli import output
from geomail_cli.control import Connection, ControlError, ControlSocket, NoServer, SocketOptions
from geomail_cli.option_groups import spread_groups
from geomail_cli.output import pluralize
from geomail_cli.session_options import EventFilter

#: Seconds between two attempts to connect to a server that has gone.
_RETRY_PAUSE = 0.5


@spread_groups
def tail(
    chosen: EventFilter,
    server: SocketOptions,
    top: Annotated[bool, typer.Option("--top", help="Show a table of the live sessions.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
) -> None:
    """Watch the sessions of a running server.

    The command prints a line when a session opens, logs in, is refused or
    ends. An option may be given several times: a session must match one value
    of each option that is given. --user shows nothing of a session before its
    login. Lines have colours on a terminal, unless NO_COLOR is set, and the
    date elsewhere.

    The command runs until Ctrl-C. It goes on after a reload, and waits for the
    server after a restart. If the terminal or the pipe is slow, the server
    drops events, and the command prints their number.

    With --top, q quits; u c b p a i n o t sort by user, client, backend,
    protocol, age, idle time, bytes in, bytes out, rate; r reverses the order.

    Exit status: 0 ended by Ctrl-C or by the end of the pipe, 1 the server
    refused, 2 wrong usage, 69 no server runs there, 77 no permission.
    """
    selection = chosen.make_selection()
    if top:
        if as_json or chosen.outcome or not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise typer.BadParameter("--top needs a terminal: leave out --json, --outcome and pipes")
        from geomail_cli.top import TopView

        run: Callable[[], None] = TopView(server.find(), selection).run
    else:
        run = _EventPrinter(server.find(), selection, as_json).run
    try:
        run()
    except ControlError as error:
        raise error.report() from None
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        output.abandon_stdout()


class _EventPrinter:
    """A printer of events that runs until Ctrl-C."""

    def __init__(self, server: ControlSocket, selection: dict[str, list[str]], as_json: bool) -> None:
        from geomail_cli.event_lines import EventLines

        console = output.make_result_console()
        self._server = server
        self._selection = selection
        self._as_json = as_json
        self._lines = EventLines(
            colour=console.color_system is not None, width=console.width if console.is_terminal else None
        )
        self._lost = 0

    def run(self) -> None:
        """Follow the server, and the next one after a restart. Raises ControlError if none runs at first."""
        connection = self._server.connect()
        try:
            while True:
                began = time.monotonic()
                with connection:
                    self._follow(connection)
                self._report("the server has gone; waiting for it to come back")
                if time.monotonic() - began < _RETRY_PAUSE:  # it fails at once: do not load it more
                    time.sleep(_RETRY_PAUSE)
                connection = self._reconnect()
        finally:
            if self._lost:
                self._report(f"{pluralize(self._lost, 'event')} lost in total")

    def _follow(self, connection: Connection) -> None:
        try:
            for answer in connection.ask("tail", select=self._selection):
                self._show(answer)
                if not connection.has_more:
                    sys.stdout.flush()
        except NoServer:
            sys.stdout.flush()

    def _reconnect(self) -> Connection:
        reported = ""
        while True:
            try:
                connection = self._server.connect()
            except NoServer:
                time.sleep(_RETRY_PAUSE)
            except ControlError as error:  # permanent until the operator changes something
                if str(error) != reported:
                    reported = str(error)
                    self._report(reported)
                time.sleep(_RETRY_PAUSE)
            else:
                self._report(f"connected again, to geomail {connection.version}")
                return connection

    def _show(self, answer: dict[str, Any]) -> None:
        answer.pop("id", None)
        if "lost" in answer:
            self._lost += answer["lost"]
            if not self._as_json:
                self._report(f"{pluralize(answer['lost'], 'event')} lost: this terminal or pipe is too slow")
                return
        elif "event" not in answer:
            return
        sys.stdout.write((json.dumps(answer) if self._as_json else self._lines.format(answer)) + "\n")

    def _report(self, text: str) -> None:
        """Print a message about the stream, on standard error."""
        sys.stdout.flush()
        output.make_error_console().print(
            f"geomail: {escape_unprintable(text)}", style="bold yellow", markup=False
        )
