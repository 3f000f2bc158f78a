"""Two connections become one: two greenlets copy bytes until either side ends.

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
#: How far a direction's buffer may grow while it is busy, at the default size.
LARGEST_BUFFER = 256 * 1024
#: Seconds that the other direction may still take once one side has ended.
LINGER = 30.0
#: Seconds of silence after which words of geomail's own disturb nothing.
QUIET = 1.0
#: Short reads in a row after which a grown buffer is given back.
_SHORT_READS = 4
#: A buffer of this size has been filled again and again: at the default size, splicing takes over.
_BUSY = 128 * 1024
#: Fewer bytes than these are not worth a pipe.
_SHORT_SPLICE = 16 * 1024


class IdleLimit(TimeLimit):
    """A block in which something must move every ``seconds``: whoever moves it sets ``moved``.

    ``moved`` is of ``time.monotonic()``; setting it is all that a movement
    costs. A send that is under way moves whenever the peer makes room for more.
    """

    __slots__ = ("_backend", "_client", "moved")

    def __init__(self, seconds: float, client: Wire, backend: Wire) -> None:
        super().__init__(seconds, blame="client", private="nothing moved for proxy_timeout")
        self._client = client
        self._backend = backend

    def start(self) -> float:
        self.moved = now()
        return self.moved + self._seconds

    def expires(self) -> float:
        moved = max(self.moved, self._client.resumed, self._backend.resumed)
        return min(self.deadline, moved + self._seconds)

    def finish_within(self, seconds: float) -> None:
        """From now on the block has ``seconds``, whatever moves; later calls change nothing.

        That is only noted: most blocks end at once then, and a timer costs as
        much as all of their end. :meth:`arm` sets it for those that do not.
        """
        if self.deadline == math.inf:
            self.deadline = now() + seconds

    def arm(self) -> None:
        """Set the timer that ends the block at its deadline, if it has got one."""
        if self._clock is not None:
            self._clock.wake_by(self.deadline)


class Relay:
    """Copies between ``client`` and ``backend``; both stay the caller's to close.

    At the default buffer, bulk without TLS on either side is spliced: it goes
    from socket to socket inside the kernel.

    ``buffer`` is ``proxy_buffer`` in bytes, None for the default, which may
    grow. ``idle`` is ``proxy_timeout`` in seconds: bytes read or written on
    either side, in either direction, start it anew.
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
        """Copy until the end, in the calling greenlet and one of ``crew``; returns who ended it.

        None: nothing moved for a while, so both greenlets were given up. Its
        caller leaves both connections open and gives it to ``parking``; run it
        again when that wakes it.

        What either side sent before its end is delivered, and the backend
        hears of the client's end at once; the rest has LINGER seconds.
        Raises PeerTimeout when nothing moved for ``idle`` seconds.
        """
        up = self._crew.start(self._up)
        self._parking.enter(self)
        try:
            with self._limit:
                self._down(up)
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
        """Whether nothing has moved after ``since``, and both directions wait for bytes."""
        return (
            self._limit.moved <= since
            and self._ended_by is None
            and self._client.is_waiting
            and self._backend.is_waiting
        )

    def arm(self) -> None:
        """See to it that a relay of which one side has ended does so in time; call it now and then."""
        self._limit.arm()

    def park(self) -> None:
        """Give up both greenlets, where it :meth:`may_park`; :meth:`run` returns None."""
        self._is_parking = True
        self._client.hang_up()
        self._backend.hang_up()

    @property
    def expires(self) -> float:
        """When it has been idle for too long, as ``time.monotonic()`` counts."""
        return self._limit.expires()

    def rest(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Need little memory; ``callback`` is called when there are bytes, or an end, on either side."""
        for wire in (self._client, self._backend):
            wire.give_back_memory()
            wire.watch(callback, *arguments)

    def stop_watching(self) -> None:
        """Undo :meth:`rest`."""
        self._client.stop_watching()
        self._backend.stop_watching()

    @property
    def idle(self) -> float:
        """Seconds since something moved."""
        return now() - self._limit.moved

    @property
    def is_quiet(self) -> bool:
        """Whether both directions have been silent for QUIET seconds, each after the end of a line."""
        return (
            self._ended_by is None
            and self.idle >= QUIET
            and all(wire.at_line_end and not wire.half_said for wire in (self._client, self._backend))
        )

    def _up(self) -> None:
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
        if self._ended_by != "backend":  # else the backend knows, and the session is about to end
            self._end(side)
            self._limit.finish_within(LINGER)
            self._backend.end_sending()

    def _down(self, up: Job) -> None:
        try:
            self._copy(self._backend, self._client)
            if not self._is_parking:
                self._end("backend")
        except (PeerGone, TlsFailed) as error:
            self._end("client" if error.blame == "client" else "backend")
            if error.blame == "client":  # it cannot hear any more, but what it has sent still counts
                self._limit.finish_within(LINGER)
                up.join()

    def _end(self, side: Literal["client", "backend"]) -> None:
        self._ended_by = self._ended_by or side

    def _copy(self, source: Wire, sink: Wire) -> None:
        limit, size, short = self._limit, self._smallest, 0
        while data := source.receive(size):
            limit.moved = now()
            sink.send(data)  # where it has to wait, it sets ``resumed``
            sink.at_line_end = data[-1] == LF
            if len(data) >= size:
                size, short = min(size * 2, self._largest), 0
            elif size > self._smallest:
                short = short + 1 if len(data) < size // 4 else 0
                if short == _SHORT_READS:
                    size, short = self._smallest, 0
            del data  # or an idle direction would hold its last bytes, up to LARGEST_BUFFER of them
            if size >= _BUSY and self._may_splice(source, sink):
                if self._splice(source, sink):
                    return
                size, short = self._smallest, 0

    def _may_splice(self, source: Wire, sink: Wire) -> bool:
        return self._smallest != self._largest and source.can_splice and sink.can_splice

    def _splice(self, source: Wire, sink: Wire) -> bool:
        """Move bytes past this process while they come in bulk; whether nothing more comes."""
        limit, short = self._limit, 0
        sink.at_line_end = False  # nobody looks at what goes by
        while short < _SHORT_READS:
            if not source.wait_for_bytes():
                return True
            pipe = self._pipes.take()
            if pipe is None:
                return False
            empty = False
            try:
                moved = source.splice_into(pipe.writing, CAPACITY)
                limit.moved = now()
                if moved:
                    sink.splice_from(pipe.reading, moved)
                    limit.moved = now()
                empty = True
            finally:
                self._pipes.give_back(pipe, empty=empty)
            if moved == 0:
                return True
            short = short + 1 if moved is None or moved < _SHORT_SPLICE else 0
        return False
