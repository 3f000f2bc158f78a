"""The time to verify each kind of hash in a users file, measured on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from geomail import hashes
from geomail.errors import GeomailError
from geomail.hashes import Hash

#: A factor and seconds to add to a measured cost, because a login is more than a verification.
_MARGIN, _OVERHEAD = 1.2, 0.002
#: The shortest refusal in seconds: a shorter one would show how long the look-up of a name takes.
LEAST = 0.01
#: The bytes of the shorter of the two passwords that are measured, and of the steps in which costs grow.
_SHORT, _STEP = 16, 128
#: Seconds during which all refusals take longer, after a hash took longer than measured.
_SLOW_FOR = 60.0
#: The largest factor that slows refusals: a process that was stopped for a while must not delay valid logins.
_SLOWEST = 8


class Costs:
    """The cost of the most expensive hash, by the length of the password alone.

    ``longest`` is the length of the longest password that geomail verifies. On a
    busy machine, a hash takes longer than when it was measured: all refusals
    then take two, four or eight times as long for a minute.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._measured: dict[tuple[str, str], tuple[float, float]] = {}
        self._level = 1
        self._level_ends = 0.0

    def measure(self, known: Iterable[Hash]) -> None:
        """Measure these hashes, and use only them from now on. It takes long: call it in a thread."""
        kinds = {(one.scheme, one.cost): one for one in known}
        self._measured = {kind: self._measured.get(kind) or self._measure(one) for kind, one in kinds.items()}

    def _measure(self, known: Hash) -> tuple[float, float]:
        short = _measure_seconds(known, _SHORT)
        return short, _measure_seconds(known, self._longest) if hashes.grows_with_length(known) else short

    def get_refusal_seconds(self, length: int) -> float:
        """Return how many seconds the refusal of a password of this length takes."""
        level = self._level if time.monotonic() < self._level_ends else 1
        return self._estimate(length) * level

    def note(self, length: int, elapsed: float) -> None:
        """Note the time that a login with a password of this length took, with its whole turn."""
        level = math.ceil(elapsed / self._estimate(length))
        now = time.monotonic()
        if level > 1 and (level >= self._level or now >= self._level_ends):
            self._level = min(1 << (level - 1).bit_length(), _SLOWEST)
            self._level_ends = now + _SLOW_FOR

    def _estimate(self, length: int) -> float:
        # a password that is too long is never verified: its refusal is the shortest
        part = min(1.0, (length + _STEP) / self._longest) if length <= self._longest else 0.0
        most = max((short + (long - short) * part for short, long in self._measured.values()), default=0.0)
        return max(LEAST, most * _MARGIN + _OVERHEAD)


def _measure_seconds(known: Hash, length: int) -> float:
    """Measure a verification: the shorter of two, because the machine may be busy with something else."""
    return min(_time_once(known, length), _time_once(known, length))


def _time_once(known: Hash, length: int) -> float:
    began = time.monotonic()
    try:
        hashes.verify(known, b"x" * length)
    except GeomailError:
        return 0.0  # a hash that geomail cannot verify refuses no login
    return time.monotonic() - began
