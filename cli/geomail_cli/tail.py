"""``geomail tail``: what happens in a running server, as it happens."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from geomail.config.units import escape_unprintable
from geomail_cli import chosen, render
from geomail_cli.control import ConfigOption, Connection, Failed, NoServer, Place, SocketOption
from geomail_cli.render import counted

#: Seconds between two looks for a server that has gone.
_AGAIN = 0.5


def tail(
    user: chosen.Users = None,
    client: chosen.Clients = None,
    server: chosen.Servers = None,
    protocol: chosen.Protocols = None,
    backend: chosen.Backends = None,
    outcome: chosen.Outcomes = None,
    ids: chosen.Ids = None,
    top: Annotated[
        bool, typer.Option("--top", help="A table of the live sessions that fills the terminal.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
    config: ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """Watch the sessions of a running server: a line when one is opened, logged in, refused, ended.

    A session is shown where, of every option that was given, one value fits;
    --user shows nothing of a session before its login. In a terminal lines are
    coloured (NO_COLOR turns that off), in a pipe they have the date too.

    It goes on until Ctrl-C: through a reload, and through a restart of the
    server, for which it waits. The server waits for nobody: events that a slow
    terminal or pipe had no room for are dropped, and their number is shown.

    --top: q quits; u c b p a i n o t sort by user, client, backend, protocol,
    age, idle time, bytes in, bytes out, rate; r turns the order around.

    Exit status: 0 ended by Ctrl-C, or by the end of the pipe; 1 the server
    refused, 2 wrong usage, 69 no server runs there, 77 no permission.
    """
    select = chosen.selection(
        user=user,
        client=client,
        server=server,
        protocol=protocol,
        backend=backend,
        outcome=outcome,
        session=ids,
    )
    if top:
        if as_json or outcome or not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise typer.BadParameter("--top needs a terminal, and goes with neither --json nor --outcome")
        from geomail_cli.top import Top

        run: Callable[[], None] = Top(Place(config, socket), select).run
    else:
        run = _Tail(Place(config, socket), select, as_json).run
    try:
        run()
    except Failed as failed:
        raise failed.exit() from None
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        render.abandon_stdout()


class _Tail:
    """Prints events until it is interrupted."""

    def __init__(self, place: Place, select: dict[str, list[str]], as_json: bool) -> None:
        from geomail_cli.eventlines import EventLines

        console = render.stdout()
        self._place = place
        self._select = select
        self._as_json = as_json
        self._lines = EventLines(
            colour=console.color_system is not None, width=console.width if console.is_terminal else None
        )
        self._lost = 0

    def run(self) -> None:
        """Follow the server, and the one after it. Raises Failed if there is none at first."""
        connection = self._place.connect()
        try:
            while True:
                began = time.monotonic()
                with connection:
                    self._follow(connection)
                self._say("the server has gone; waiting for it to come back")
                if time.monotonic() - began < _AGAIN:  # it is not well
                    time.sleep(_AGAIN)
                connection = self._find_again()
        finally:
            if self._lost:
                self._say(f"{counted(self._lost, 'event')} lost in all")

    def _follow(self, connection: Connection) -> None:
        try:
            for answer in connection.ask("tail", select=self._select):
                self._show(answer)
                if not connection.has_more:
                    sys.stdout.flush()
        except NoServer:
            sys.stdout.flush()

    def _find_again(self) -> Connection:
        trouble = ""
        while True:
            try:
                connection = self._place.connect()
            except NoServer:
                time.sleep(_AGAIN)
            except Failed as failed:  # that may change, but not by itself
                if str(failed) != trouble:
                    trouble = str(failed)
                    self._say(trouble)
                time.sleep(_AGAIN)
            else:
                self._say(f"connected again, to geomail {connection.version}")
                return connection

    def _show(self, answer: dict[str, Any]) -> None:
        answer.pop("id", None)
        if "lost" in answer:
            self._lost += answer["lost"]
            if not self._as_json:
                self._say(f"{counted(answer['lost'], 'event')} lost: they came faster than they are read")
                return
        elif "event" not in answer:
            return
        sys.stdout.write((json.dumps(answer) if self._as_json else self._lines.line(answer)) + "\n")

    def _say(self, text: str) -> None:
        """Say something about the stream: among the lines on a terminal, else beside them."""
        sys.stdout.flush()
        render.stderr().print(f"geomail: {escape_unprintable(text)}", style="bold yellow", markup=False)
