"""Backends that say whatever a test wants them to say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gevent.server import StreamServer

from tests.servers.support import LOOPBACK


@contextmanager
def speaking(
    greeting: bytes | None, answer: Callable[[bytes], bytes] = lambda _: b"500 no\r\n"
) -> Iterator[int]:
    """The port of a backend with this greeting (None: silence, empty: it hangs up) and answers to lines."""

    def serve(sock: Any, _address: object) -> None:
        with sock, sock.makefile("rb") as stream:
            if greeting:
                sock.sendall(greeting)
            if greeting != b"":
                for line in stream:
                    sock.sendall(answer(line.rstrip(b"\r\n")))

    server = StreamServer((LOOPBACK, 0), serve)
    server.start()
    try:
        yield server.server_port or 0
    finally:
        server.stop()
