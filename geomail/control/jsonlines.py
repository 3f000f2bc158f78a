"""JSON lines: how geomail's processes, and those who watch them, talk to each other.

A line is one JSON object in ASCII, ended by LF; nothing in it can steer a
terminal, because JSON escapes what could.
"""

from __future__ import annotations

import json
from typing import Any

from geomail.errors import GeomailError

_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False)


class BadLine(GeomailError):
    """A line is too long, or is no JSON object."""


def encode(value: dict[str, Any]) -> bytes:
    """The object as one line, its LF included."""
    return _ENCODER.encode(value).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The object in a line. Raises BadLine."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise BadLine("a line is not JSON") from None
    if not isinstance(value, dict):
        raise BadLine("a line is not a JSON object")
    return value


class Lines:
    """Cuts a stream of bytes into lines of at most ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole now, without their LF. Raises BadLine if one is too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self._limit or any(len(line) > self._limit for line in lines):
            raise BadLine(f"a line of more than {self._limit} bytes")
        return lines
