"""Connecting to a backend or an auth service."""

from __future__ import annotations

import errno
import os
from _socket import (
    AF_UNIX,
    IPPROTO_TCP,
    SO_ERROR,
    SO_KEEPALIVE,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
)
from _socket import socket as RawSocket
from collections.abc import Sequence
from typing import Any

from gevent import Timeout, get_hub

from geomail.errors import Side
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire

#: ``(family, sockaddr)``, as the socket module has them; a host is an IP address.
Address = tuple[int, Any]
#: Seconds for one address while there are others to try.
ATTEMPT = 5.0
_WRITE = 2


def connect(addresses: Sequence[Address], *, peer: Side, tls: TlsSide | None = None) -> Wire:
    """Connect to the first of ``addresses`` that answers; TLS is not started.

    TCP connections get TCP_NODELAY and SO_KEEPALIVE. Raises OSError of the
    last attempt. The time for all of it is the caller's to limit.
    """
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "no address to connect to")
    for number, (family, address) in enumerate(addresses, 1):
        try:
            sock = _attempt(family, address, ATTEMPT if number < len(addresses) else None)
        except OSError as error:
            failure = error
        else:
            return Wire(sock, peer, tls)
    raise failure


def _attempt(family: int, address: Any, seconds: float | None) -> RawSocket:
    sock = RawSocket(family, SOCK_STREAM | SOCK_NONBLOCK)
    try:
        if seconds is None:
            _connect(sock, family, address)
        else:
            _connect_within(seconds, sock, family, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_within(seconds: float, sock: RawSocket, family: int, address: Any) -> None:
    limit = Timeout(seconds)
    try:
        with limit:
            _connect(sock, family, address)
    except Timeout as fired:
        if fired is not limit:
            raise
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None


def _connect(sock: RawSocket, family: int, address: Any) -> None:
    if family != AF_UNIX:
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    code = sock.connect_ex(address)
    if code == errno.EINPROGRESS:
        _wait_until_connected(sock)
        code = sock.getsockopt(SOL_SOCKET, SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _wait_until_connected(sock: RawSocket) -> None:
    hub = get_hub()
    watcher = hub.loop.io(sock.fileno(), _WRITE)
    try:
        hub.wait(watcher)
    finally:
        watcher.close()
