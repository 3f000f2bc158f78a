"""A cache of answers, each kept while it is valid; a question is asked once for all that wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import gevent
from gevent import Greenlet

#: The most seconds for which an answer is kept.
LONGEST_LIFE = 86400.0
#: The most answers that are kept.
CACHE_SIZE = 4096

T = TypeVar("T")


class Lookups(Generic[T]):
    """The answers of ``ask``, which returns one for a key and the seconds for which it is valid.

    Each question has a greenlet of its own. So the answer arrives for all that
    wait, and for later callers, even if the first caller has left. At most
    ``most`` questions are under way at a time.
    """

    def __init__(self, ask: Callable[[str], tuple[T, float]], most: float) -> None:
        self._ask = ask
        self._most = most
        self._answers: dict[str, tuple[float, T]] = {}
        self._under_way: dict[str, Greenlet[[str], T]] = {}

    def get(self, key: str, seconds: float | None = None) -> T | None:
        """Return the answer; None if ``seconds`` are over, or too many other questions are under way."""
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

    def get_last(self, key: str) -> T | None:
        """Return the last answer, even if it is no longer valid; None if there was none."""
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
