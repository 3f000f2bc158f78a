"""The near side of a measurement: one process of mail clients, which does as it is told.

It reads its orders as a line of JSON, then one command a line: ``open`` logs
the held sessions in, ``work`` does what is to be measured. Each is answered
with a line of JSON; when its input ends, so do its sessions.
"""

import gc
import itertools
import json
import select
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from tests.benchmarks.loop import Loop, Stream
from tests.benchmarks.words import SPEAKERS, USERS, Step, append, fetch

#: Loopback addresses that clients come from, so that ports do not run out.
_SOURCES = [f"127.0.0.{number}" for number in range(2, 34)]
#: linux/in.h; the module has it from Python 3.12 on.
_IP_BIND_ADDRESS_NO_PORT = 24
#: TLS sessions that use one ticket: to take a session out of ``ssl`` costs a client as much as a handshake.
_SAME_TICKET = 100

Work = Literal["nothing", "sessions", "round trips", "down", "up"]


@dataclass(frozen=True)
class Orders:
    """What to do to which port.

    ``held`` sessions are logged in before the work. ``amount`` counts the
    sessions that come and go, ``at_a_time`` of them, or the round trips or
    bytes of each held session. Of ``held`` ones and those that come, the oldest
    goes, or where not ``oldest_goes`` the one that came.
    """

    protocol: str
    port: int
    work: Work = "nothing"
    amount: int = 0
    held: int = 0
    oldest_goes: bool = True
    tls: bool = False
    resume: bool = False
    at_a_time: int = 64
    warm: int = 0
    seconds: float = 60.0


@dataclass
class Done:
    """What became of a command: how long it took, and how many TLS handshakes it had."""

    seconds: float = 0.0
    handshakes: int = 0
    resumed: int = 0


class Unexpected(Exception):
    """A client heard something else than it should, or lost its connection: nothing was measured."""


class Tls:
    """TLS as the clients do it: certificates are not their concern, tickets are."""

    def __init__(self, resume: bool) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.resume = resume
        self.ticket: ssl.SSLSession | None = None
        self.handshakes = 0
        self.resumed = 0

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """TLS on a connected socket, yet to be shaken hands on."""
        return self.context.wrap_socket(sock, do_handshake_on_connect=False, session=self.ticket)

    def note(self, sock: ssl.SSLSocket) -> None:
        """Count a session that has heard its greeting; with that, its ticket is there."""
        self.handshakes += 1
        self.resumed += bool(sock.session_reused)
        if self.resume and (self.ticket is None or self.handshakes % _SAME_TICKET == 0):
            session = sock.session
            if session is not None and session.has_ticket:
                self.ticket = session


class Client(Stream):
    """One session; it takes steps, and each answer must be as expected."""

    __slots__ = ("_awaited", "_heard", "_steps", "_then", "_tls")

    def __init__(self, loop: Loop, address: tuple[str, int], source: str, tls: Tls | None) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
        sock.connect_ex(address)
        super().__init__(loop, sock)
        self._tls = tls
        self._heard = self._awaited = b""
        self._steps: Iterator[Step] = iter(())
        self._then: Callable[[], None]

    def start(self, greeting: bytes, steps: Iterable[Step], then: Callable[[], None]) -> None:
        """Connect, await the greeting, take the steps, then call ``then``."""
        self._awaited, self._steps, self._then = greeting, iter(steps), then
        if self._tls is None:
            self.listen()
        else:
            self._loop.watch(self._number, select.EPOLLOUT, self._start_tls)

    def take(self, steps: Iterable[Step], then: Callable[[], None]) -> None:
        """Take more steps, then call ``then``."""
        self._steps, self._then = iter(steps), then
        self._next()

    def heard(self, data: bytes) -> None:
        if self._heard:
            data = self._heard + data
        if data[-1:] != b"\n":
            self._heard = data
            return
        self._heard = b""
        last = data[data.rfind(b"\n", 0, -1) + 1 :]
        if last.startswith(self._awaited):
            self._next()
        elif not last.startswith((b"* ", b"250-")):
            raise Unexpected(f"{last!r} instead of {self._awaited!r}")

    def ended(self) -> None:
        raise Unexpected(f"closed instead of {self._awaited!r}")

    def _next(self) -> None:
        step = next(self._steps, None)
        if step is None:
            self._then()
        else:
            self._awaited = step.expects
            self.say(step.says)

    def _start_tls(self) -> None:
        assert self._tls is not None
        self._sock = self._tls.wrap(self._sock)
        self._loop.watch(self._number, select.EPOLLIN, self._shake_hands)
        self._shake_hands()

    def _shake_hands(self) -> None:
        assert isinstance(self._sock, ssl.SSLSocket)
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return
        self._loop.watch(self._number, select.EPOLLIN, self._greeted_in_tls)

    def _greeted_in_tls(self) -> None:
        assert self._tls is not None
        assert isinstance(self._sock, ssl.SSLSocket)
        self.listen()
        self._readable()
        self._tls.note(self._sock)


