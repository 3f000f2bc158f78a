"""``geomail serve``: run the proxy in the foreground."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.sinks.log import Log


def serve(
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="Configuration file.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Serve in front of a sandbox mail server, to try geomail out.")
    ] = False,
) -> None:
    """Run the proxy in the foreground.

    Without -c the file is the one that GEOMAIL_CONFIG names, else
    /etc/geomail/geomail.toml. What listens where, the build, and then one line
    for each finished session, goes to standard error.

    With --demo nothing needs to be set up: a sandbox mail server, two users, a
    certificate and a configuration are made for it, and removed at the end.

    Signals: TERM and INT end it at once, QUIT lets the sessions end first, HUP
    reads the configuration again. Exit status: 0 ended by a signal, 1 it could
    not start.
    """
    if not demo:
        from geomail.config.load import find_config

        _run(find_config(config))
        return
    if config is not None:
        raise typer.BadParameter("--demo has a configuration of its own: it does not go with -c")
    from geomail_cli.demo import set_up, show

    with set_up() as running:
        show(running)
        _run(running.file, running.sandbox)


def _run(file: Path, companion: int | None = None) -> None:
    """Run the master until it is told to stop, and say why if it cannot."""
    from geomail.errors import ConfigError, GeomailError
    from geomail.process.master import Master
    from geomail.sinks.log import Log
    from geomail_cli import render

    log = Log()
    try:
        Master(file, partial(_checked, log), log, companion).run()
    except ConfigError as error:
        for problem in error.problems:
            render.show_problem(render.stderr(), problem)
        raise typer.Exit(1) from None
    except GeomailError as error:
        log.say("error", str(error))
        raise typer.Exit(1) from None
    log.say("notice", "stopped")


def _checked(log: Log, path: Path) -> Config:
    """The configuration, if both stages of checking find no error; raises ConfigError with all of them.

    What is legal but unwise is logged.
    """
    from geomail.config.load import inspect, sort_problems
    from geomail.config.probe import probe_files
    from geomail.errors import ConfigError

    found = inspect(path)
    problems = sort_problems([*found.problems, *probe_files(found)])
    if found.config is None or any(problem.severity == "error" for problem in problems):
        raise ConfigError(problems)
    for unwise in problems:
        log.say("warning", f"{unwise.place}: {unwise.key}: {unwise.text}")
    return found.config
