"""All that the console knows of the server: the master's state, the workers, and their counters."""

from __future__ import annotations

import time
from typing import Any

import gevent
from gevent.event import Event as Signal

from geomail.console.link import Link, WorkerGone
from geomail.console.totals import Counters, Table, Totals

#: For each table, its (started, ended) counters; their difference is the active sessions.
_ACTIVE = {"servers": ("opened", "closed"), "backends": ("logins", "ended")}


class Overview:
    """The server as the console knows it.

    ``state`` is the last report of the master, ``links`` lead to the workers,
    ``protocols`` holds the protocol of each server by its name, and ``deaths``
    counts the workers that died since the console started.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.links: list[Link] = []
        self.protocols: dict[str, str] = {}
        self.deaths = 0
        self._totals = Totals()
        self._changed = Signal()

    # -- changes ----------------------------------------------------------------------------------

    def note_state(self, state: dict[str, Any]) -> None:
        """Take over a report of the master."""
        self.deaths += len(set(state["died"]) - set(self.state["died"]))
        self.state = state
        self._changed.set()

    def add(self, link: Link) -> None:
        """Note a worker that has connected and introduced itself."""
        self.links.append(link)
        self.protocols.update(link.hello["protocols"])
        self._totals.welcome(link.key, link.counters)
        self._changed.set()

    def note_briefed(self, link: Link) -> None:
        """Note that a worker knows what it must send for viewers and traces."""
        link.is_briefed = True
        self._changed.set()

    def remove(self, link: Link) -> None:
        """Drop a worker that has disconnected, and keep what it counted."""
        if link in self.links:
            self.links.remove(link)
            self._totals.retire(link.key, link.counters)
            self._changed.set()

    # -- workers ----------------------------------------------------------------------------------

    def serves_configuration_in_force(self, link: Link) -> bool:
        """Tell whether a worker was started for the configuration that is in force now."""
        return link.generation == int(self.state["generation"])

    def await_workers(self, seconds: float) -> bool:
        """Wait until all workers of the configuration in force are connected and briefed.

        Return whether that happened within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while self._count_briefed() < self.state["expected"]:
            self._changed.clear()
            if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                return False
        return True

    def _count_briefed(self) -> int:
        return sum(link.is_briefed and self.serves_configuration_in_force(link) for link in self.links)

    # -- counters ---------------------------------------------------------------------------------

    def refresh(self, seconds: float) -> list[Link]:
        """Ask all workers for their counters as they are now; return the workers that do not answer."""
        asking = {link: gevent.spawn(_refresh, link, seconds) for link in self.links}
        gevent.joinall(list(asking.values()))
        return [link for link, asked in asking.items() if not asked.value]

    def add_up(self) -> Counters:
        """Return the counters of all workers, of ended ones too, by server and by backend."""
        return self._totals.add_up(self._list_counters())

    def add_active(self, sums: Counters, table: str) -> Table:
        """Return the rows of a table, each with ``active``: the sessions in workers that still live."""
        started, ended = _ACTIVE[table]
        rows = {name: {**row, "active": 0} for name, row in sums[table].items()}
        for counters in self._list_counters():
            for name, row in counters[table].items():
                rows[name]["active"] += row[started] - row[ended]
        return rows

    def sample(self) -> None:
        """Take a sample of the counters for :meth:`compute_rates`; call it once a second."""
        self._totals.sample(self._list_counters())

    def compute_rates(self) -> dict[str, float]:
        """Return how much each counter grows in a second, over the last few seconds."""
        return self._totals.compute_rates()

    def _list_counters(self) -> list[Counters]:
        return [link.counters for link in self.links]


def _refresh(link: Link, seconds: float) -> bool:
    try:
        link.refresh(seconds)
    except WorkerGone:
        return False
    return True
