"""The relay, which makes one connection of two: two greenlets copy bytes until either side ends.

``up`` goes from the client to the backend, ``down`` the other way. The
greenlet of the session copies down; one more copies up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from geomail.conversation import LF
from geomail.errors import PeerGone, PeerTimeout, TlsFailed
from geomail.net.crew import Crew, Job
from geomail.net.pipes import CAPACITY, Pipes
from geomail.net.timing import TimeLimit, now
from geomail.net.wire import Wire

if TYPE_CHECKING:
    from geomail.net.parking import Parking

#: nginx's default ``proxy_buffer``: one memory page.
DEFAULT_BUFFER = 4096
#: The largest buffer of a busy direction, if ``proxy_buffer`` has its default.
LARGEST_BUFFER = 256 * 1024
#: Seconds for which the other direction may go on once one side has ended.
LINGER = 30.0
#: Seconds of silence after which geomail can send a line of its own without breaking into another.
QUIET = 1.0
#: Short reads in a row after which a grown buffer is given back.
_SHORT_READS = 4
#: A direction with a buffer of this size is busy: if ``proxy_buffer`` has its default, it is spliced.
_BUSY = 128 * 1024
#: Fewer bytes than this are not worth a pipe.
_SHORT_SPLICE = 16 * 1024


class IdleLimit(TimeLimit):
    """A block in which bytes must move every ``seconds``; the code that moves them sets ``moved_at``.

    ``moved_at`` is of ``time.monotonic()``; setting it is all that a movement
    costs. During a long send, bytes move whenever the peer makes room for more.
    """

    __slots__ = ("_backend", "_client", "moved_at")

    def __init__(self, seconds: float, client: Wire, backend: Wire) -> None:
        super().__init__(seconds, blame="client", private="nothing moved for proxy_timeout")
        self._client = client
        self._backend = backend

    def start(self) -> float:
        self.moved_at = now()
        return self.moved_at + self._seconds

    def get_expiry(self) -> float:
        moved = max(self.moved_at, self._client.resumed_at, self._backend.resumed_at)
        return min(self.deadline, moved + self._seconds)

    def finish_within(self, seconds: float) -> None:
        """End the block in ``seconds`` at the latest, even if bytes move; later calls change nothing.

        This sets no timer: most blocks end at once anyway, and a timer costs as
        much as all else of their end. :meth:`arm` sets it for the other blocks.
        """
        if self.deadline == math.inf:
            self.deadline = now() + seconds

    def arm(self) -> None:
        """Set the timer that ends the block at its deadline, if it has one."""
        if self._clock is not None:
            self._clock.wake_by(self.deadline)


class Relay:
    """The copying between ``client`` and ``backend``; the caller closes both.

    With the default buffer, bulk without TLS on either side is spliced: it goes
    from socket to socket inside the kernel.

    ``buffer`` is ``proxy_buffer`` in bytes, None for the default, which may
    grow. ``idle`` is ``proxy_timeout`` in seconds: it starts again when bytes are
    read or written on either side, in either direction.
    """

    def __init__(
        self,
        client: Wire,
        backend: Wire,
        crew: Crew,
        pipes: Pipes,
        parking: Parking[Any],
        *,
        buffer: int | None,
        idle: float,
    ) -> None:
        self._client = client
        self._backend = backend
        self._crew = crew
        self._pipes = pipes
        self._parking = parking
        self._smallest = buffer or DEFAULT_BUFFER
        self._largest = buffer or LARGEST_BUFFER
        self._limit = IdleLimit(idle, client, backend)
        self._ended_by: Literal["client", "backend"] | None = None
        self._is_parking = False

    def run(self) -> Literal["client", "backend"] | None:
        """Copy until the end, in the calling greenlet and one of ``crew``; return the side that ended it.

        None: no byte moved for a while, so the relay gave up both greenlets. The
        caller leaves both connections open, gives the relay to ``parking``, and
        runs it again when ``parking`` wakes it.

        All bytes that a side sent before its end are delivered, and the backend
        gets the client's end at once; the other direction has LINGER seconds.
        Raises PeerTimeout when no byte moved for ``idle`` seconds.
        """
        up = self._crew.start(self._copy_up)
        self._parking.enter(self)
        try:
            with self._limit:
                self._copy_down(up)
        except PeerTimeout:
            if self._ended_by is None:
                raise
        finally:
            self._parking.leave(self)
            if not up.finished and self._ended_by is not None:
                self._client.hang_up()
            if not up.finished:
                up.kill()
        if self._is_parking:
            self._is_parking = False
            return None
        return self._ended_by or "backend"

    # -- parking, from the hub --------------------------------------------------------------------

    def may_park(self, since: float) -> bool:
        """Tell whether no byte moved after ``since``, and both directions wait for bytes."""
        return (
            self._limit.moved_at <= since
            and self._ended_by is None
            and self._client.is_waiting
            and self._backend.is_waiting
        )

    def arm(self) -> None:
        """Set the timer that ends the relay if one side has ended; call it now and then."""
        self._limit.arm()

    def park(self) -> None:
        """Give up both greenlets, if it :meth:`may_park`; :meth:`run` returns None."""
        self._is_parking = True
        self._client.hang_up()
        self._backend.hang_up()

    @property
    def expiry(self) -> float:
        """The time.monotonic() at which the relay will have been idle for too long."""
        return self._limit.get_expiry()

    def rest(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Free memory, and call ``callback`` when bytes or an end arrive on either side."""
        for wire in (self._client, self._backend):
            wire.give_back_memory()
            wire.watch(callback, *arguments)

    def stop_watching(self) -> None:
        """Undo :meth:`rest`."""
        self._client.stop_watching()
        self._backend.stop_watching()

    @property
    def idle(self) -> float:
        """The seconds since a byte moved."""
        return now() - self._limit.moved_at

    @property
    def is_quiet(self) -> bool:
        """True if both directions have been silent for QUIET seconds, each after the end of a line."""
        return (
            self._ended_by is None
            and self.idle >= QUIET
            and all(wire.at_line_end and not wire.half_said for wire in (self._client, self._backend))
        )

    def _copy_up(self) -> None:
        try:
            self._copy(self._client, self._backend)
            if self._is_parking:
                return
            side: Literal["client", "backend"] = "client"
        except (PeerGone, TlsFailed) as error:
            side = "client" if error.blame == "client" else "backend"
        except BaseException:
            self._limit.finish_within(LINGER)
            raise
        if self._ended_by != "backend":  # otherwise the backend needs no end, and the session is about to end
            self._end(side)
            self._limit.finish_within(LINGER)
            self._backend.end_sending()

    def _copy_down(self, up: Job) -> None:
        try:
            self._copy(self._backend, self._client)
            if not self._is_parking:
                self._end("backend")
        except (PeerGone, TlsFailed) as error:
            self._end("client" if error.blame == "client" else "backend")
            if error.blame == "client":  # it gets no more bytes, but its own bytes are still delivered
                self._limit.finish_within(LINGER)
                up.join()

    def _end(self, side: Literal["client", "backend"]) -> None:
        self._ended_by = self._ended_by or side

    def _copy(self, source: Wire, sink: Wire) -> None:
        limit, size, short = self._limit, self._smallest, 0
        while data := source.receive(size):
            limit.moved_at = now()
            sink.send(data)  # if this has to wait, it sets ``resumed_at``
            sink.at_line_end = data[-1] == LF
            if len(data) >= size:
                size, short = min(size * 2, self._largest), 0
            elif size > self._smallest:
                short = short + 1 if len(data) < size // 4 else 0
                if short == _SHORT_READS:
                    size, short = self._smallest, 0
            del data  # otherwise an idle direction would keep its last bytes, up to LARGEST_BUFFER of them
            if size >= _BUSY and self._may_splice(source, sink):
                if self._splice(source, sink):
                    return
                size, short = self._smallest, 0

    def _may_splice(self, source: Wire, sink: Wire) -> bool:
        return self._smallest != self._largest and source.can_splice and sink.can_splice

    def _splice(self, source: Wire, sink: Wire) -> bool:
        """Move bytes past this process while they come in bulk; return True if no more will come."""
        limit, short = self._limit, 0
        sink.at_line_end = False  # not known: this process does not see the bytes

        while short < _SHORT_READS:
            if not source.wait_for_bytes():
                return True
            pipe = self._pipes.take()
            if pipe is None:
                return False
            empty = False
            try:
                moved = source.splice_into(pipe.writing, CAPACITY)
                limit.moved_at = now()
                if moved:
                    sink.splice_from(pipe.reading, moved)
                    limit.moved_at = now()
                empty = True
            finally:
                self._pipes.give_back(pipe, empty=empty)
            if moved == 0:
                return True
            short = short + 1 if moved is None or moved < _SHORT_SPLICE else 0
        return False
