"""A cache for the answers of an auth service that let clients in (``auth_http_cache``)."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from gevent import get_hub

if TYPE_CHECKING:
    from geomail.backends import Route

#: Answers that one process keeps for one server; the oldest is dropped first.
MOST_KEPT = 10_000
#: Seconds between two searches for answers whose time is over.
_SWEEP = 0.5


@dataclass(frozen=True, slots=True)
class Kept:
    """A service's answer about a login: the backend, and the new user and password; None: the client's."""

    route: Route
    user: bytes | None
    password: bytes | None = field(repr=False)


class AnswerCache:
    """The answers of one service, each kept for ``seconds``; refusals are never kept.

    A key is a hash over the whole question, with a secret of this process. So
    the cache holds nothing that a client sent, and drops the service's own
    values within a second after their time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._secret = secrets.token_bytes(32)
        self._answers: dict[bytes, tuple[float, Kept]] = {}
        self._timer: Any = None

    def key(self, question: bytes) -> bytes:
        """Return the key under which the answer to this question is kept."""
        return blake2b(question, key=self._secret, digest_size=32).digest()

    def get(self, key: bytes) -> Kept | None:
        """Return the answer under this key; None if there is none, or if it is too old."""
        until, kept = self._answers.get(key, (0.0, None))
        return kept if time.monotonic() < until else None

    def put(self, key: bytes, answer: Kept) -> None:
        """Keep an answer."""
        self._answers.pop(key, None)
        self._answers[key] = time.monotonic() + self._seconds, answer
        if len(self._answers) > MOST_KEPT:
            del self._answers[next(iter(self._answers))]
        if self._timer is None:
            self._timer = get_hub().loop.timer(_SWEEP, _SWEEP, ref=False)
            self._timer.start(self._sweep)

    def drop(self, key: bytes) -> None:
        """Drop the answer under this key, if there is one."""
        self._answers.pop(key, None)

    def close(self) -> None:
        """Drop all answers."""
        self._answers.clear()
        self._stop()

    def _sweep(self) -> None:
        """Drop the answers whose time is over; the oldest comes first, as all are kept equally long."""
        now = time.monotonic()
        while self._answers:
            key = next(iter(self._answers))
            if now < self._answers[key][0]:
                return
            del self._answers[key]
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
