"""Events as lines for people: one line each, in columns, in colour where that is wanted."""

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
#: Columns start as wide as this, and grow with what they hold up to the second number.
_WIDTHS = {"session": (13, 20), "user": (20, 36), "client": (15, 39), "backend": (18, 40)}
#: Where a line may not have room, they start narrower.
_NARROW, _NARROW_START = 140, 9


class EventLines:
    """Makes lines for a terminal of ``width``, or for a pipe, where they have a date.

    Columns grow with what they hold, so that they stay in line.
    """

    def __init__(self, *, colour: bool, width: int | None) -> None:
        self._colour = colour
        self._clock = "%Y-%m-%dT%H:%M:%S" if width is None else "%H:%M:%S"
        self._widths = {field: least for field, (least, _) in _WIDTHS.items()}
        if width is not None and width < _NARROW:
            self._widths |= dict.fromkeys(("user", "client", "backend"), _NARROW_START)

    def line(self, record: Record) -> str:
        """One event."""
        word = escape_unprintable(str(record["outcome"])) if "outcome" in record else _word(record)
        style = _STYLES.get(word, _TROUBLE)
        parts = [
            self._styled(self._time(record), _DIM),
            self._styled(self._column(record, "session"), _DIM),
            f"{escape_unprintable(str(record.get('protocol', '')))[:4]:<4}",
            self._styled(f"{word:<{_WORD_WIDTH}}", style),
            self._column(record, "user"),
            self._column(record, "client"),
            self._column(record, "backend"),
            _details(record),
        ]
        return "  ".join(parts).rstrip()

    def _time(self, record: Record) -> str:
        when = float(record["time"])
        return f"{time.strftime(self._clock, time.localtime(when))}.{int(when * 1000) % 1000:03d}"

    def _column(self, record: Record, field: str) -> str:
        text = escape_unprintable(str(record.get(field) or "-"))
        length = cell_len(text)
        if length > self._widths[field]:
            self._widths[field] = min(length, _WIDTHS[field][1])
        return text + " " * (self._widths[field] - length)

    def _styled(self, text: str, style: Style) -> str:
        return style.render(text, color_system=ColorSystem.STANDARD) if self._colour else text


def _word(record: Record) -> str:
    return _WORDS.get(record["event"]) or escape_unprintable(str(record["event"]))


def _details(record: Record) -> str:
    """What kinds of events have of their own."""
    parts = []
    if "outcome" in record:
        parts += [f"in {units.size(record['bytes_in'])}", f"out {units.size(record['bytes_out'])}"]
        parts.append(units.duration(record["duration"]))
    elif record.get("method"):
        parts.append(escape_unprintable(str(record["method"])))
    if reason := record.get("reason") or record.get("text"):
        side = record.get("by") or record.get("side")
        parts.append(escape_unprintable(f"{side}: {reason}" if side else str(reason)))
    if "generation" in record:
        parts.append(f"generation {record['generation']}")
    if "worker" in record:
        parts.append(f"worker {record['worker']}")
    return "  ".join(parts)
