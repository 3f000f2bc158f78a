"""Events as lines for operators: one line each, in columns, with colours on a terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style

from geomail.config.units import escape_unprintable
from geomail_cli import units

Record = dict[str, Any]

_WORDS = {
    "session.opened": "opened",
    "relay.started": "login",
    "login.refused": "refused",
    "remark": "remark",
    "server.reloaded": "reloaded",
    "server.reload_refused": "not reloaded",
    "server.worker_died": "worker died",
    "server.ending": "ending",
}
_STYLES = {
    "opened": Style(dim=True),
    "login": Style(color="green"),
    "refused": Style(color="yellow"),
    "remark": Style(color="yellow"),
    "done": Style(),
    "quit": Style(),
    "gone": Style(dim=True),
    "shutdown": Style(dim=True),
    "reloaded": Style(color="cyan", bold=True),
}
_TROUBLE = Style(color="red")
_DIM = Style(dim=True)
_WORD_WIDTH = 8
#: The first and the largest width of each column that grows with its values.
_WIDTHS = {"session": (13, 20), "user": (20, 36), "client": (15, 39), "backend": (18, 40)}
#: On a terminal narrower than this, columns start with this width.
_NARROW, _NARROW_START = 140, 9


class EventLines:
    """A maker of lines for a terminal of ``width``; without it, for a pipe, with the date in each line.

    Columns grow with their values, so that later lines are aligned.
    """

    def __init__(self, *, colour: bool, width: int | None) -> None:
        self._colour = colour
        self._clock = "%Y-%m-%dT%H:%M:%S" if width is None else "%H:%M:%S"
        self._widths = {field: least for field, (least, _) in _WIDTHS.items()}
        if width is not None and width < _NARROW:
            self._widths |= dict.fromkeys(("user", "client", "backend"), _NARROW_START)

    def format(self, record: Record) -> str:
        """Return the line for one event."""
        word = escape_unprintable(str(record["outcome"])) if "outcome" in record else _name_event(record)
        style = _STYLES.get(word, _TROUBLE)
        parts = [
            self._paint(self._format_time(record), _DIM),
            self._paint(self._fill_column(record, "session"), _DIM),
            f"{escape_unprintable(str(record.get('protocol', '')))[:4]:<4}",
            self._paint(f"{word:<{_WORD_WIDTH}}", style),
            self._fill_column(record, "user"),
            self._fill_column(record, "client"),
            self._fill_column(record, "backend"),
            _describe_details(record),
        ]
        return "  ".join(parts).rstrip()

    def _format_time(self, record: Record) -> str:
        when = float(record["time"])
        return f"{time.strftime(self._clock, time.localtime(when))}.{int(when * 1000) % 1000:03d}"

    def _fill_column(self, record: Record, field: str) -> str:
        text = escape_unprintable(str(record.get(field) or "-"))
        length = cell_len(text)
        if length > self._widths[field]:
            self._widths[field] = min(length, _WIDTHS[field][1])
        return text + " " * (self._widths[field] - length)

    def _paint(self, text: str, style: Style) -> str:
        return style.render(text, color_system=ColorSystem.STANDARD) if self._colour else text


def _name_event(record: Record) -> str:
    return _WORDS.get(record["event"]) or escape_unprintable(str(record["event"]))


def _describe_details(record: Record) -> str:
    """Return the fields that only some events have."""
    parts = []
    if "outcome" in record:
        parts += [
            f"in {units.format_size(record['bytes_in'])}",
            f"out {units.format_size(record['bytes_out'])}",
        ]
        parts.append(units.format_duration(record["duration"]))
    elif record.get("method"):
        parts.append(escape_unprintable(str(record["method"])))
    if reason := record.get("reason") or record.get("text"):
        side = record.get("side")
        parts.append(escape_unprintable(f"{side}: {reason}" if side else str(reason)))
    if "generation" in record:
        parts.append(f"generation {record['generation']}")
    if "worker" in record:
        parts.append(f"worker {record['worker']}")
    return "  ".join(parts)
