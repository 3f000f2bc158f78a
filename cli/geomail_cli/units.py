"""Numbers for operators: short, with a unit, in about four characters."""

from __future__ import annotations


def format_size(count: float) -> str:
    """Return bytes or another count: ``980``, ``1.2k``, ``33k``, ``1.1M``."""
    for unit in ("", "k", "M", "G", "T"):
        if count < 999.5 or unit == "T":
            return f"{count:.1f}{unit}" if unit and count < 9.95 else f"{count:.0f}{unit}"
        count /= 1000
    raise AssertionError


def format_rate(count: float) -> str:
    """Return a count per second: ``0.3/s``, ``12/s``, ``1.1M/s``."""
    return f"{count:.1f}/s" if 0 < count < 9.95 else f"{format_size(count)}/s"


def format_duration(seconds: float) -> str:
    """Return a duration: ``0.05s``, ``12s``, ``3m05s``, ``2h07m``, ``4d03h``."""
    if seconds < 9.95:
        return f"{seconds:.2f}s" if seconds < 0.995 else f"{seconds:.1f}s"
    whole = round(seconds)
    for unit, length, smaller, step in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= length:
            return f"{whole // length}{unit}{whole % length // step:02d}{smaller}"
    return f"{whole}s"
