"""``geomail tail --top``: the live sessions of a running server, on the whole screen."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent.event import Event as Signal
from rich.style import Style

from geomail.config.units import escape_unprintable
from geomail_cli import render, table, units
from geomail_cli.control import Connection, Failed, Place
from geomail_cli.render import counted
from geomail_cli.screen import Screen
from geomail_cli.table import Column

#: Seconds between two looks at the server, or so many times as long as one takes.
_EVERY, _SHARE = 1.0, 5.0
#: Seconds within which a new size of the terminal is noticed.
_GLANCE = 0.25

#: Columns that are left out where the terminal is narrower than this.
_WIDE, _DISPENSABLE = 100, ("protocol", "state", "idle")

Row = dict[str, Any]

_COLUMNS = (*table.SESSION_COLUMNS, Column("rate", "RATE", units.rate, right=True))


@dataclass(frozen=True)
class Order:
    """One way to sort: what it is called, the column, and whether the largest comes first."""

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
_HELP = " ".join(("q quit r flip", *(f"{key} {order.name}" for key, order in _ORDERS.items())))
_HEAD, _PLAIN, _BOLD = Style(reverse=True), Style(), Style(bold=True)
_TROUBLE = Style(color="red", bold=True)


@dataclass
class Picture:
    """What is known of the server; ``trouble`` tells why it is not of now."""

    time: float = 0.0
    status: dict[str, Any] = field(default_factory=dict)
    sessions: list[Row] = field(default_factory=list)
    trouble: str = ""


class Top:
    """Shows the sessions that are selected, until a key ends it."""

    def __init__(self, place: Place, select: dict[str, list[str]]) -> None:
        self._place = place
        self._select = select
        self._order, self._turned = _ORDERS["t"], False
        self._picture = Picture()
        self._new = Signal()

    def run(self) -> None:
        """Draw until q. Raises Failed if no server runs there at first."""
        connection = self._place.connect()
        colour = render.stdout().color_system is not None
        looking = gevent.spawn(self._keep_looking, connection)
        try:
            with Screen(colour=colour) as screen:
                while (key := self._await_key(screen)) != "q":
                    self._obey(key)
        finally:
            looking.kill()

    # -- the server -------------------------------------------------------------------------------

    def _keep_looking(self, connection: Connection | None) -> None:
        while True:
            pause, began = _EVERY, time.monotonic()
            try:
                connection = connection or self._place.connect()
                self._look(connection)
                took = time.monotonic() - began
                pause = max(_EVERY - took, took * _SHARE)
            except Failed as failed:
                connection = None
                self._picture.trouble = str(failed)
            self._new.set()
            gevent.sleep(pause)

    def _look(self, connection: Connection) -> None:
        old, now = self._picture, time.time()
        moved = {one["session"]: one["bytes_in"] + one["bytes_out"] for one in old.sessions}
        status, sessions = connection.done("status"), connection.sessions("who", self._select)
        for one in sessions:
            bytes_now = one["bytes_in"] + one["bytes_out"]
            one["rate"] = (bytes_now - moved.get(one["session"], bytes_now)) / max(now - old.time, 0.1)
            one["age"] = max(0.0, now - one["started"])
        self._picture = Picture(now, status, sessions)

    # -- the screen -------------------------------------------------------------------------------

    def _await_key(self, screen: Screen) -> str:
        """Draw what is known, again when there is more to know, until a key is pressed."""
        size = None
        while True:
            if self._new.is_set() or screen.is_blank or screen.size != size:
                self._new.clear()
                size = screen.size
                screen.draw(self._lines(*size))
            if key := screen.key(_GLANCE):
                return key

    def _obey(self, key: str) -> None:
        if key == "r":
            self._turned = not self._turned
        elif key in _ORDERS:
            self._order, self._turned = _ORDERS[key], False

    def _lines(self, width: int, height: int) -> list[tuple[str, Style]]:
        picture = self._picture
        if not picture.status:
            return [(picture.trouble or "waiting for the server …", _TROUBLE)]
        rows = self._sorted(picture.sessions)[: max(0, height - 5)]
        columns = _COLUMNS if width >= _WIDE else [one for one in _COLUMNS if one.name not in _DISPENSABLE]
        head, *body = table.lines(columns, rows, width)
        lines = [(_server(picture), _BOLD), (_load(picture), _PLAIN)]
        lines.append((picture.trouble, _TROUBLE) if picture.trouble else (self._shown(len(rows)), _PLAIN))
        lines += [(head, _HEAD), *((line, _PLAIN) for line in body)]
        lines += [("", _PLAIN)] * (height - 1 - len(lines))
        return [*lines, (_HELP, _HEAD)]

    def _sorted(self, sessions: list[Row]) -> list[Row]:
        column = self._order.column
        known = [one for one in sessions if one[column] not in (None, "")]
        unknown = [one for one in sessions if one[column] in (None, "")]
        known.sort(key=lambda one: one[column], reverse=self._order.largest_first != self._turned)
        return known + unknown

    def _shown(self, number: int) -> str:
        chosen = " ".join(f"{field}={mask}" for field, masks in self._select.items() for mask in masks)
        turned = ", reversed" if self._turned else ""
        return escape_unprintable(
            f"showing {number} of {len(self._picture.sessions)}, by {self._order.name}{turned}"
            f"{'; only ' if chosen else ''}{chosen}"
        )


def _server(picture: Picture) -> str:
    status = picture.status
    return escape_unprintable(
        f"geomail {status['version']}  up {units.duration(status['now'] - status['started'])}"
        f"  {counted(len(status['workers']), 'worker')}"
        f"  generation {status['configuration']['generation']}"
        f"  {time.strftime('%H:%M:%S', time.localtime(picture.time))}"
    )


def _load(picture: Picture) -> str:
    status, rates = picture.status, picture.status["rates"]
    counts = "  ".join(
        f"{name} {units.size(status['totals'][name])} ({units.rate(rates[name])})"
        for name in ("opened", "logins", "refused")
    )
    traffic = sum(one["rate"] for one in picture.sessions)
    return f"{counted(status['sessions'], 'session')}  {counts}  traffic {units.rate(traffic)}"
