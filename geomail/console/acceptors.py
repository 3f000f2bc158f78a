"""The listening sockets of the console."""

from __future__ import annotations

from _socket import socket as RawSocket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import gevent
from gevent import socket

from geomail.net.listen import Acceptor

if TYPE_CHECKING:
    from geomail.sinks.log import Log

#: Seconds to wait after an error, for example when the process has no descriptor left.
_AFTER_ERROR = 1.0

#: Serves one connection, and closes it.
ConnectionHandler = Callable[[socket.socket], None]


class Acceptors:
    """Listening sockets by name; each connection gets a greenlet of its own.

    ``services`` holds the names that a socket may have, and what serves its connections.
    """

    def __init__(self, services: Mapping[str, ConnectionHandler], log: Log) -> None:
        self._services = services
        self._log = log
        self._running: dict[str, gevent.Greenlet[..., None]] = {}

    def replace(self, name: str, sock: RawSocket | None) -> None:
        """Accept on this socket instead of the one before; None: accept no more."""
        if (before := self._running.pop(name, None)) is not None:
            before.kill()
        if sock is not None:
            self._running[name] = gevent.spawn(self._accept, Acceptor(sock), self._services[name])

    def _accept(self, acceptor: Acceptor, serve: ConnectionHandler) -> None:
        try:
            while True:
                try:
                    sock, _ = acceptor.accept()
                except OSError as error:
                    self._log.say("error", f"the console cannot accept connections: {error.strerror}")
                    gevent.sleep(_AFTER_ERROR)
                else:
                    gevent.spawn(serve, make_cooperative(sock))
        finally:
            acceptor.close()


def make_cooperative(sock: RawSocket) -> socket.socket:
    """Return the same socket as one of gevent: while it waits, other greenlets run."""
    return socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
