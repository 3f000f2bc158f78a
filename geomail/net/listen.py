"""Listening sockets: they are made before the workers, and each worker accepts connections from them."""

from __future__ import annotations

from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_V6ONLY,
    SO_KEEPALIVE,
    SO_RCVBUF,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_NODELAY,
)
from _socket import socket as RawSocket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gevent import get_hub, getcurrent

from geomail.net.unix_sockets import bind_unix

#: nginx's default on Linux.
BACKLOG = 511
#: Linux's number; Python has no name for it.
IPPROTO_MPTCP = 262
_READ = 1
#: The largest value of a socket option.
_LARGEST = 2**31 - 1
_PROBES = (TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT)
_WILDCARDS = ("0.0.0.0", "::")


#: Idle seconds, interval and count of TCP keepalive; None is the system's value.
KeepAlive = tuple[int | None, int | None, int | None]


def bind(
    *,
    host: str,
    port: int,
    path: str,
    backlog: int = BACKLOG,
    ipv6only: bool = True,
    multipath: bool = False,
    beside: Sequence[RawSocket] = (),
) -> RawSocket:
    """Make a listening, non-blocking socket at an IP address or, with ``path``, a Unix socket.

    Connections accepted from it inherit TCP_NODELAY and SO_KEEPALIVE. A Unix
    socket on which no process listens any more is replaced. ``multipath`` asks
    for MPTCP; if the system has none, the socket is one of TCP (its ``proto``
    tells). ``beside`` are our listening sockets whose addresses may overlap with
    the new one, as ``0.0.0.0`` does with ``127.0.0.1``. Raises OSError.
    """
    if path:
        return bind_unix(path, backlog)
    family = AF_INET6 if ":" in host else AF_INET
    sock = _open_multipath_socket(family) if multipath else RawSocket(family, SOCK_STREAM)
    try:
        _set_options(sock, ipv6only)
        with _allow_overlap([sock, *beside] if beside else []):
            sock.bind((host, port))
            sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _set_options(sock: RawSocket, ipv6only: bool) -> None:
    sock.setblocking(False)
    sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    if sock.family == AF_INET6:
        sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, ipv6only)


@contextmanager
def _allow_overlap(socks: Sequence[RawSocket]) -> Iterator[None]:
    """Let sockets have addresses that overlap; Linux demands that each of them allows it.

    They allow it only for a moment: meanwhile, other processes of the same user
    could bind to the address too. Linux remembers it: later, a socket that
    allows overlap itself can still bind there.

    """
    try:
        for sock in socks:
            sock.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
        yield
    finally:
        for sock in socks:
            sock.setsockopt(SOL_SOCKET, SO_REUSEPORT, 0)


def tune(
    sock: RawSocket, *, backlog: int, rcvbuf: int | None, sndbuf: int | None, keepalive: bool | KeepAlive
) -> list[str]:
    """Set the options of a listening socket that can be changed at any time; None changes nothing.

    Returns the options that the system refuses, with its reasons: clients can connect without them.
    """
    probing = (None, None, None) if isinstance(keepalive, bool) else keepalive
    options = [("rcvbuf", SOL_SOCKET, SO_RCVBUF, rcvbuf), ("sndbuf", SOL_SOCKET, SO_SNDBUF, sndbuf)]
    if sock.family != AF_UNIX:
        options += [
            ("so_keepalive", SOL_SOCKET, SO_KEEPALIVE, int(keepalive is not False)),
            *(("so_keepalive", IPPROTO_TCP, *each) for each in zip(_PROBES, probing, strict=True)),
        ]
    refused = []
    for name, level, option, value in options:
        try:
            if value is not None:
                sock.setsockopt(level, option, min(value, _LARGEST))
        except OSError as error:
            refused.append(f"{name}: {value}: {error.strerror}")
    sock.listen(min(backlog, _LARGEST))
    return refused


def _open_multipath_socket(family: int) -> RawSocket:
    try:
        return RawSocket(family, SOCK_STREAM, IPPROTO_MPTCP)
    except OSError:
        return RawSocket(family, SOCK_STREAM)


class Acceptor:
    """One listening socket, from which this process accepts connections in blocking style.

    ``local`` is the address of our end of every connection; None if the socket
    listens on all addresses, as each connection then has its own.
    """

    def __init__(self, sock: RawSocket) -> None:
        self._sock = sock
        self._family, self._type, self._proto = int(sock.family), int(sock.type), sock.proto
        address = sock.getsockname()
        self.local = None if sock.family != AF_UNIX and address[0] in _WILDCARDS else address
        self._watcher = get_hub().loop.io(sock.fileno(), _READ)

    def accept(self) -> tuple[RawSocket, Any]:
        """Wait for a connection; return its non-blocking socket and the client's address.

        Every call waits, so sessions get their turn even in a flood of connections.
        Raises OSError (EMFILE, for example).
        """
        hub, watcher = get_hub(), self._watcher
        while True:
            watcher.start(getcurrent().switch)
            try:
                hub.switch()
            finally:
                watcher.stop()
            try:
                return self._accept_now()
            except (BlockingIOError, ConnectionAbortedError):
                continue  # another process was quicker, or the client has left

    def accept_waiting(self) -> Iterator[tuple[RawSocket, Any]]:
        """Accept and yield the connections that wait in the kernel; do not wait for others.

        Sessions get no turn meanwhile: the caller limits the number.
        """
        while True:
            try:
                yield self._accept_now()
            except ConnectionAbortedError:
                continue
            except OSError:
                return

    def _accept_now(self) -> tuple[RawSocket, Any]:
        fd, address = self._sock._accept()  # type: ignore[attr-defined]
        sock = RawSocket(self._family, self._type, self._proto, fd)
        sock.setblocking(False)
        return sock, address

    def close(self) -> None:
        """Accept nothing more from this process."""
        self._watcher.close()
        self._sock.close()
