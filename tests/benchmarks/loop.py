"""An event loop and its connections, for the clients and the mail servers of a measurement.

Only the standard library, without gevent: the other end of a proxy must not be its bottleneck.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable

#: The bulk data, sent again and again; it contains no line end.
PAYLOAD = memoryview(b"q" * (256 * 1024))
_SCRATCH = memoryview(bytearray(1 << 20))


class Loop:
    """One epoll, and a function to call for each of its sockets."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}

    def watch(self, number: int, events: int, call: Callable[[], None]) -> None:
        """Call a function when the descriptor is ready for ``events``, in place of the function before."""
        if number in self._calls:
            self._epoll.modify(number, events)
        else:
            self._epoll.register(number, events)
        self._calls[number] = call

    def forget(self, number: int) -> None:
        """Stop watching the descriptor; it must still be open."""
        if self._calls.pop(number, None) is not None:
            self._epoll.unregister(number)

    def run(self, until: Callable[[], bool], seconds: float) -> None:
        """Call the functions until ``until`` is true. Raises TimeoutError after ``seconds``."""
        deadline = time.monotonic() + seconds
        calls = self._calls
        while not until():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not done after {seconds:g} s")
            for number, _ in self._epoll.poll(0.2, 1024):
                if (call := calls.get(number)) is not None:
                    call()


class Stream:
    """A connection that never blocks. Its lines are short enough to be sent at once; bulk data is poured."""

    __slots__ = ("_after", "_count", "_loop", "_number", "_sock")

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._number = sock.fileno()
        self._count = 0
        self._after: Callable[[], None] = _nothing

    def received(self, data: bytes) -> None:
        """Handle received data, outside of :meth:`drink`."""
        raise NotImplementedError

    def closed(self) -> None:
        """Handle the end of the connection."""
        raise NotImplementedError

    def listen(self) -> None:
        """Give :meth:`received` what arrives, from now on."""
        self._loop.watch(self._number, select.EPOLLIN, self._readable)

    def say(self, data: bytes) -> None:
        """Send a short piece."""
        try:
            sent = self._sock.send(data)
        except (BrokenPipeError, ConnectionResetError):
            return  # the loop reports the end, too
        if sent != len(data):
            raise RuntimeError("the other side does not read what is said")

    def pour(self, amount: int, after: Callable[[], None]) -> None:
        """Send ``amount`` bytes of bulk data without reading, then listen again and call ``after``."""
        self._count, self._after = amount, after
        self._loop.watch(self._number, select.EPOLLOUT, self._writable)

    def drink(self, amount: int, after: Callable[[], None]) -> None:
        """Read and drop exactly ``amount`` bytes, then listen again and call ``after``."""
        self._count, self._after = amount, after
        self._loop.watch(self._number, select.EPOLLIN, self._swallow)

    def close(self) -> None:
        """Close at once."""
        self._loop.forget(self._number)
        self._sock.close()

    def _readable(self) -> None:
        try:
            data = self._sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            data = b""
        if data:
            self.received(data)
        else:
            self.closed()

    def _writable(self) -> None:
        try:
            self._count -= self._sock.send(PAYLOAD[: self._count])
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        except OSError:
            self.closed()
            return
        self._go_on()

    def _swallow(self) -> None:
        try:
            amount = self._sock.recv_into(_SCRATCH[: self._count])
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            amount = 0
        if amount == 0:
            self.closed()
            return
        self._count -= amount
        self._go_on()

    def _go_on(self) -> None:
        if self._count == 0:
            after, self._after = self._after, _nothing
            self.listen()
            after()


def accept_all(loop: Loop, listener: socket.socket, welcome: Callable[[socket.socket], Stream]) -> None:
    """Call ``welcome`` with every client of a listening socket."""
    listener.setblocking(False)

    def accept() -> None:
        for _ in range(64):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            welcome(sock)

    loop.watch(listener.fileno(), select.EPOLLIN, accept)


def _nothing() -> None:
    pass
