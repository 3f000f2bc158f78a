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


class IdleTimeout(Timeout):
    """Fires in its greenlet when nothing has moved for ``idle`` seconds.

    One timer, moved only when it would fire: whoever moves bytes sets
    ``moved`` to ``time.monotonic()``, which costs next to nothing. A send
    that is under way moves whenever the peer makes room for more of it.
    """

    def __init__(self, idle: float, *wires: Wire) -> None:
        super().__init__(idle)
        self.moved = time.monotonic()
        self._idle = idle
        self._wires = wires
        self._greenlet = getcurrent()
        self._settled = False

    def finish_within(self, seconds: float) -> None:
        """From now on fire after ``seconds`` whatever moves; later calls change nothing."""
        if not self._settled:
            self._settled = True
            self._arm(seconds)

    def close(self) -> None:
        self._settled = True
        super().close()

    def _on_expiration(self, prev_greenlet: Any, ex: BaseException) -> None:
        moved = max(self.moved, *(wire.resumed for wire in self._wires))
        remaining = moved + self._idle - time.monotonic()
        if self._settled or remaining <= 0:
            prev_greenlet.throw(ex)
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
        self._idle = idle
        self._ended_by: Literal["client", "backend"] | None = None

    def run(self) -> Literal["client", "backend"]:
        """Copy until the end, in the calling greenlet and one more; returns who ended it.

        What either side sent before its end is delivered, and the backend
        hears of the client's end at once; the rest has LINGER seconds.
        Raises PeerTimeout when nothing moved for ``idle`` seconds.
        """
        clock = IdleTimeout(self._idle, self._client, self._backend)
        clock.start()
        up = spawn(self._up, clock)
        try:
            self._down(clock, up)
        except Timeout as fired:
            if fired is not clock:
                raise
            if self._ended_by is None:
                raise PeerTimeout(f"nothing moved for {self._idle:g} s", blame="client") from None
        finally:
            clock.close()
            up.kill()
        return self._ended_by or "backend"

    def _up(self, clock: IdleTimeout) -> None:
        try:
            self._copy(self._client, self._backend, clock)
            self._end("client")
        except (PeerGone, TlsFailed) as error:
            self._end("client" if error.blame == "client" else "backend")
        finally:
            clock.finish_within(LINGER)
        self._backend.end_sending()

    def _down(self, clock: IdleTimeout, up: Greenlet[..., None]) -> None:
        try:
            self._copy(self._backend, self._client, clock)
            self._end("backend")
        except (PeerGone, TlsFailed) as error:
            self._end("client" if error.blame == "client" else "backend")
            if error.blame == "client":  # it cannot hear any more, but what it has sent still counts
                clock.finish_within(LINGER)
                up.join()

    def _end(self, side: Literal["client", "backend"]) -> None:
        self._ended_by = self._ended_by or side

    def _copy(self, source: Wire, sink: Wire, clock: IdleTimeout) -> None:
        size, short = self._smallest, 0
        while data := source.receive(size):
            clock.moved = time.monotonic()
            sink.send(data)
            clock.moved = time.monotonic()
            if len(data) >= size:
                size, short = min(size * 2, self._largest), 0
            elif size > self._smallest:
                short = short + 1 if len(data) < size // 4 else 0
                if short == _SHORT_READS:
                    size, short = self._smallest, 0
            del data  # or an idle direction would hold its last bytes, up to LARGEST_BUFFER of them
