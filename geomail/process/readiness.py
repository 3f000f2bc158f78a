"""The report of a child to its master that it serves, or why it cannot."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

from gevent import monkey

_poll = monkey.get_original("select", "poll")
#: The message of a child that serves; no text on a failure begins with it.
_SERVING = b"\0"
_LONGEST = 4000
#: Milliseconds between two checks whether the wait must end early.
_LOOK_EVERY = 100


class Readiness:
    """A pipe from one child to the master, made before the fork.

    After the fork, the child first calls ``in_child``, and the master ``in_master``.
    """

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()
        self._has_reported = False

    def in_child(self) -> None:
        """Close the reading end, in the child."""
        os.close(self._reads)

    def in_master(self) -> None:
        """Close the writing end, in the master."""
        os.close(self._writes)

    def report(self, failure: str = "") -> None:
        """Report that the child serves, or why it does not; later calls report nothing.

        It never waits, as a pipe has room for one report. If another child has failed first, the master
        does not read any more: then this child goes on until the master ends it.
        """
        if not self._has_reported:
            self._has_reported = True
            with suppress(BrokenPipeError):
                os.write(self._writes, failure.encode("utf-8", "replace")[:_LONGEST] or _SERVING)
            os.close(self._writes)

    def fileno(self) -> int:
        """Return the descriptor of the reading end."""
        return self._reads

    def await_result(self) -> str:
        """Wait for the report or the end of the child; return why it does not serve, empty if it does."""
        text = os.read(self._reads, _LONGEST)
        return (
            "" if text == _SERVING else text.decode("utf-8", "replace") or "a worker ended without a report"
        )

    def close(self) -> None:
        """Close the reading end: in the master at the end, or in another child."""
        os.close(self._reads)


def await_all(waiting: Iterable[Readiness], seconds: float, ending: Iterable[signal.Signals]) -> str:
    """Wait until all children serve; return why one does not, or not in time; empty if all do.

    The wait ends early when one child has failed, or one of the blocked signals ``ending`` has come.
    """
    deadline = time.monotonic() + seconds
    left = {child.fileno(): child for child in waiting}
    poll = _poll()
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    while left:
        for descriptor, _ in poll.poll(_LOOK_EVERY):
            poll.unregister(descriptor)
            if failure := left.pop(descriptor).await_result():
                return failure
        if signal.sigpending() & set(ending):
            return "geomail is stopping"
        if time.monotonic() > deadline:
            return f"a worker did not start to serve within {seconds:g} s"
    return ""
