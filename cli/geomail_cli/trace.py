"""``geomail trace``: the dialogues of some sessions of a running server, line by line."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from geomail.config.units import escape_unprintable
from geomail_cli import output
from geomail_cli.control import ControlError, SocketOptions
from geomail_cli.option_groups import spread_groups
from geomail_cli.output import pluralize
from geomail_cli.session_options import TraceFilter

#: The text before a line: the side, and the direction.
_ARROWS = {
    ("client", "<"): "client  -> ",
    ("client", ">"): "client  <- ",
    ("backend", ">"): "backend <- ",
    ("backend", "<"): "backend -> ",
}
_REACHED = {
    "seconds": "the time is over (--seconds)",
    "lines": "the limit of lines is reached (--lines)",
    "bytes": "the limit of bytes is reached (--bytes)",
}


@dataclass(frozen=True)
class TraceLimits:
    """The limits of a trace, each under its name in the request; the first one that is reached ends it."""

    seconds: Annotated[
        float, typer.Option("--seconds", min=1, max=3600, metavar="N", help="End after N seconds.")
    ] = 60
    lines: Annotated[
        int, typer.Option("--lines", min=1, max=1_000_000, metavar="N", help="End after N lines.")
    ] = 10_000
    bytes: Annotated[
        int, typer.Option("--bytes", min=1000, max=1_000_000_000, metavar="N", help="End after N bytes.")
    ] = 10_000_000


@spread_groups
def trace(
    chosen: TraceFilter,
    limits: TraceLimits,
    server: SocketOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print each line as a line of JSON.")] = False,
) -> None:
    """Print the dialogues of some sessions, line by line.

    The command shows each line between the client, geomail and the backend, until
    the client is logged in; it never shows mail. Choose the sessions by --user or
    --client. Secrets are masked, also if a client or backend repeats them.

    geomail knows a user from the login on: it keeps the lines before the login,
    and shows them then. The trace ends at the first limit, or by Ctrl-C.

    Exit status: 0 ended by a limit or Ctrl-C, 1 the server refused, 2 wrong
    usage, 69 no server runs there, 77 no permission.
    """
    if not chosen.user and not chosen.client:
        raise typer.BadParameter("no session is chosen: give --user or --client")
    selection = chosen.make_selection()
    try:
        with server.find().connect() as connection:
            for answer in connection.ask("trace", select=selection, **asdict(limits)):
                _show(answer, as_json)
                if not connection.has_more:
                    sys.stdout.flush()
    except ControlError as error:
        sys.stdout.flush()
        raise error.report() from None
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        output.abandon_stdout()


def _show(answer: dict[str, Any], as_json: bool) -> None:
    answer.pop("id", None)
    if "event" in answer or ("lost" in answer and as_json):
        sys.stdout.write((json.dumps(answer) if as_json else _format_line(answer)) + "\n")
        return
    sys.stdout.flush()
    if "lost" in answer:
        _report(f"{pluralize(answer['lost'], 'line')} lost: this terminal or pipe is too slow")
    elif "tracing" in answer:
        _report(f"tracing for {answer['tracing']['seconds']:g} s; Ctrl-C ends it")
    elif "done" in answer:
        done = answer["done"]
        lost = f", {done['lost']} lost" if done["lost"] else ""
        _report(f"the trace has ended: {_REACHED[done['reached']]}; {pluralize(done['lines'], 'line')}{lost}")


def _format_line(event: dict[str, Any]) -> str:
    when = event["time"]
    stamp = f"{time.strftime('%H:%M:%S', time.localtime(when))}.{int(when * 1000) % 1000:03d}"
    arrow = _ARROWS.get((event["leg"], event["direction"]), "** ")
    because = f"   # {event['because']}" if event["because"] else ""
    return escape_unprintable(f"{stamp} {event['session']} {arrow}{event['line']}{because}")


def _report(text: str) -> None:
    output.make_error_console().print(
        f"geomail: {escape_unprintable(text)}", style="bold yellow", markup=False
    )
