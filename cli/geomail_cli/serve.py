"""``geomail serve``: run the proxy in the foreground."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geomail_cli.error_reports import report_problems
from geomail_cli.option_groups import ConfigOption

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.sinks.log import Log


def serve(
    config: ConfigOption = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Try geomail out, with a sandbox mail server behind it.")
    ] = False,
) -> None:
    """Run the proxy in the foreground.

    Without -c the configuration is the file that GEOMAIL_CONFIG names, or
    /etc/geomail/geomail.toml. The log goes to standard error: the addresses
    that geomail listens on, the build, then one line for each finished session.

    --demo needs no preparation: it makes a sandbox mail server, two users, a
    certificate and a configuration, and removes them at the end.

    Signals: TERM and INT end the server at once, QUIT after the last session,
    HUP reads the configuration again. Exit status: 0 ended by a signal, 1 the
    server could not start.
    """
    if not demo:
        from geomail.config.load import find_config

        _run(find_config(config))
        return
    if config is not None:
        raise typer.BadParameter(
            "--demo and -c exclude each other, as --demo makes its own configuration: give only one"
        )
    from geomail_cli.demo import set_up, show

    with set_up() as running:
        show(running)
        _run(running.file, running.sandbox)


def _run(file: Path, companion: int | None = None) -> None:
    """Run the master until a signal ends it; report the reason if it cannot start."""
    from geomail.errors import ConfigError, GeomailError
    from geomail.process.master import Master
    from geomail.sinks.log import Log

    log = Log()
    try:
        Master(file, partial(_load_checked, log), log, companion).run()
    except ConfigError as error:
        raise report_problems(error) from None
    except GeomailError as error:
        log.say("error", str(error))
        raise typer.Exit(1) from None
    log.say("notice", "stopped")


def _load_checked(log: Log, path: Path) -> Config:
    """Return the configuration, and log its warnings. Raises ConfigError with every error of both stages."""
    from geomail.config.load import inspect, sort_problems
    from geomail.config.probe import probe_files
    from geomail.errors import ConfigError

    found = inspect(path)
    problems = sort_problems([*found.problems, *probe_files(found)])
    if found.config is None or any(problem.severity == "error" for problem in problems):
        raise ConfigError(problems)
    for warning in problems:
        log.say("warning", f"{warning.place}: {warning.key}: {warning.text}")
    return found.config
