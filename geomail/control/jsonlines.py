"""JSON lines: how geomail's processes talk to each other, and to operators.

A line is one JSON object in ASCII, ended by LF. No line can control a
terminal, because JSON escapes all control characters.
"""

from __future__ import annotations

import json
from typing import Any

from geomail.errors import GeomailError

_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)


class BadLine(GeomailError):
    """A line that is too long, or not a JSON object."""


def encode(value: dict[str, Any]) -> bytes:
    """Return the object as one line, with its LF."""
    return _ENCODER.encode(value).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Return the object in a line. Raises BadLine."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine("a line is not JSON") from None
    if not isinstance(value, dict):
        raise BadLine("a line is not a JSON object")
    return value


class Lines:
    """The lines in a stream of bytes, each at most ``limit`` bytes long."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Add data; return the lines that are complete now, without LF. Raises BadLine if one is too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._limit or any(len(line) > self._limit for line in lines):
            raise BadLine(f"a line is longer than {self._limit} bytes")
        return lines
