"""``geomail tail --top``: the live sessions of a running server, on the whole screen."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent.event import Event
from rich.style import Style

from geomail.config.units import escape_unprintable
from geomail_cli import output, table, units
from geomail_cli.control import Connection, ControlError, ControlSocket
from geomail_cli.output import pluralize
from geomail_cli.screen import Screen
from geomail_cli.table import Column

#: Seconds between two requests; if a request is slow, the pause is this many times its duration.
_INTERVAL, _PAUSE_FACTOR = 1.0, 5.0
#: Seconds to wait for a key before the size of the terminal is checked.
_KEY_TIMEOUT = 0.25

#: A terminal narrower than this does not show these columns.
_WIDE, _DISPENSABLE = 100, ("protocol", "state", "idle")

Row = dict[str, Any]

_COLUMNS = (*table.SESSION_COLUMNS, Column("rate", "RATE", units.format_rate, right=True))


@dataclass(frozen=True)
class Order:
    """A sort order: its name, its column, and whether the largest value comes first."""

    name: str
    column: str
    largest_first: bool = False


_ORDERS = {
    "u": Order("user", "user"),
    "c": Order("client", "client"),
    "b": Order("backend", "backend"),
    "p": Order("proto", "protocol"),
    "a": Order("age", "age", largest_first=True),
    "i": Order("idle", "idle", largest_first=True),
    "n": Order("in", "bytes_in", largest_first=True),
    "o": Order("out", "bytes_out", largest_first=True),
    "t": Order("rate", "rate", largest_first=True),
}
#: The keys, in brackets within their names: one line of 80 columns.
_HELP = " ".join(
    ("[q]uit [r] flip", *(order.name.replace(key, f"[{key}]", 1) for key, order in _ORDERS.items()))
)
_HEAD, _PLAIN, _BOLD = Style(reverse=True), Style(), Style(bold=True)
_TROUBLE = Style(color="red", bold=True)


@dataclass
class Snapshot:
    """The last state that the server reported; ``trouble``: the reason why there is no newer one."""

    time: float = 0.0
    status: dict[str, Any] = field(default_factory=dict)
    sessions: list[Row] = field(default_factory=list)
    trouble: str = ""


class TopView:
    """A table of the selected sessions, sorted, and refreshed until a key ends it."""

    def __init__(self, server: ControlSocket, selection: dict[str, list[str]]) -> None:
        self._server = server
        self._selection = selection
        self._order, self._is_reversed = _ORDERS["t"], False
        self._snapshot = Snapshot()
        self._changed = Event()

    def run(self) -> None:
        """Draw until q is pressed. Raises ControlError if no server runs at first."""
        connection = self._server.connect()
        colour = output.make_result_console().color_system is not None
        refresher = gevent.spawn(self._keep_refreshing, connection)
        try:
            with Screen(colour=colour) as screen:
                while (key := self._await_key(screen)) != "q":
                    self._obey(key)
        finally:
            refresher.kill()

    # -- the server -------------------------------------------------------------------------------

    def _keep_refreshing(self, connection: Connection | None) -> None:
        while True:
            pause, began = _INTERVAL, time.monotonic()
            try:
                connection = connection or self._server.connect()
                self._refresh(connection)
                took = time.monotonic() - began
                pause = max(_INTERVAL - took, took * _PAUSE_FACTOR)
            except ControlError as error:
                connection = None
                self._snapshot.trouble = str(error)
            self._changed.set()
            gevent.sleep(pause)

    def _refresh(self, connection: Connection) -> None:
        old, now = self._snapshot, time.time()
        bytes_before = {one["session"]: one["bytes_in"] + one["bytes_out"] for one in old.sessions}
        status = connection.ask_once("status")
        sessions = connection.ask_for_sessions("who", self._selection)
        for one in sessions:
            bytes_now = one["bytes_in"] + one["bytes_out"]
            one["rate"] = (bytes_now - bytes_before.get(one["session"], bytes_now)) / max(now - old.time, 0.1)
            one["age"] = max(0.0, now - one["started"])
        self._snapshot = Snapshot(now, status, sessions)

    # -- the screen -------------------------------------------------------------------------------

    def _await_key(self, screen: Screen) -> str:
        """Return the next key; until then draw again whenever the table or the terminal has changed."""
        size = None
        while True:
            if self._changed.is_set() or screen.is_blank or screen.size != size:
                self._changed.clear()
                size = screen.size
                screen.draw(self._make_lines(*size))
            if key := screen.read_key(_KEY_TIMEOUT):
                return key

    def _obey(self, key: str) -> None:
        if key == "r":
            self._is_reversed = not self._is_reversed
        elif key in _ORDERS:
            self._order, self._is_reversed = _ORDERS[key], False

    def _make_lines(self, width: int, height: int) -> list[tuple[str, Style]]:
        snapshot = self._snapshot
        if not snapshot.status:
            return [(snapshot.trouble or "waiting for the server …", _TROUBLE)]
        rows = self._sort(snapshot.sessions)[: max(0, height - 5)]
        columns = _COLUMNS if width >= _WIDE else [one for one in _COLUMNS if one.name not in _DISPENSABLE]
        head, *body = table.format_lines(columns, rows, width)
        lines = [(_describe_server(snapshot), _BOLD), (_describe_load(snapshot), _PLAIN)]
        lines.append(
            (snapshot.trouble, _TROUBLE) if snapshot.trouble else (self._describe_rows(len(rows)), _PLAIN)
        )
        lines += [(head, _HEAD), *((line, _PLAIN) for line in body)]
        lines += [("", _PLAIN)] * (height - 1 - len(lines))
        return [*lines, (_HELP, _HEAD)]

    def _sort(self, sessions: list[Row]) -> list[Row]:
        column = self._order.column
        known = [one for one in sessions if one[column] not in (None, "")]
        unknown = [one for one in sessions if one[column] in (None, "")]
        known.sort(key=lambda one: one[column], reverse=self._order.largest_first != self._is_reversed)
        return known + unknown

    def _describe_rows(self, number: int) -> str:
        chosen = " ".join(
            f"{field}={pattern}" for field, patterns in self._selection.items() for pattern in patterns
        )
        reverse = ", reversed" if self._is_reversed else ""
        return escape_unprintable(
            f"showing {number} of {len(self._snapshot.sessions)}, by {self._order.name}{reverse}"
            f"{'; only ' if chosen else ''}{chosen}"
        )


def _describe_server(snapshot: Snapshot) -> str:
    status = snapshot.status
    return escape_unprintable(
        f"geomail {status['version']}  up {units.format_duration(status['now'] - status['started'])}"
        f"  {pluralize(len(status['workers']), 'worker')}"
        f"  generation {status['configuration']['generation']}"
        f"  {time.strftime('%H:%M:%S', time.localtime(snapshot.time))}"
    )


def _describe_load(snapshot: Snapshot) -> str:
    status, rates = snapshot.status, snapshot.status["rates"]
    counts = "  ".join(
        f"{name} {units.format_size(status['totals'][name])} ({units.format_rate(rates[name])})"
        for name in ("opened", "logins", "refused")
    )
    traffic = sum(one["rate"] for one in snapshot.sessions)
    return f"{pluralize(status['sessions'], 'session')}  {counts}  traffic {units.format_rate(traffic)}"
