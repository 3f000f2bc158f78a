"""Connections on loopback, and peers that share no code with geomail."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from _socket import socket as RawSocket
from collections.abc import Callable
from typing import Protocol, TypeVar

import gevent

from geomail.errors import Side
from geomail.net.tls import TlsSide
from geomail.net.tls_contexts import ServerSettings, make_server_context
from geomail.net.wire import Wire
from tests.servers.certificates import Certificate

#: Seconds after which a peer that waits in vain fails its test: far more than a busy machine takes.
PATIENCE = 20.0
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

T = TypeVar("T")


def within(do: Callable[[], T]) -> T:
    """Return the result of ``do``; fail if it stalls."""
    with gevent.Timeout(PATIENCE, AssertionError(f"took more than {PATIENCE} s")):
        return do()


def until(true: Callable[[], object]) -> None:
    """Wait until ``true`` returns a true value."""
    with gevent.Timeout(PATIENCE, AssertionError(f"not so after {PATIENCE} s")):
        while not true():
            gevent.sleep(0.005)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for end in (near, far):
        end.settimeout(PATIENCE)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def raw(sock: socket.socket) -> RawSocket:
    """Return the connection in the form that a wire needs: unpatched, non-blocking."""
    bare = RawSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
    bare.setblocking(False)
    return bare


def reset(sock: socket.socket) -> None:
    """Close with a reset: the other end gets a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def listener_context(certificate: Certificate, *protocols: str) -> ssl.SSLContext:
    """Make the context of geomail's listeners."""
    return make_server_context(
        ServerSettings(
            certificates=[(str(certificate.certificate), str(certificate.key))],
            protocols=protocols or ("TLSv1.2", "TLSv1.3"),
            ciphers="HIGH:!aNULL:!MD5",
            alpn="smtp",
        )
    )


def speaking(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Limit the context to one version of TLS, and return it."""
    context.minimum_version = context.maximum_version = version
    return context


def read_all(peer: Peer) -> bytes:
    """Read up to the end of the stream."""
    pieces = []
    while piece := peer.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(peer: Peer, size: int) -> bytes:
    """Read the next ``size`` bytes."""
    pieces = []
    while size:
        piece = peer.recv(size)
        if not piece:
            raise AssertionError(f"ended {size} bytes too early")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


class Peer(Protocol):
    """The other end of a wire, plain or secured, in the hands of a test."""

    sock: socket.socket

    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...
    def end_sending(self) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...


class PlainPeer:
    """A peer without TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sendall = sock.sendall
        self.recv = sock.recv

    def close(self) -> None:
        self.sock.close()

    def end_sending(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        reset(self.sock)


#: The sizes of reads from a descriptor, if a test wants to know; cleared after each test.
asked: dict[int, list[int]] = {}


def asked_of(wire: Wire) -> list[int]:
    """Return a list of the sizes of all reads from the socket from now on."""
    return asked.setdefault(wire.fileno(), [])


def noting_read(fd: int, size: int) -> bytes:
    """Read with os.read, and note the size: wires read with this in these tests."""
    if fd in asked:
        asked[fd].append(size)
    return os.read(fd, size)


def wire_pair(peer: Side = "client", tls: TlsSide | None = None) -> tuple[Wire, PlainPeer]:
    """Make a wire, and the peer at its other end."""
    near, far = tcp_pair()
    return Wire(raw(near), peer, tls), PlainPeer(far)


def secured_pair(tls: TlsSide, context: ssl.SSLContext, peer: Side = "client") -> tuple[Wire, TlsPeer]:
    """Make a wire with TLS active, and the peer at its other end, which has the ``context``."""
    near, far = tcp_pair()
    wire = Wire(raw(near), peer, tls)
    other = TlsPeer(far, context, server=not tls.server, name="localhost" if tls.server else None)
    shaking = gevent.spawn(other.handshake)
    wire.start_tls()
    shaking.get(timeout=PATIENCE)
    return wire, other


class TlsPeer:
    """A peer with TLS between its own BIOs, so that a test decides what goes into one segment."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server: bool = False,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
        step: int = 65536,
    ) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server, server_hostname=name, session=session
        )
        self._step = step

    def handshake(self, then: bytes = b"") -> None:
        """Do the handshake; send ``then`` in the same segment as the last flight."""
        while not self._handshaken():
            self._flush()
            self._fill()
        self._send(self.record(then))

    def _handshaken(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            self._flush()  # the alert
            raise
        return True

    def _fill(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("closed")
        self.incoming.write(data)

    def _flush(self) -> None:
        self._send(self.outgoing.read())

    def _send(self, data: bytes) -> None:
        for start in range(0, len(data), self._step):
            self.sock.sendall(data[start : start + self._step])
            if self._step < 100:
                gevent.sleep(0)

    def record(self, data: bytes) -> bytes:
        """Return ``data`` as it would be on the wire."""
        for start in range(0, len(data), 16384):
            self.tls.write(data[start : start + 16384])
        return self.outgoing.read()

    def notify(self) -> bytes:
        """Return a close_notify as it would be on the wire."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        return self.outgoing.read()

    def sendall(self, data: bytes) -> None:
        self.sock.sendall(self.record(data))

    def recv(self, size: int) -> bytes:
        """Read; return None at a close_notify. Raises ConnectionError at an end without one."""
        while True:
            try:
                return self.tls.read(min(size, 16384))
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                self._fill()

    def end_sending(self) -> None:
        self.sock.sendall(self.notify())

    def reset(self) -> None:
        reset(self.sock)

    def close(self) -> None:
        self.sock.close()
