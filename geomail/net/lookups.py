"""Answers that are kept for as long as they hold, and questions that are put once for all that wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import gevent
from gevent import Greenlet

#: Seconds that an answer is kept at most.
LONGEST_LIFE = 86400.0
#: Answers that are kept.
CACHE_SIZE = 4096

T = TypeVar("T")


class Lookups(Generic[T]):
    """Answers of ``ask`` about a key, and for how many seconds that holds.

    Each question has a greenlet of its own: its answer comes, for all that wait
    and for those that come later, though the first to ask has left. There are
    ``most`` of them at a time.
    """

    def __init__(self, ask: Callable[[str], tuple[T, float]], most: float) -> None:
        self._ask = ask
        self._most = most
        self._answers: dict[str, tuple[float, T]] = {}
        self._under_way: dict[str, Greenlet[[str], T]] = {}

    def get(self, key: str, seconds: float | None = None) -> T | None:
        """The answer; None if it does not come within ``seconds``, or too many others are to come."""
        known = self._answers.get(key)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        asked = self._under_way.get(key)
        if asked is None:
            if len(self._under_way) >= self._most:
                return None
            asked = self._under_way[key] = gevent.spawn(self._learn, key)
        asked.join(seconds)
        return asked.get() if asked.ready() else None

    def last(self, key: str) -> T | None:
        """The last answer, whether it still holds or not."""
        known = self._answers.get(key)
        return None if known is None else known[1]

    def _learn(self, key: str) -> T:
        try:
            answer, life = self._ask(key)
            self._keep(key, answer, life)
            return answer
        finally:
            del self._under_way[key]

    def _keep(self, key: str, answer: T, life: float) -> None:
        self._answers.pop(key, None)
        if len(self._answers) >= CACHE_SIZE:
            del self._answers[next(iter(self._answers))]  # the oldest
        self._answers[key] = time.monotonic() + min(life, LONGEST_LIFE), answer
