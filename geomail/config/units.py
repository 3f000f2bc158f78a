"""Values as nginx writes them: read, written, and shown to the operator.

Every reader raises ValueError with the whole message: what was found, what is allowed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer


@dataclass(frozen=True, slots=True)
class ValueForm:
    """How values of a type are written, in the manual's words."""

    form: str


_WHOLE_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_TIME_UNITS = {**_WHOLE_UNITS, "ms": 0.001}
#: Where a second is the smallest unit, M is a month.
_SECONDS_UNITS = {"y": 31536000.0, "M": 2592000.0, **_WHOLE_UNITS}
_TIME_TERM = re.compile(r"(\d{1,12})(ms|[yMwdhms])? *", re.ASCII)
_LONGEST_TIME = 1e9
_SIZE = re.compile(r"(\d{1,12})([kKmM]?)", re.ASCII)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}
_NO_TIME = 'is no time; allowed: a number of seconds, or text such as "24h", "1m30s", "500ms"'
_NO_SIZE = 'is no size; allowed: a number of bytes, or text such as "8k", "1m"'
_SHOWN_LENGTH = 60


def escape_unprintable(text: str) -> str:
    """The text with everything escaped that a terminal could take for an order."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(value: object) -> str:
    """A value from the file as a message shows it: safe to print, and short."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    text = quote(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


def quote(text: str) -> str:
    """A text in quotes as a message shows it: safe to print, and whole (the name of a file, say)."""
    return escape_unprintable(json.dumps(text, ensure_ascii=False))


def parse_flag(value: object) -> bool:
    """Read ``true``, ``false``, ``"on"`` or ``"off"``."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("on", "off"):
        return value.lower() == "on"
    raise ValueError(f'{show(value)} is unknown; allowed: true, false, "on", "off"')


def parse_number(value: object) -> int:
    """Read a whole number, zero or more; digits in quotes are one too."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise ValueError(f"{show(value)} is no number; allowed: 0, 1, 2, …")


def parse_size(value: object) -> int:
    """Read a size in bytes: ``4096``, ``"8k"``, ``"1m"``."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{show(value)} {_NO_SIZE}")
    return int(match[1]) * _SIZE_UNITS[match[2].lower()]


def format_size(size: int | None) -> int | str | None:
    """Write a size in the largest unit that fits."""
    if size is None:
        return None
    for unit in ("m", "k"):
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}"
    return size


def parse_time(value: object) -> float:
    """Read a time in seconds: ``60``, ``"24h"``, ``"1m30s"``, ``"1h 30m"``, ``"500ms"``."""
    return _parse_time(value, _TIME_UNITS)


def parse_seconds(value: object) -> float:
    """Read a time in whole seconds, as nginx does for TLS sessions: ``300``, ``"5m"``, ``"1M 2w"``."""
    return float(int(_parse_time(value, _SECONDS_UNITS)))


def _parse_time(value: object, units: Mapping[str, float]) -> float:
    if isinstance(value, str):
        seconds: int | float = _add_terms(value, units)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        seconds = value
    else:
        raise ValueError(f"{show(value)} {_NO_TIME}")
    if seconds > _LONGEST_TIME:
        raise ValueError(f"{show(value)}: a time has at most {_LONGEST_TIME:.0f} seconds")
    return float(seconds)


def _add_terms(text: str, units: Mapping[str, float]) -> float:
    total, position, smaller = 0.0, 0, list(units)
    while match := _TIME_TERM.match(text, position):
        unit = match[2] or "s"
        if unit not in smaller:
            raise ValueError(
                f"{show(text)}: the units of a time go from large to small, each once: {' '.join(units)}"
            )
        smaller = smaller[smaller.index(unit) + 1 :]
        total += int(match[1]) * units[unit]
        position = match.end()
    if not text or position < len(text):
        raise ValueError(f"{show(text)} {_NO_TIME}")
    return total


def parse_workers(value: object) -> int:
    """Read a number of processes; ``auto`` is one for each processor this one may run on."""
    if isinstance(value, str) and value.lower() == "auto":
        return len(os.sched_getaffinity(0))
    count = parse_number(value)
    if count == 0:
        raise ValueError("0: at least one worker is wanted, or auto")
    return count


def format_time(seconds: float) -> str:
    """Write a time in hours, minutes, seconds and milliseconds."""
    left, text = round(seconds * 1000), ""
    for unit, milliseconds in (("h", 3600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, milliseconds)
        text += f"{count}{unit}" if count else ""
    return text or "0"


def _require_above_zero(value: float) -> float:
    if value == 0:
        raise ValueError("0: it must be more than zero")
    return value


def parse_words(value: object) -> tuple[object, ...]:
    """Read a list of words, as an array or as one text; a repeated word counts once."""
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list | tuple):
        raise ValueError(
            f'{show(value)}: an array of words is wanted, or one text with spaces: "plain login"'
        )
    words = tuple(word.lower() if isinstance(word, str) else word for word in value)
    if not words:
        raise ValueError("empty: at least one word is wanted")
    return drop_repeats(words)


def drop_repeats(items: tuple[object, ...]) -> tuple[object, ...]:
    """The items, each at its first place only."""
    kept: list[object] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return tuple(kept)


def parse_choice(value: object) -> object:
    """Read a word whose case does not matter; ``true`` is ``"on"``, ``false`` is ``"off"``."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value.lower() if isinstance(value, str) else value


Flag = Annotated[bool, BeforeValidator(parse_flag), ValueForm("on | off")]
Number = Annotated[int, BeforeValidator(parse_number), ValueForm("number")]
Workers = Annotated[int, BeforeValidator(parse_workers), ValueForm("number | auto")]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    AfterValidator(_require_above_zero),
    PlainSerializer(format_size),
    ValueForm("size"),
]
Time = Annotated[float, BeforeValidator(parse_time), PlainSerializer(format_time), ValueForm("time")]
Timeout = Annotated[
    float,
    BeforeValidator(parse_time),
    AfterValidator(_require_above_zero),
    PlainSerializer(format_time),
    ValueForm("time"),
]
Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    AfterValidator(_require_above_zero),
    PlainSerializer(format_time),
    ValueForm("time"),
]
