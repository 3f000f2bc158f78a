"""Passwords verified in turn: so many at a time, fairly among networks, and refused after the same time.

Time must not tell who is in the users file. So each login waits for its turn in
the same queue, whether there is something to verify or not; and a turn that ends
in a refusal lasts as long as the most expensive hash in the file takes, or twice
as long, and so on. If only the answer waited, and not the turn, a second login
would tell by *its* time whether the first one was verified. This is done by
waiting: a client that sends unknown names costs no CPU.
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
from geomail.protocols.proxy_header import drop_zone

#: Hashes that one process verifies at a time, each with the memory that it costs.
THREADS = 2
#: Logins that one process lets wait for their turn; to those beyond, it says that they may try later.
MOST_WAITING = 100
#: Bits of an address that are the same for all clients of one network.
_IPV4_NETWORK, _IPV6_NETWORK = 24, 64


class Busy(GeomailError):
    """So many logins wait for their passwords to be verified that another would wait too long."""


def network_of(address: str) -> str:
    """The network of a client, within which logins wait for each other: an IPv4 /24, an IPv6 /64."""
    if address.startswith("unix:"):
        return "unix:"
    ip = ip_address(drop_zone(address))
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is None:
            return str(ip_network((ip, _IPV6_NETWORK), strict=False))
        ip = ip.ipv4_mapped
    return str(ip_network((ip, _IPV4_NETWORK), strict=False))


class Verifier:
    """Gives turns to logins; while one has its turn, its password may be verified in a thread."""

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self._threads = ThreadPool(threads)
        self._interpreter = ThreadPool(1)
        self._free = threads
        self._most_waiting = most_waiting
        self._waiting: OrderedDict[str, deque[Turn]] = OrderedDict()

    def turn(self, address: str) -> Turn:
        """A turn for a login of this client; entering it is waiting for it, which raises Busy."""
        return Turn(self, network_of(address))

    def run(self, known: Hash, password: bytes) -> AsyncResult[bool | GeomailError]:
        """Verify in a thread; what is raised there would be printed by gevent, and is returned."""
        pool = self._interpreter if hashes.holds_interpreter(known, password) else self._threads
        return pool.spawn(_verify, known, password)

    # -- the queue --------------------------------------------------------------------------------

    def enter(self, turn: Turn) -> None:
        """Give the turn now, or when those before it have had theirs. Raises Busy."""
        if self._free:
            self._free -= 1
            turn.given.set(None)
            return
        if sum(map(len, self._waiting.values())) >= self._most_waiting:
            self._make_room(turn.network)
        self._waiting.setdefault(turn.network, deque()).append(turn)

    def leave(self, turn: Turn) -> None:
        """End a turn, or stop waiting for it; one that was refused has nothing to pass on."""
        if turn.given.successful():
            self._pass_on()
        else:
            self._take_out(turn)

    def _pass_on(self) -> None:
        """Give a turn that has ended to the network that has waited longest for one."""
        if not self._waiting:
            self._free += 1
            return
        network, queue = self._waiting.popitem(last=False)
        turn = queue.popleft()
        if queue:
            self._waiting[network] = queue
        turn.given.set(None)

    def _take_out(self, turn: Turn) -> None:
        queue = self._waiting.get(turn.network)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[turn.network]

    def _make_room(self, network: str) -> None:
        """Refuse the last login of the network with the most waiting ones; that may be the new login."""
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

    A login that ends in an exception leaves nothing behind. Its turn still
    lasts as long as one that ends in a refusal.
    """

    def __init__(self, verifier: Verifier, network: str) -> None:
        self.network = network
        self.given: AsyncResult[None] = AsyncResult()
        self.seconds: Callable[[], float] = float
        self._verifier = verifier
        self._began = 0.0
        self._running: AsyncResult[bool | GeomailError] | None = None

    def __enter__(self) -> Turn:
        self._verifier.enter(self)
        try:
            self.given.get()
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
            gevent.spawn(self._see_out)

    def refuse(self, error: Busy) -> None:
        """Have the login that waits for this turn get Busy."""
        self.given.set_exception(error)

    @property
    def elapsed(self) -> float:
        """Seconds since it was given."""
        return time.monotonic() - self._began

    def verify(self, known: Hash, password: bytes) -> bool:
        """Tell whether the hash is that of the password. Raises CannotVerify."""
        self._running = self._verifier.run(known, password)
        answer = self._running.get()
        if isinstance(answer, GeomailError):
            raise answer
        return answer is True

    def last(self) -> None:
        """Wait until it has lasted as long as every turn that ends in a refusal, or a multiple of that."""
        seconds = self.seconds()
        if seconds:
            gevent.sleep(seconds * max(1, math.ceil(self.elapsed / seconds)) - self.elapsed)

    def _see_out(self) -> None:
        if self._running is not None:
            self._running.wait()
        self.last()
        self._verifier.leave(self)


def _verify(known: Hash, password: bytes) -> bool | GeomailError:
    try:
        return hashes.verify(known, password)
    except GeomailError as error:
        return error
