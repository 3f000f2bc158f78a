"""``geomail serve``: run the proxy in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from geomail.config.schema import Config


def serve(
    config: Annotated[
        Path | None, typer.Option("-c", "--config", metavar="FILE", help="Configuration file.")
    ] = None,
) -> None:
    """Run the proxy in the foreground.

    Without -c the file is the one that GEOMAIL_CONFIG names, else
    /etc/geomail/geomail.toml. What listens where, and then one line for each
    finished session, goes to standard error.

    Signals: TERM and INT end it at once, QUIT lets the sessions end first, HUP
    reads the configuration again. Exit status: 0 ended by a signal, 1 it could
    not start.
    """
    from geomail.config.load import find_config
    from geomail.errors import ConfigError, GeomailError
    from geomail.master import Master
    from geomail.sinks.log import Log
    from geomail_cli import render

    path, log = find_config(config), Log()
    try:
        Master(path, _checked, log).run()
    except ConfigError as error:
        for problem in error.problems:
            render.show_problem(render.stderr(), problem)
        raise typer.Exit(1) from None
    except GeomailError as error:
        log.say("error", str(error))
        raise typer.Exit(1) from None
    log.say("notice", "stopped")


def _checked(path: Path) -> Config:
    """The configuration, if both stages of checking find no error; raises ConfigError with all of them."""
    from geomail.config.load import in_order, inspect
    from geomail.config.probe import probe_files
    from geomail.errors import ConfigError

    found = inspect(path)
    problems = in_order([*found.problems, *probe_files(found)])
    if found.config is None or any(problem.severity == "error" for problem in problems):
        raise ConfigError(problems)
    return found.config
