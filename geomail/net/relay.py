"""Two connections become one: two greenlets copy bytes until either side ends.

``up`` goes from the client to the backend, ``down`` the other way. The
greenlet of the session copies down; one more copies up.
"""

from __future__ import annotations

import time
from typing import Any, Literal

from gevent import Greenlet, Timeout, get_hub, getcurrent, spawn

from geomail.errors import PeerGone, PeerTimeout, TlsFailed
from geomail.net.wire import Wire

#: nginx's default ``proxy_buffer``: one memory page.
DEFAULT_BUFFER = 4096
#: How far a direction's buffer may grow while it is busy, at the default size.
LARGEST_BUFFER = 256 * 1024
#: Seconds that the other direction may still take once one side has ended.
LINGER = 30.0
#: Short reads in a row after which a grown buffer is given back.
_SHORT_READS = 4


class IdleTimeout(Timeout):  # type: ignore[misc]  # gevent has no types
    """Fires in its greenlet when nothing has moved for ``seconds``.

    One timer, moved only when it would fire: whoever moves bytes sets
    ``moved`` to ``time.monotonic()``, which costs next to nothing.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.moved = time.monotonic()
        self._greenlet: Any = getcurrent()
        self._ending = False

    def finish_within(self, seconds: float) -> None:
        """From now on fire after ``seconds`` whatever moves; later calls change nothing."""
        if not self._ending:
            self._ending = True
            self._arm(seconds)

    def _on_expiration(self, prev_greenlet: Any, ex: BaseException) -> None:
        remaining = self.moved + self.seconds - time.monotonic()
        if self._ending or remaining <= 0:
            super()._on_expiration(prev_greenlet, ex)
        else:
            self._arm(remaining)

    def _arm(self, seconds: float) -> None:
        self.timer.stop()
        self.timer.close()
        self.timer = get_hub().loop.timer(seconds)
        self.timer.start(self._on_expiration, self._greenlet, self, update=True)


class Relay:
    """Copies between ``client`` and ``backend``; both stay the caller's to close.

    ``buffer`` is ``proxy_buffer`` in bytes, None for the default, which may
    grow. ``idle`` is ``proxy_timeout`` in seconds: bytes read or written on
    either side, in either direction, start it anew.
    """

    def __init__(self, client: Wire, backend: Wire, *, buffer: int | None, idle: float) -> None:
        self._client = client
        self._backend = backend
        self._smallest = buffer or DEFAULT_BUFFER
        self._largest = buffer or LARGEST_BUFFER
        self._clock = IdleTimeout(idle)
        self._ended_by: Literal["client", "backend"] | None = None

    def run(self) -> Literal["client", "backend"]:
        """Copy until the end, in the calling greenlet and one more; returns who ended it.

        What either side sent before its end is delivered, and the backend
        hears of the client's end at once; the rest has LINGER seconds.
        Raises PeerTimeout when nothing moved for ``idle`` seconds.
        """
        self._clock.start()
        up = spawn(self._up)
        try:
            self._down(up)
        except Timeout as fired:
            if fired is not self._clock:
                raise
            if self._ended_by is None:
                raise PeerTimeout(f"nothing moved for {self._clock.seconds:g} s", blame="client") from None
        finally:
            self._clock.close()
            up.kill()
        return self._ended_by or "backend"

    def _up(self) -> None:
        try:
            self._copy(self._client, self._backend)
            self._end("client")
        except (PeerGone, TlsFailed) as error:
            self._end("client" if error.blame == "client" else "backend")
        finally:
            self._clock.finish_within(LINGER)
        self._backend.end_sending()

    def _down(self, up: Greenlet) -> None:
        try:
            self._copy(self._backend, self._client)
            self._end("backend")
        except (PeerGone, TlsFailed) as error:
            self._end("client" if error.blame == "client" else "backend")
            if error.blame == "client":  # it cannot hear any more, but what it has sent still counts
                self._clock.finish_within(LINGER)
                up.join()

    def _end(self, side: Literal["client", "backend"]) -> None:
        self._ended_by = self._ended_by or side

    def _copy(self, source: Wire, sink: Wire) -> None:
        clock, size, short = self._clock, self._smallest, 0
        while data := source.receive(size):
            clock.moved = time.monotonic()
            sink.send(data)
            clock.moved = time.monotonic()
            if len(data) >= size:
                size, short = min(size * 2, self._largest), 0
            elif size > self._smallest and len(data) < size // 4:
                short += 1
                if short == _SHORT_READS:
                    size, short = self._smallest, 0
