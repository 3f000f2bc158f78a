"""Parking for relays in which nothing moves: a parked relay has no greenlets.

A suspended greenlet takes some 7 KiB, and a relay has two; most sessions of a
mail server are idle most of the time. So a relay that has been silent for a
while gives up its greenlets, and its two connections are watched from here. The
first byte, or a request to end the session, wakes it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from gevent import get_hub

from geomail.errors import PeerTimeout
from geomail.net import memory

if TYPE_CHECKING:
    from geomail.net.relay import Relay

#: Seconds of silence after which a relay is parked.
PARK_AFTER = 0.25
#: Seconds between two checks of each relay that is awake.
_SWEEP = 0.125
#: The number of parts in which the relays are checked. A part parks few relays, so the next sessions can use
#: their greenlets; the greenlets of many would go back to the system and have to be made again.
_PARTS = 8
#: The memory of greenlets goes back to the system after this many relays were parked: the first number while
#: more relays are being parked, the second one after that.
_TRIM_WHILE_BUSY, _TRIM_WHEN_QUIET = 1000, 100

Ticket = TypeVar("Ticket")


class Parking(Generic[Ticket]):
    """The relays of one process, awake and parked.

    ``wake(ticket, error)`` is called in the hub when a parked relay must go on:
    without an error if bytes have come, else with the error to raise in its session.
    """

    def __init__(self, wake: Callable[[Ticket, BaseException | None], object]) -> None:
        self._wake = wake
        self._has_bytes = self._release  # one for all watchers
        self._awake: dict[Relay, None] = {}
        self._parked: dict[Relay, Ticket] = {}
        self._first_expiry = math.inf
        self._untrimmed = self._untrimmed_before = 0
        self._round: list[Relay] = []
        self._part = 0
        self._is_ticking = False
        self._timer = get_hub().loop.timer(_SWEEP / _PARTS, _SWEEP / _PARTS, ref=False)

    def __len__(self) -> int:
        return len(self._parked)

    def enter(self, relay: Relay) -> None:
        """Check a relay from now on: it runs."""
        self._awake[relay] = None
        if not self._is_ticking:
            self._is_ticking = True
            self._timer.start(self._sweep)

    def leave(self, relay: Relay) -> None:
        """Check a relay no more: it has stopped running."""
        del self._awake[relay]

    def hold(self, relay: Relay, ticket: Ticket) -> None:
        """Watch the connections of a relay that gave up its greenlets."""
        self._parked[relay] = ticket
        self._first_expiry = min(self._first_expiry, relay.expiry)
        relay.rest(self._has_bytes, relay)

    def release(self, relay: Relay, error: BaseException) -> bool:
        """Wake a relay to raise ``error`` in its session; return False if it is not parked."""
        if relay not in self._parked:
            return False
        self._release(relay, error)
        return True

    def close(self) -> None:
        """Stop all checks."""
        self._timer.close()

    def _release(self, relay: Relay, error: BaseException | None = None) -> None:
        ticket = self._parked.pop(relay)
        relay.stop_watching()
        self._wake(ticket, error)

    def _sweep(self) -> None:
        now = time.monotonic()
        if self._part == 0:
            self._round = list(self._awake)
            self._trim_if_due()
        for relay in self._round[self._part :: _PARTS]:
            if relay in self._awake:
                self._check(relay, now)
        self._part = (self._part + 1) % _PARTS
        if self._first_expiry <= now:
            for relay in [relay for relay in self._parked if relay.expiry <= now]:
                self._release(relay, PeerTimeout("nothing moved for proxy_timeout", blame="client"))
            self._first_expiry = min((relay.expiry for relay in self._parked), default=math.inf)
        if not (self._awake or self._parked):
            self._round.clear()
            self._timer.stop()
            self._is_ticking = False

    def _check(self, relay: Relay, now: float) -> None:
        relay.arm()
        if relay.may_park(now - PARK_AFTER):
            relay.park()
            self._untrimmed += 1

    def _trim_if_due(self) -> None:
        is_quiet = self._untrimmed == self._untrimmed_before
        if self._untrimmed >= (_TRIM_WHEN_QUIET if is_quiet else _TRIM_WHILE_BUSY):
            self._untrimmed = 0
            memory.give_back()
        self._untrimmed_before = self._untrimmed
