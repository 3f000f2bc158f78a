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
#: What a child says when it serves; what it says of a failure never begins so.
_SERVING = b"\0"
_LONGEST = 4000
#: Milliseconds until it is seen that the wait itself is to end.
_LOOK_EVERY = 100


class Readiness:
    """A pipe from one child, made before the fork; then each side says first which one it is."""

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()
        self._told = False

    def in_child(self) -> None:
        """Keep the writing end alone."""
        os.close(self._reads)

    def in_master(self) -> None:
        """Keep the reading end alone."""
        os.close(self._writes)

    def tell(self, failure: str = "") -> None:
        """In the child: say that it serves, or why it does not; what is said later is not heard.

        It never waits, as a pipe has room for that. The master does not listen any more where another
        child has failed first: the child goes on then, until the master ends it.
        """
        if not self._told:
            self._told = True
            with suppress(BrokenPipeError):
                os.write(self._writes, failure.encode("utf-8", "replace")[:_LONGEST] or _SERVING)
            os.close(self._writes)

    def fileno(self) -> int:
        """The reading end."""
        return self._reads

    def hear(self) -> str:
        """In the master: why the child does not serve, empty if it does. It waits for its word or its end."""
        said = os.read(self._reads, _LONGEST)
        return "" if said == _SERVING else said.decode("utf-8", "replace") or "a worker ended without a word"

    def close(self) -> None:
        """In the master, when it is done, or in a child that is another one: close the reading end."""
        os.close(self._reads)


def await_all(waiting: Iterable[Readiness], seconds: float, ending: Iterable[signal.Signals]) -> str:
    """Wait until all children serve; why they do not, if one does not, or not in time.

    It ends as soon as one has failed, or as one of the signals ``ending``, which are blocked, has come.
    """
    deadline = time.monotonic() + seconds
    left = {child.fileno(): child for child in waiting}
    poll = _poll()
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    while left:
        for descriptor, _ in poll.poll(_LOOK_EVERY):
            poll.unregister(descriptor)
            if failure := left.pop(descriptor).hear():
                return failure
        if signal.sigpending() & set(ending):
            return "geomail ends"
        if time.monotonic() > deadline:
            return f"a worker does not serve after {seconds:g} s"
    return ""
