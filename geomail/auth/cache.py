"""Good answers of an auth service, kept for a short while (``auth_http_cache``)."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from gevent import get_hub

if TYPE_CHECKING:
    from geomail.backends import Route

#: Answers that one process keeps for one server; the oldest goes first.
MOST_KEPT = 10_000
#: Seconds between two looks for answers whose time is over.
_SWEEP = 0.5


@dataclass(frozen=True, slots=True)
class Kept:
    """A service's answer about a login: the backend, and what it replaced; None is what the client gave."""

    route: Route
    user: bytes | None
    password: bytes | None = field(repr=False)


class AnswerCache:
    """Answers that let a client in, each for ``seconds``; refusals are never kept.

    A key is a hash with a secret of this process over the whole question. So
    nothing that a client gave is held here, and what the service gave is gone
    within a second after its time.
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
        """The answer that is kept, if it is young enough."""
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
        """Keep this answer no longer: it has turned out to be wrong."""
        self._answers.pop(key, None)

    def close(self) -> None:
        """Keep nothing any more."""
        self._answers.clear()
        self._stop()

    def _sweep(self) -> None:
        """All live equally long, so the oldest is the next to go."""
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
