"""TLS as a filter between bytes: contexts, and one channel per secured connection.

A channel does no I/O (two memory BIOs); :class:`geomail.net.wire.Wire` moves
the bytes. That keeps one way to wait for a socket, lets two greenlets read and
write one secured connection, and costs half of what ``SSLSocket`` does.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from geomail.errors import Side, TlsFailed

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


def set_protocols(context: ssl.SSLContext, protocols: Iterable[str]) -> None:
    """Allow exactly these ``ssl_protocols`` (names as nginx writes them).

    OpenSSL takes a range; versions inside it that are not named are switched off.
    """
    allowed = [version for name, version in _VERSIONS.items() if name in set(protocols)]
    context.minimum_version, context.maximum_version = allowed[0], allowed[-1]
    for name, version in _VERSIONS.items():
        if allowed[0] < version < allowed[-1] and version not in allowed:
            context.options |= getattr(ssl, "OP_NO_" + name.replace(".", "_"))


def server_context(
    *, certificates: Iterable[tuple[str, str]], protocols: Iterable[str], ciphers: str, alpn: str
) -> ssl.SSLContext:
    """The context of a listener. Raises OSError or ssl.SSLError where a file or word is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for certificate, key in certificates:
        context.load_cert_chain(certificate, key)
    set_protocols(context, protocols)
    context.set_ciphers(ciphers)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1
    context.set_alpn_protocols([alpn])
    return context


def client_context(
    *, ca: str | None, verify: bool, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """The context for a backend or an auth service: verified, unless that was turned off by name."""
    context = ssl.create_default_context(cafile=ca)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


@dataclass(frozen=True, slots=True)
class TlsSide:
    """Which side of TLS a connection is on: ``server_name`` is verified on the client's side."""

    context: ssl.SSLContext
    server: bool
    server_name: str | None = None

    def channel(self, peer: Side) -> TlsChannel:
        """A fresh channel, before its handshake."""
        return TlsChannel(self, peer)


class TlsChannel:
    """One TLS connection between two memory BIOs."""

    __slots__ = ("_incoming", "_object", "_outgoing", "_peer", "server")

    def __init__(self, side: TlsSide, peer: Side) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = side.context.wrap_bio(
            self._incoming, self._outgoing, server_side=side.server, server_hostname=side.server_name
        )
        self._peer: Side = peer
        self.server = side.server

    def feed(self, data: bytes) -> None:
        """Take ciphertext from the socket; none means its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def drain(self) -> bytes:
        """Ciphertext for the socket."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def handshake(self) -> bool:
        """Go on with the handshake; true when done. On the server's side, call it with data in hand."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise self._failed(error) from None
        return True

    def decrypt(self, size: int) -> bytes | None:
        """At most ``size`` bytes, at least one record; None: more ciphertext is needed; none: the end."""
        pieces: list[bytes] = []
        missing = size
        while missing > 0 and (self._incoming.pending or self._object.pending()):
            try:
                piece = self._object.read(missing)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                piece = b""
            except ssl.SSLError as error:
                raise self._failed(error) from None
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            missing -= len(piece)
        if pieces:
            return b"".join(pieces)
        return b"" if self._incoming.eof else None

    def encrypt(self, data: bytes) -> bytes:
        """The ciphertext of ``data``, behind whatever was still to be sent."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._object.write(view) :]
        except ssl.SSLError as error:
            raise self._failed(error) from None
        return self._outgoing.read()

    @property
    def has_unread(self) -> bool:
        """Whether ciphertext waits to be decrypted; ``close_notify`` would then lose it."""
        return bool(self._incoming.pending)

    def close_notify(self) -> bytes:
        """The ciphertext that tells the peer that nothing more will be sent; reading may go on."""
        try:
            self._object.unwrap()
        except (ssl.SSLError, ValueError):
            pass
        return self.drain()

    @property
    def described(self) -> tuple[str, str]:
        """Protocol and cipher, ``("TLSv1.3", "TLS_AES_256_GCM_SHA384")``."""
        cipher = self._object.cipher()
        return self._object.version() or "", cipher[0] if cipher else ""

    @property
    def keeps_tickets(self) -> bool:
        """Whether what is still to be sent may wait for the next write (TLS 1.3 session tickets)."""
        return self.server and self._object.version() == "TLSv1.3"

    def _failed(self, error: ssl.SSLError) -> TlsFailed:
        reason = getattr(error, "verify_message", None) or error.reason or str(error)
        return TlsFailed(f"TLS: {str(reason).lower().replace('_', ' ')}", blame=self._peer)
