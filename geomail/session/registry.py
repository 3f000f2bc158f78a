"""The live sessions of one worker: it runs, parks, finds, lists and ends them."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from geomail.control.selection import parse_selection
from geomail.errors import Kicked, SessionError
from geomail.net.parking import Parking

if TYPE_CHECKING:
    from geomail.net.crew import Crew
    from geomail.net.relay import Relay
    from geomail.session.session import Session

#: Sessions on one page, and sessions examined for it: mail waits while a page is made.
PAGE = 250
SCANNED = 2000


class Sessions:
    """The live sessions, oldest first; each runs in a greenlet of ``crew``, or is parked."""

    def __init__(self, crew: Crew) -> None:
        self.parking = Parking(self._resume)
        self._crew = crew
        self._live: dict[int, Session] = {}
        self._numbers = itertools.count(1)
        self._prefix = secrets.token_hex(5)
        self._left = Event()

    def __len__(self) -> int:
        return len(self._live)

    def make_id(self) -> tuple[int, str]:
        """Make the number and the id of a new session.

        The id is unique over machines and restarts: a random prefix for the
        process, and the number.
        """
        number = next(self._numbers)
        return number, f"{self._prefix}-{number:x}"

    def add(self, number: int, session: Session) -> None:
        """Add a live session."""
        self._live[number] = session

    def start(self, number: int, session: Session) -> None:
        """Add a new session, and run it soon."""
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
        """Wait until a session ends, at most ``seconds``."""
        self._left.clear()
        self._left.wait(seconds)

    def end_all(self, error: SessionError, seconds: float) -> None:
        """End every session within ``seconds``, with a farewell if the client can understand it."""
        for session in tuple(self._live.values()):
            session.end(error)
        deadline = time.monotonic() + seconds
        while self._live and (left := deadline - time.monotonic()) > 0:
            self.await_leaving(left)
        for session in tuple(self._live.values()):
            if session.job is not None:
                session.job.kill()

    def trace_all(self) -> None:
        """Let the new traces see the live sessions that they select."""
        for number, session in enumerate(tuple(self._live.values())):
            session.begin_trace()
            if number % PAGE == 0:
                gevent.sleep(0)

    # -- requests of the console ------------------------------------------------------------------

    def list_page(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return a page of the sessions that ``select`` matches, after session number ``after``.

        The answer's ``after`` is the number to ask for the next page with, None at the end.
        Raises BadSelection.
        """
        return self._make_page(asked)

    def kick_page(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return a page as :meth:`list_page` does, and end the sessions on it soon."""
        return self._make_page(asked, kick=True)

    def _make_page(self, asked: dict[str, Any], kick: bool = False) -> dict[str, Any]:
        selection, last = parse_selection(asked["select"]), asked["after"]
        found: list[dict[str, Any]] = []
        for scanned, (number, session) in enumerate(self._iterate_after(last)):
            if scanned == SCANNED or len(found) == PAGE:
                return {"sessions": found, "after": last}
            row = session.describe()
            if selection.matches(row):
                found.append(row)
                if kick:
                    session.end(Kicked("kicked by an operator"))
            last = number
        return {"sessions": found, "after": None}

    def _iterate_after(self, number: int) -> Iterator[tuple[int, Session]]:
        for at, session in self._live.items():
            if at > number:
                yield at, session
