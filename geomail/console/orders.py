"""Orders that the console has sent to another process, and their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.event import AsyncResult

from geomail.errors import GeomailError


class PendingOrders:
    """The orders on one connection that have no answer yet, by their ids."""

    def __init__(self) -> None:
        self._results: dict[int, AsyncResult[dict[str, Any]]] = {}
        self._last_id = 0

    def send(self, send: Callable[[int], None], seconds: float) -> dict[str, Any] | None:
        """Send an order by calling ``send`` with a new id, and return its answer.

        Return None if no answer came within ``seconds``; raise what :meth:`fail` was given.
        """
        self._last_id += 1
        number = self._last_id
        result = self._results[number] = AsyncResult()
        try:
            send(number)
            result.wait(seconds)
            return result.get(block=False) if result.ready() else None
        finally:
            del self._results[number]

    def take(self, number: object, answer: dict[str, Any]) -> None:
        """Hand an answer to the caller that waits for it, if it still does."""
        if isinstance(number, int) and (result := self._results.get(number)) is not None:
            result.set(answer)

    def fail(self, error: GeomailError) -> None:
        """Raise an error in all callers that wait: no answer can come any more."""
        for result in self._results.values():
            result.set_exception(error)
