"""Values in nginx's form: geomail reads them, writes them, and shows them to operators.

Every ``parse_`` function raises ValueError with the complete message: what is allowed, and the value.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ValueForm:
    """The form of a type's values in the manual."""

    form: str


_WHOLE_UNITS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_TIME_UNITS = {**_WHOLE_UNITS, "ms": 0.001}
#: In options whose smallest unit is a second, M is a month.
_SECONDS_UNITS = {"y": 31536000.0, "M": 2592000.0, **_WHOLE_UNITS}
_TIME_TERM = re.compile(r"(\d{1,12})(ms|[yMwdhms])? *", re.ASCII)
_LONGEST_TIME = 1e9
_SIZE = re.compile(r"(\d{1,12})([kKmM]?)", re.ASCII)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}
_TIME = 'must be a number of seconds, or text such as "24h", "1m30s" or "500ms"'
_SHOWN_LENGTH = 60


def escape_unprintable(text: str) -> str:
    """Escape every character that a terminal could take for a command."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def either_of(words: Iterable[str]) -> str:
    """Write the words as a choice: ``smtp, imap or pop3``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def show(value: object) -> str:
    """Return a value from the file in the form that messages use: safe to print, and short."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    text = quote(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


def quote(text: str) -> str:
    """Return a text in quotes for a message: safe to print and complete, as for the name of a file."""
    return escape_unprintable(json.dumps(text, ensure_ascii=False))


def parse_flag(value: object) -> bool:
    """Read ``true``, ``false``, ``"on"`` or ``"off"``."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("on", "off"):
        return value.lower() == "on"
    raise ValueError(f'must be true, false, "on" or "off", not {show(value)}')


def parse_number(value: object) -> int:
    """Read a whole number, 0 or more; digits in quotes are a number too."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise ValueError(f"must be a whole number, 0 or more, not {show(value)}")


def parse_size(value: object) -> int:
    """Read a size in bytes: ``4096``, ``"8k"``, ``"1m"``."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'must be a number of bytes, or text such as "8k" or "1m", not {show(value)}')
    return int(match[1]) * _SIZE_UNITS[match[2].lower()]


def format_size(size: int | None) -> int | str | None:
    """Write a size in the largest unit that divides it."""
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
        raise ValueError(f"{_TIME}, not {show(value)}")
    if seconds > _LONGEST_TIME:
        raise ValueError(f"must be at most {_LONGEST_TIME:.0f} seconds, not {show(value)}")
    return float(seconds)


def _add_terms(text: str, units: Mapping[str, float]) -> float:
    total, position, smaller = 0.0, 0, list(units)
    while match := _TIME_TERM.match(text, position):
        unit = match[2] or "s"
        if unit not in smaller:
            raise ValueError(
                f"{show(text)}: write the units of a time from large to small, each once: {' '.join(units)}"
            )
        smaller = smaller[smaller.index(unit) + 1 :]
        total += int(match[1]) * units[unit]
        position = match.end()
    if not text or position < len(text):
        raise ValueError(f"{_TIME}, not {show(text)}")
    return total


def parse_workers(value: object) -> int:
    """Read a number of processes; ``auto`` means one for each processor that geomail may use."""
    if isinstance(value, str) and value.lower() == "auto":
        return len(os.sched_getaffinity(0))
    with contextlib.suppress(ValueError):
        if count := parse_number(value):
            return count
    raise ValueError(f'must be at least 1, or "auto", not {show(value)}')


def format_time(seconds: float) -> str:
    """Write a time in hours, minutes, seconds and milliseconds."""
    left, text = round(seconds * 1000), ""
    for unit, milliseconds in (("h", 3600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, milliseconds)
        text += f"{count}{unit}" if count else ""
    return text or "0"


def _require_above_zero(value: float) -> float:
    if value == 0:
        raise ValueError("must be more than 0, not 0")
    return value


def parse_words(value: object) -> tuple[object, ...]:
    """Read words from an array or from one text; a repeated word counts once."""
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list | tuple):
        raise ValueError(f'must be an array of words, or one text such as "plain login", not {show(value)}')
    words = tuple(word.lower() if isinstance(word, str) else word for word in value)
    if not words:
        raise ValueError("must have at least one word")
    return drop_repeats(words)


def drop_repeats(items: tuple[object, ...]) -> tuple[object, ...]:
    """Return the items without repeats: each stays at its first place."""
    kept: list[object] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return tuple(kept)


def parse_setting(name: str, value: object, parse: Callable[[object], _T]) -> _T:
    """Read the value of ``name=value``; a message starts with the name."""
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def parse_choice(value: object) -> object:
    """Read a word in any case; ``true`` means ``"on"``, ``false`` means ``"off"``."""
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
