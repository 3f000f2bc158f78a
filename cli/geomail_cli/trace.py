"""``geomail trace``: what is said in some sessions of a running server, line by line."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import typer

from geomail.config.units import escape_unprintable
from geomail_cli import chosen, render
from geomail_cli.control import ConfigOption, Failed, NoServer, Place, SocketOption
from geomail_cli.render import counted

#: What stands before a line: who says it to whom.
_ARROWS = {
    ("client", "<"): "client  -> ",
    ("client", ">"): "client  <- ",
    ("backend", ">"): "backend <- ",
    ("backend", "<"): "backend -> ",
}
_REACHED = {
    "seconds": "its time is over (--seconds)",
    "lines": "its lines are used up (--lines)",
    "bytes": "its bytes are used up (--bytes)",
}


def trace(
    user: chosen.Users = None,
    client: chosen.Clients = None,
    server: chosen.Servers = None,
    protocol: chosen.Protocols = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, max=3600, metavar="N", help="End after this time.")
    ] = 60,
    lines: Annotated[
        int, typer.Option("--lines", min=1, max=1_000_000, metavar="N", help="End after so many lines.")
    ] = 10_000,
    size: Annotated[
        int,
        typer.Option("--bytes", min=1000, max=1_000_000_000, metavar="N", help="End after so much."),
    ] = 10_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print each line as one line of JSON.")] = False,
    config: ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """Watch what is said in some sessions, line by line, to the client and to the backend.

    --user or --client must say whose sessions are meant. Secrets are masked,
    and so is what a peer says of them. Once a client is logged in, its session
    is relayed, and nothing of it is shown but its size: no mail is seen.

    A user is known from the login on; what was said before it is kept, and
    shown then. It ends at the first cap that is reached, or by Ctrl-C.

    Exit status: 0 ended by a cap or Ctrl-C; 1 the server refused, 2 wrong
    usage, 69 no server runs there, 77 no permission.
    """
    if not user and not client:
        raise typer.BadParameter("say whose sessions are meant, with --user or --client")
    select = chosen.selection(user=user, client=client, server=server, protocol=protocol)
    try:
        with Place(config, socket).connect() as connection:
            for answer in connection.ask("trace", select=select, seconds=seconds, lines=lines, bytes=size):
                _show(answer, as_json)
                if not connection.has_more:
                    sys.stdout.flush()
    except NoServer as gone:
        sys.stdout.flush()
        raise gone.exit() from None
    except Failed as failed:
        raise failed.exit() from None
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        render.abandon_stdout()


def _show(answer: dict[str, Any], as_json: bool) -> None:
    answer.pop("id", None)
    if "event" in answer or ("lost" in answer and as_json):
        sys.stdout.write((json.dumps(answer) if as_json else _line(answer)) + "\n")
        return
    sys.stdout.flush()
    if "lost" in answer:
        _say(f"{counted(answer['lost'], 'line')} lost: they came faster than they are read")
    elif "tracing" in answer:
        _say(f"tracing for {answer['tracing']['seconds']:g} s; Ctrl-C ends it")
    elif "done" in answer:
        done = answer["done"]
        lost = f", {done['lost']} lost" if done["lost"] else ""
        _say(f"the trace has ended: {_REACHED[done['reached']]}; {counted(done['lines'], 'line')}{lost}")


def _line(event: dict[str, Any]) -> str:
    when = event["time"]
    stamp = f"{time.strftime('%H:%M:%S', time.localtime(when))}.{int(when * 1000) % 1000:03d}"
    arrow = _ARROWS.get((event["leg"], event["direction"]), "** ")
    because = f"   # {event['because']}" if event["because"] else ""
    return escape_unprintable(f"{stamp} {event['session']} {arrow}{event['line']}{because}")


def _say(text: str) -> None:
    render.stderr().print(f"geomail: {escape_unprintable(text)}", style="bold yellow", markup=False)
