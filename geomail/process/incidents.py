"""Incidents of a process, not of one session: all are counted, and few are logged."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

#: Seconds in which the same text is logged only once.
ONCE_IN = 1.0


class Incidents:
    """The incidents of a process by kind; ``say`` writes to the log, with a level and a text."""

    def __init__(self, say: Callable[[str, str], object]) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)
        self._say = say
        self._silent_until: dict[str, float] = {}

    def note(self, kind: str, text: str) -> None:
        """Count an incident; log ``text`` unless it is empty, or was logged a moment ago.

        There must be few different texts: none may contain a client or a time.
        """
        self.counts[kind] += 1
        now = time.monotonic()
        if text and now >= self._silent_until.get(text, 0.0):
            self._silent_until[text] = now + ONCE_IN
            self._say("warning", text)
