"""The time that the hashes of a users file take to verify, measured on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from geomail import hashes
from geomail.errors import GeomailError
from geomail.hashes import Hash

#: What is added to a measured cost, for a login has more to do than to verify: a part of it, and seconds.
_MARGIN, _OVERHEAD = 1.2, 0.002
#: Seconds of a refusal at least: below that, looking up a name would tell.
LEAST = 0.01
#: Bytes of the shorter of two passwords that are measured with, and of a step in which costs grow.
_SHORT, _STEP = 16, 128
#: Seconds for which all refusals take longer after a hash has taken longer than was measured.
_SLOW_FOR = 60.0
#: The most that refusals are slowed by: a process that was stopped for a while must not hold up good logins.
_SLOWEST = 8


class Costs:
    """The cost of the most expensive hash, by the length of the password alone.

    ``longest`` is the length of the longest password that is verified. Where a
    machine is busy, hashes take longer than they did when they were measured:
    then all refusals take twice as long for a minute, or four or eight times.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._measured: dict[tuple[str, str], tuple[float, float]] = {}
        self._level = 1
        self._level_ends = 0.0

    def measure(self, known: Iterable[Hash]) -> None:
        """These are the hashes from now on. Takes as long as verifying them: never in a greenlet."""
        kinds = {(one.scheme, one.cost): one for one in known}
        self._measured = {kind: self._measured.get(kind) or self._measure(one) for kind, one in kinds.items()}

    def _measure(self, known: Hash) -> tuple[float, float]:
        short = _seconds(known, _SHORT)
        return short, _seconds(known, self._longest) if hashes.grows_with_length(known) else short

    def seconds(self, length: int) -> float:
        """Return the seconds after which a login with a password of this length is refused."""
        level = self._level if time.monotonic() < self._level_ends else 1
        return self._at_ease(length) * level

    def note(self, length: int, elapsed: float) -> None:
        """A login with a password of this length took so long, its turn and all."""
        level = math.ceil(elapsed / self._at_ease(length))
        now = time.monotonic()
        if level > 1 and (level >= self._level or now >= self._level_ends):
            self._level = min(1 << (level - 1).bit_length(), _SLOWEST)
            self._level_ends = now + _SLOW_FOR

    def _at_ease(self, length: int) -> float:
        # one that is too long is never verified, so it waits for no more than the least
        part = min(1.0, (length + _STEP) / self._longest) if length <= self._longest else 0.0
        most = max((short + (long - short) * part for short, long in self._measured.values()), default=0.0)
        return max(LEAST, most * _MARGIN + _OVERHEAD)


def _seconds(known: Hash, length: int) -> float:
    """Measure a verification: the better of two, as the machine may be busy with something else."""
    return min(_once(known, length), _once(known, length))


def _once(known: Hash, length: int) -> float:
    began = time.monotonic()
    try:
        hashes.verify(known, b"x" * length)
    except GeomailError:
        return 0.0  # nobody is refused by a hash that cannot be verified
    return time.monotonic() - began
