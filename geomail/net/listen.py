"""Listening sockets: made before the workers, accepted from in each of them."""

from __future__ import annotations

import errno
from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_V6ONLY,
    SO_KEEPALIVE,
    SO_REUSEADDR,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
)
from _socket import socket as RawSocket
from pathlib import Path
from typing import Any

from gevent import get_hub

#: nginx's default on Linux.
BACKLOG = 511
#: Who may connect to a Unix socket is said by its folder, as in nginx.
_ANYBODY = 0o666
_READ = 1


def bind(*, host: str, port: int, path: str, backlog: int = BACKLOG) -> RawSocket:
    """A listening, non-blocking socket at an IP address or, with ``path``, a Unix socket.

    Connections accepted from it inherit TCP_NODELAY and SO_KEEPALIVE. A Unix
    socket that nobody listens on any more is replaced. Raises OSError.
    """
    if path:
        return _bind_unix(path, backlog)
    family = AF_INET6 if ":" in host else AF_INET
    sock = RawSocket(family, SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if family == AF_INET6:
            sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: str, backlog: int) -> RawSocket:
    sock = RawSocket(AF_UNIX, SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_abandoned(path):
                raise
            Path(path).unlink()
            sock.bind(path)
        Path(path).chmod(_ANYBODY)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _is_abandoned(path: str) -> bool:
    if not Path(path).is_socket():
        return False
    probe = RawSocket(AF_UNIX, SOCK_STREAM)
    probe.setblocking(False)
    try:
        return probe.connect_ex(path) == errno.ECONNREFUSED
    finally:
        probe.close()


class Acceptor:
    """Accepts from one listening socket, in blocking style."""

    def __init__(self, sock: RawSocket) -> None:
        self._sock = sock
        self._watcher = get_hub().loop.io(sock.fileno(), _READ)

    def accept(self) -> tuple[RawSocket, Any]:
        """Wait for a connection; its non-blocking socket and its address. Raises OSError (EMFILE, say).

        Every call waits, so a flood of connections leaves the sessions their turn.
        """
        while True:
            get_hub().wait(self._watcher)
            try:
                fd, address = self._sock._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, ConnectionAbortedError):
                continue  # another process was quicker, or the client has left
            sock = RawSocket(self._sock.family, self._sock.type, self._sock.proto, fileno=fd)
            sock.setblocking(False)
            return sock, address

    def close(self) -> None:
        """Accept nothing more from this process."""
        self._watcher.close()
        self._sock.close()