class Fleet:
    """All sessions of this process."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._loop = Loop()
        self._words = SPEAKERS[orders.protocol]()
        self._tls = Tls(orders.resume) if orders.tls else None
        self._numbers = itertools.count()
        self._held: deque[Client] = deque()
        self._started = self._finished = self._last = 0
        self._logged_in: Callable[[Client], None] = self._stay

    def open(self) -> None:
        """Warm the proxy up, and log in the sessions that are held."""
        orders = self._orders
        if self._tls is not None and orders.resume:
            self._come_and_go(1)
        self._come_and_go(orders.warm)
        self._begin(orders.held, orders.at_a_time, self._stay)

    def work(self) -> None:
        """Do what is measured."""
        amount = self._orders.amount
        match self._orders.work:
            case "sessions":
                self._come_and_go(amount)
            case "round trips":
                self._all_held(lambda client, then: client.take([self._words.noop] * amount, then))
            case "down":
                self._all_held(lambda client, then: download(client, amount, then))
            case "up":
                self._all_held(lambda client, then: upload(client, amount, then))

    def handshakes(self) -> Done:
        """How many TLS handshakes there have been."""
        return Done(0.0, self._tls.handshakes, self._tls.resumed) if self._tls else Done()

    # -- sessions ---------------------------------------------------------------------------------

    def _come_and_go(self, sessions: int) -> None:
        self._begin(sessions, self._orders.at_a_time, self._make_room)

    def _begin(self, sessions: int, at_a_time: int, logged_in: Callable[[Client], None]) -> None:
        """Start sessions, one whenever one is done with, and wait for all."""
        self._started, self._finished, self._last = 0, 0, sessions
        self._logged_in = logged_in
        while self._started < min(at_a_time, sessions):
            self._start()
        self._wait()

    def _start(self) -> None:
        self._started += 1
        number = next(self._numbers)
        source = _SOURCES[number % len(_SOURCES)]
        client = Client(self._loop, ("127.0.0.1", self._orders.port), source, self._tls)
        words = self._words
        steps = (*words.logins[number % USERS], words.noop)
        client.start(words.greeting, steps, lambda: self._logged_in(client))

    def _stay(self, client: Client) -> None:
        self._held.append(client)
        self._done()

    def _make_room(self, client: Client) -> None:
        leaving = client
        if self._orders.oldest_goes:
            self._held.append(client)
            leaving = self._held.popleft()
        leaving.take([self._words.leave], lambda: self._leave(leaving))

    def _leave(self, client: Client) -> None:
        client.close()
        self._done()

    def _done(self) -> None:
        self._finished += 1
        if self._started < self._last:
            self._start()

    # -- work of the held sessions ------------------------------------------------------------------

    def _all_held(self, act: Callable[[Client, Callable[[], None]], None]) -> None:
        self._started = self._last = len(self._held)
        self._finished = 0
        for client in self._held:
            act(client, self._done)
        self._wait()

    def _wait(self) -> None:
        self._loop.run(lambda: self._finished >= self._last, self._orders.seconds)


def download(client: Client, amount: int, then: Callable[[], None]) -> None:
    """Fetch ``amount`` bytes."""
    command, before, after = fetch(amount)
    client.say(command)
    client.drink(len(before) + amount + len(after), then)


def upload(client: Client, amount: int, then: Callable[[], None]) -> None:
    """Append ``amount`` bytes."""
    command, go_ahead, after, done = append(amount)
    finish = [Step(after, done)]
    client.take([Step(command, go_ahead)], lambda: client.pour(amount, lambda: client.take(finish, then)))


def main() -> None:
    """Serve whoever gives the orders, until that one is done with us."""
    fleet = Fleet(Orders(**json.loads(sys.stdin.readline())))
    gc.disable()  # what is in circles here does not add up to much before the end
    commands = {"open": fleet.open, "work": fleet.work}
    for line in sys.stdin:
        before, started = fleet.handshakes(), time.monotonic()
        commands[line.strip()]()
        seconds, after = time.monotonic() - started, fleet.handshakes()
        done = Done(seconds, after.handshakes - before.handshakes, after.resumed - before.resumed)
        sys.stdout.write(json.dumps(asdict(done)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
