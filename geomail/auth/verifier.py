"""The queue of logins whose passwords geomail verifies: fair among networks, with refusals of equal length.

The time of an answer must not show which users are in the users file. So each
login waits in the same queue for its turn, whether there is a hash to verify or
not. A turn that ends in a refusal lasts as long as the most expensive hash in the
file takes, or a multiple of that time. The whole turn is extended, not only the
answer: otherwise a second login could learn from its own waiting time whether
the first one was verified. geomail extends a turn by waiting, so a client that
sends unknown names costs no CPU.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from types import TracebackType

import gevent
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from geomail import hashes
from geomail.errors import GeomailError
from geomail.hashes import Hash
from geomail.parties import drop_zone

#: Hashes that one process verifies at a time; each of them needs memory.
THREADS = 2
#: Logins that may wait in one process. Further logins are refused for now; the client may try again later.
MOST_WAITING = 100
#: The bits of an address that all clients of one network share.
_IPV4_NETWORK, _IPV6_NETWORK = 24, 64


class Busy(GeomailError):
    """An error: too many logins wait already, so that another would wait too long."""


def find_network(address: str) -> str:
    """Return the network of a client: an IPv4 /24 or an IPv6 /64. Its logins wait for each other."""
    if address.startswith("unix:"):
        return "unix:"
    ip = ip_address(drop_zone(address))
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            return str(ip_network((ip, _IPV6_NETWORK), strict=False))
        ip = ip.ipv4_mapped
    return str(ip_network((ip, _IPV4_NETWORK), strict=False))


class Verifier:
    """The queue that gives turns to logins; during its turn, a login may have its password verified."""

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self._threads = ThreadPool(threads)
        self._interpreter = ThreadPool(1)
        self._free = threads
        self._most_waiting = most_waiting
        self._waiting: OrderedDict[str, deque[Turn]] = OrderedDict()

    def make_turn(self, address: str) -> Turn:
        """Make a turn for a login of this client. To enter it is to wait for it, which raises Busy."""
        return Turn(self, find_network(address))

    def run(self, known: Hash, password: bytes) -> AsyncResult[bool | GeomailError]:
        """Verify in a thread, and return its error as a value: gevent would print a raised error."""
        pool = self._interpreter if hashes.holds_interpreter(known, password) else self._threads
        return pool.spawn(_verify, known, password)

    # -- the queue --------------------------------------------------------------------------------

    def enter(self, turn: Turn) -> None:
        """Give the turn now, or after the turns before it. Raises Busy."""
        if self._free:
            self._free -= 1
            turn.admission.set(None)
            return
        if sum(map(len, self._waiting.values())) >= self._most_waiting:
            self._make_room(turn.network)
        self._waiting.setdefault(turn.network, deque()).append(turn)

    def leave(self, turn: Turn) -> None:
        """End a turn, or stop waiting for it; a turn that was refused passes nothing on."""
        if turn.admission.successful():
            self._pass_on()
        else:
            self._take_out(turn)

    def _pass_on(self) -> None:
        """After the end of a turn, give the next one to the network that has waited longest."""
        if not self._waiting:
            self._free += 1
            return
        network, queue = self._waiting.popitem(last=False)
        turn = queue.popleft()
        if queue:
            self._waiting[network] = queue
        turn.admission.set(None)

    def _take_out(self, turn: Turn) -> None:
        queue = self._waiting.get(turn.network)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[turn.network]

    def _make_room(self, network: str) -> None:
        """Refuse the last login of the network with the most waiting logins; that may be the new login."""
        busy = Busy("too many logins wait for their passwords to be verified")
        own = len(self._waiting.get(network, ()))
        longest = max(self._waiting.values(), key=len, default=deque())
        if len(longest) <= own + 1:
            raise busy
        turn = longest[-1]
        self._take_out(turn)
        turn.refuse(busy)


class Turn:
    """One login's turn, as a context.

    If the login ends in an exception, the turn still lasts as long as a turn
    that ends in a refusal; a greenlet waits for that.
    """

    def __init__(self, verifier: Verifier, network: str) -> None:
        self.network = network
        self.admission: AsyncResult[None] = AsyncResult()
        self.seconds: Callable[[], float] = float
        self._verifier = verifier
        self._began = 0.0
        self._running: AsyncResult[bool | GeomailError] | None = None

    def __enter__(self) -> Turn:
        self._verifier.enter(self)
        try:
            self.admission.get()
        except BaseException:
            self._verifier.leave(self)
            raise
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._verifier.leave(self)
        else:
            gevent.spawn(self._finish)

    def refuse(self, error: Busy) -> None:
        """Raise Busy in the login that waits for this turn."""
        self.admission.set_exception(error)

    @property
    def elapsed(self) -> float:
        """Seconds since the turn began."""
        return time.monotonic() - self._began

    def verify(self, known: Hash, password: bytes) -> bool:
        """Tell whether the password has this hash. Raises CannotVerify."""
        self._running = self._verifier.run(known, password)
        answer = self._running.get()
        if isinstance(answer, GeomailError):
            raise answer
        return answer is True

    def wait_out(self) -> None:
        """Wait until the turn has lasted as long as a refusal takes, or a multiple of that time."""
        seconds = self.seconds()
        if seconds:
            gevent.sleep(seconds * max(1, math.ceil(self.elapsed / seconds)) - self.elapsed)

    def _finish(self) -> None:
        if self._running is not None:
            self._running.wait()
        self.wait_out()
        self._verifier.leave(self)


def _verify(known: Hash, password: bytes) -> bool | GeomailError:
    try:
        return hashes.verify(known, password)
    except GeomailError as error:
        return error
