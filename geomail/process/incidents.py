"""Incidents of a process and not of one session: counted, and logged without a flood."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

#: Seconds in which the same words are logged once.
ONCE_IN = 1.0


class Incidents:
    """Counts incidents by kind; ``say`` is the log's, with a level and words."""

    def __init__(self, say: Callable[[str, str], object]) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)
        self._say = say
        self._silent_until: dict[str, float] = {}

    def note(self, kind: str, text: str) -> None:
        """Count an incident; log ``text``, if there is any, unless that was done a moment ago.

        ``text`` must be one of a few: it says nothing of a client or of a time.
        """
        self.counts[kind] += 1
        now = time.monotonic()
        if text and now >= self._silent_until.get(text, 0.0):
            self._silent_until[text] = now + ONCE_IN
            self._say("warning", text)
