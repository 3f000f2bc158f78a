"""The options that choose sessions (``tail``, ``trace``, ``who``, ``kick``) and the form of lists."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated

import typer

from geomail.protocols.facts import FACTS

#: Values of an option that may be given several times.
Patterns = list[str] | None


@dataclass(frozen=True)
class TraceFilter:
    """The sessions that a trace shows. Each field has the name of a field of the request's selection."""

    user: Annotated[
        Patterns,
        typer.Option(
            "--user", metavar="PATTERN", help="Only these users; * is any text, ? is any character."
        ),
    ] = None
    client: Annotated[
        Patterns,
        typer.Option("--client", metavar="CIDR", help="Only clients at this address, network or pattern."),
    ] = None
    server: Annotated[
        Patterns, typer.Option("--server", metavar="PATTERN", help="Only servers with this name in the log.")
    ] = None
    protocol: Annotated[
        Patterns,
        typer.Option("--protocol", metavar="PATTERN", help=f"Only this protocol: {', '.join(FACTS)}."),
    ] = None

    def make_selection(self) -> dict[str, list[str]]:
        """Return the selection for a request: the fields that were given. Raises BadParameter."""
        from geomail.control.selection import BadSelection, Selection

        selection = self._collect_patterns()
        try:
            Selection(selection)
        except BadSelection as error:
            raise typer.BadParameter(str(error)) from None
        return selection

    def _collect_patterns(self) -> dict[str, list[str]]:
        return {field.name: values for field in fields(self) if (values := getattr(self, field.name))}


@dataclass(frozen=True)
class SessionFilter(TraceFilter):
    """The sessions that a command lists, shows or ends."""

    backend: Annotated[
        Patterns,
        typer.Option("--backend", metavar="PATTERN", help="Only backends with this name or address."),
    ] = None
    session: Annotated[
        Patterns, typer.Option("--id", metavar="PATTERN", help="Only the session with this id.")
    ] = None


@dataclass(frozen=True)
class EventFilter(SessionFilter):
    """The events that ``tail`` prints."""

    outcome: Annotated[
        Patterns,
        typer.Option(
            "--outcome", metavar="PATTERN", help="Only sessions with this outcome; no other events."
        ),
    ] = None


@dataclass(frozen=True)
class UserFilter(SessionFilter):
    """The sessions that ``who`` and ``kick`` take, with users as arguments too."""

    users: Annotated[
        Patterns, typer.Argument(metavar="USER", help="The same as --user.", show_default=False)
    ] = None

    def _collect_patterns(self) -> dict[str, list[str]]:
        patterns = super()._collect_patterns()
        if users := patterns.pop("users", None):
            patterns["user"] = [*users, *patterns.get("user", ())]
        return patterns


class Format(StrEnum):
    """The forms of a list."""

    TABLE = "table"
    JSON = "json"
    TAB = "tab"


@dataclass(frozen=True)
class ListOptions:
    """The options that say how a list is printed."""

    form: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help="Print the list as table, json or tab.")
    ] = Format.TABLE
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False

    def choose_format(self) -> Format:
        """Return the form to print the list in."""
        return Format.JSON if self.as_json else self.form
