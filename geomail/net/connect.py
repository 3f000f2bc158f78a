"""Making connections, to a backend or an auth service."""

from __future__ import annotations

import errno
import os
from _socket import (
    AF_UNIX,
    IPPROTO_TCP,
    SO_KEEPALIVE,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
)
from _socket import socket as RawSocket
from collections.abc import Sequence
from typing import Any

from gevent import Timeout

from geomail.errors import Side
from geomail.net.tls import TlsSide
from geomail.net.wire import Wire

#: ``(family, sockaddr)``, as in the socket module; a host is an IP address.
Address = tuple[int, Any]
#: Addresses of this machine that no other machine can reach, and how most of them begin.
_LOCAL, _LOOPBACK = ("::1", "::", "0.0.0.0"), ("127.", "::ffff:127.")
#: Seconds for one address while there are others to try.
ATTEMPT = 5.0


def connect_first(addresses: Sequence[Address], *, peer: Side, tls: TlsSide | None = None) -> Wire:
    """Connect to the first of ``addresses`` that answers, and return the wire; TLS is not started.

    TCP connections get TCP_NODELAY and SO_KEEPALIVE. Raises the OSError of the
    last attempt. The caller limits the time for all attempts together.
    """
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "no address to connect to")
    for number, (family, address) in enumerate(addresses, 1):
        wire = Wire(_open_socket(family), peer, tls)
        try:
            if number < len(addresses):
                _connect_within(ATTEMPT, wire, address)
            else:
                _connect(wire, address)
        except OSError as error:
            failure = error
            wire.close()
        except BaseException:
            wire.close()
            raise
        else:
            wire.is_local = family == AF_UNIX or address[0].startswith(_LOOPBACK) or address[0] in _LOCAL
            return wire
    raise failure


def _open_socket(family: int) -> RawSocket:
    sock = RawSocket(family, SOCK_STREAM | SOCK_NONBLOCK)
    if family != AF_UNIX:
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        sock.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    return sock


def _connect_within(seconds: float, wire: Wire, address: Any) -> None:
    limit = Timeout(seconds)
    try:
        with limit:
            _connect(wire, address)
    except Timeout as fired:
        if fired is not limit:
            raise
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None


def _connect(wire: Wire, address: Any) -> None:
    code = wire.connect(address)
    if code:
        raise OSError(code, os.strerror(code))
