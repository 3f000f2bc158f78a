"""The clients of a measurement: one process of mail clients that follows orders.

It reads its orders as a line of JSON, then one command per line: ``open`` logs
the held sessions in, ``work`` does the work to measure. It answers each command
with a line of JSON. When its input ends, its sessions end too.
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

#: Loopback addresses of the clients: several, so that ports do not run out.
_SOURCES = [f"127.0.0.{number}" for number in range(2, 34)]
#: From linux/in.h; the module socket has it from Python 3.12 on.
_IP_BIND_ADDRESS_NO_PORT = 24
#: TLS sessions per ticket: reading a session from ``ssl`` costs a client as much as a handshake.
_SAME_TICKET = 100

Work = Literal["nothing", "sessions", "round trips", "down", "up"]


@dataclass(frozen=True)
class Orders:
    """The work to do, and the port to do it at.

    ``held`` sessions are logged in before the work. ``amount`` is the number of
    new sessions, ``at_a_time`` of them at once, or the round trips or bytes of each
    held session. With held sessions, each new session ends the oldest one, or
    without ``oldest_goes`` the new one.
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
    """The result of a command: its duration, and its number of TLS handshakes."""

    seconds: float = 0.0
    handshakes: int = 0
    resumed: int = 0


class Unexpected(Exception):
    """A client got an unexpected answer, or lost its connection: there is no measurement."""


class Tls:
    """The clients' TLS: they do not check certificates, but use tickets."""

    def __init__(self, resume: bool) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.resume = resume
        self.ticket: ssl.SSLSession | None = None
        self.handshakes = 0
        self.resumed = 0

    def wrap(self, sock: socket.socket) -> ssl.SSLSocket:
        """Return TLS on a connected socket, before the handshake."""
        return self.context.wrap_socket(sock, do_handshake_on_connect=False, session=self.ticket)

    def note(self, sock: ssl.SSLSocket) -> None:
        """Count a session that has received its greeting, and so its ticket."""
        self.handshakes += 1
        self.resumed += bool(sock.session_reused)
        if self.resume and (self.ticket is None or self.handshakes % _SAME_TICKET == 0):
            session = sock.session
            if session is not None and session.has_ticket:
                self.ticket = session


class Client(Stream):
    """One session: a list of steps; each answer must be the expected one."""

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
        """Connect, wait for the greeting, take the steps, then call ``then``."""
        self._awaited, self._steps, self._then = greeting, iter(steps), then
        if self._tls is None:
            self.listen()
        else:
            self._loop.watch(self._number, select.EPOLLOUT, self._start_tls)

    def take(self, steps: Iterable[Step], then: Callable[[], None]) -> None:
        """Take more steps, then call ``then``."""
        self._steps, self._then = iter(steps), then
        self._next()

    def received(self, data: bytes) -> None:
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

    def closed(self) -> None:
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
        """Warm the proxy up, and log the held sessions in."""
        orders = self._orders
        if self._tls is not None and orders.resume:
            self._come_and_go(1)
        self._come_and_go(orders.warm)
        self._begin(orders.held, orders.at_a_time, self._stay)

    def work(self) -> None:
        """Do the work to measure."""
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
        """Count the TLS handshakes so far."""
        return Done(0.0, self._tls.handshakes, self._tls.resumed) if self._tls else Done()

    # -- sessions ---------------------------------------------------------------------------------

    def _come_and_go(self, sessions: int) -> None:
        self._begin(sessions, self._orders.at_a_time, self._make_room)

    def _begin(self, sessions: int, at_a_time: int, logged_in: Callable[[Client], None]) -> None:
        """Start sessions, a new one after each that ends, and wait for all."""
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
    """Follow the orders of the parent process until its end of the pipe closes."""
    fleet = Fleet(Orders(**json.loads(sys.stdin.readline())))
    gc.disable()  # the few cycles of references need little memory
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
