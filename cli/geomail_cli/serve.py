"""``geomail serve``: run the proxy in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from _socket import socket as RawSocket

    from geomail.config.schema import Config, Listen, Server


def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", help="Configuration file [GEOMAIL_CONFIG, /etc/geomail/geomail.toml].", show_default=False
        ),
    ] = None,
) -> None:
    """Run the proxy in the foreground.

    Says on standard error what listens where, then logs one line per session.
    TERM and INT end it at once; QUIT lets the sessions end first.
    """
    from geomail.config.load import find_config
    from geomail.events import EventStream
    from geomail.sinks.log import Log, to_stderr
    from geomail.worker import CannotStart, Worker, bind_all

    from geomail_cli.check_config import load_or_exit

    loaded = load_or_exit(find_config(config))
    events = EventStream()
    log = Log(to_stderr)
    log.subscribe(events)
    try:
        bound = bind_all(loaded)
        worker = Worker(loaded, bound, events, log)
    except CannotStart as error:
        log.say("error", str(error))
        raise typer.Exit(1) from None
    for line in _listening(bound):
        log.say("notice", line)
    worker.run()
    log.say("notice", "stopped")


def _listening(bound: list[tuple[Server, Listen, RawSocket]]) -> list[str]:
    lines = []
    for server, listen, _ in bound:
        extras = [word for word, on in (("ssl", listen.ssl), ("proxy_protocol", listen.proxy_protocol)) if on]
        if server.starttls != "off" and not listen.ssl:
            extras.append(f"starttls {server.starttls}")
        words = f" ({', '.join(extras)})" if extras else ""
        lines.append(f"listening on {listen.label} for {server.protocol}{words} as {server.server_name}")
    return lines
