"""The live sessions of one worker: run, parked, found by what they are, listed in pages, ended on request."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from geomail.control.selection import selection_from
from geomail.errors import Kicked, SessionError
from geomail.net.parking import Parking

if TYPE_CHECKING:
    from geomail.net.crew import Crew
    from geomail.net.relay import Relay
    from geomail.session.session import Session

#: Sessions of one page, and those looked at for it: mail waits no longer than that takes.
PAGE = 250
SCANNED = 2000


class Sessions:
    """Live sessions in the order in which they began; each runs in a greenlet of ``crew``, or is parked."""

    def __init__(self, crew: Crew) -> None:
        self.parking = Parking(self._resume)
        self._crew = crew
        self._live: dict[int, Session] = {}
        self._numbers = itertools.count(1)
        self._prefix = secrets.token_hex(5)
        self._left = Event()

    def __len__(self) -> int:
        return len(self._live)

    def new_id(self) -> tuple[int, str]:
        """Make a number for a session that is about to begin, and its id.

        The id is unique over machines and restarts: a random prefix for the
        process, and the number.
        """
        number = next(self._numbers)
        return number, f"{self._prefix}-{number:x}"

    def add(self, number: int, session: Session) -> None:
        """Note that the session lives."""
        self._live[number] = session

    def start(self, number: int, session: Session) -> None:
        """Run a new session soon, to its end."""
        self.add(number, session)
        session.job = self._crew.start(self._run, number, session)

    def _resume(self, number: int, ending: BaseException | None) -> None:
        session = self._live[number]
        session.job = self._crew.start(self._run, number, session, ending)

    def _run(self, number: int, session: Session, ending: BaseException | None = None) -> None:
        parked: Relay | None = None
        try:
            parked = session.run(ending)
        finally:
            if parked is None:
                del self._live[number]
                self._left.set()
        if parked is not None:
            session.job = None
            self.parking.hold(parked, number)

    def await_leaving(self, seconds: float | None = None) -> None:
        """Wait until a session ends, ``seconds`` at most."""
        self._left.clear()
        self._left.wait(seconds)

    def end_all(self, error: SessionError, seconds: float) -> None:
        """End every session within ``seconds``, with a goodbye if the client can take one."""
        for session in tuple(self._live.values()):
            session.end(error)
        deadline = time.monotonic() + seconds
        while self._live and (left := deadline - time.monotonic()) > 0:
            self.await_leaving(left)
        for session in tuple(self._live.values()):
            if session.job is not None:
                session.job.kill()

    def trace_all(self) -> None:
        """Show what the live sessions say from now on to the traces that select them."""
        for number, session in enumerate(tuple(self._live.values())):
            session.begin_trace()
            if number % PAGE == 0:
                gevent.sleep(0)

    # -- what the console asks for ----------------------------------------------------------------

    def listed(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return a page of the sessions that ``select`` matches, after session number ``after``.

        The answer's ``after`` is where the next page begins, None at the end.
        Raises BadSelection.
        """
        return self._page(asked)

    def kicked(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return a page as :meth:`listed` does, and end the sessions on it soon."""
        return self._page(asked, kick=True)

    def _page(self, asked: dict[str, Any], kick: bool = False) -> dict[str, Any]:
        selection, last = selection_from(asked["select"]), asked["after"]
        found: list[dict[str, Any]] = []
        for scanned, (number, session) in enumerate(self._behind(last)):
            if scanned == SCANNED or len(found) == PAGE:
                return {"sessions": found, "after": last}
            described = session.described()
            if selection.matches(described):
                found.append(described)
                if kick:
                    session.end(Kicked("kicked by an operator"))
            last = number
        return {"sessions": found, "after": None}

    def _behind(self, number: int) -> Iterator[tuple[int, Session]]:
        for at, session in self._live.items():
            if at > number:
                yield at, session
