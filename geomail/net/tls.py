"""TLS as a filter between bytes: contexts, and one channel per secured connection.

A channel does no I/O (two memory BIOs); :class:`geomail.net.wire.Wire` moves
the bytes. That keeps one way to wait for a socket, lets two greenlets read and
write one secured connection, and costs half of what ``SSLSocket`` does.
"""

from __future__ import annotations

import errno
import ssl
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from geomail.errors import Side, TlsFailed

#: The most that one TLS record carries.
_PLAINTEXT = 16384
#: Room for one record with its frame.
RECORD = _PLAINTEXT + 512
#: Answers to the peer's key updates that may wait for our next write.
_MOST_UNSENT = 16384

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
    names = set(protocols)
    allowed = [version for name, version in _VERSIONS.items() if name in names]
    with warnings.catch_warnings():  # old versions are the operator's choice; check-config warns of them
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = allowed[0], allowed[-1]
        for name, version in _VERSIONS.items():
            if allowed[0] < version < allowed[-1] and name not in names:
                context.options |= getattr(ssl, "OP_NO_" + name.replace(".", "_"))


def server_context(
    *, certificates: Iterable[tuple[str, str]], protocols: Iterable[str], ciphers: str, alpn: str
) -> ssl.SSLContext:
    """The context of a listener. Raises OSError (ssl.SSLError is one) where a file or word is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for certificate, key in certificates:
        context.load_cert_chain(certificate, key, _no_password)
    set_protocols(context, protocols)
    context.set_ciphers(ciphers)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1
    context.set_alpn_protocols([alpn])
    return context


def client_context(
    *, ca: str | None, verify: bool, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """The context for a backend or an auth service: verified, unless that was turned off by name.

    ``ca`` None trusts the system's authorities. Raises OSError where a file is wrong.
    """
    # not create_default_context: from 3.13 on it refuses authorities that all other versions accept
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key, _no_password)
    return context


def _no_password() -> str:
    """OpenSSL would ask at the terminal, and wait."""
    raise OSError(errno.ENOKEY, "the private key is encrypted")


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
    """One TLS connection between two memory BIOs.

    A BIO keeps the largest size that it ever had, so no more than a record is
    put into one at a time.
    """

    __slots__ = ("_ended", "_failure", "_incoming", "_object", "_outgoing", "_peer", "_waiting", "server")

    def __init__(self, side: TlsSide, peer: Side) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = side.context.wrap_bio(
            self._incoming, self._outgoing, server_side=side.server, server_hostname=side.server_name
        )
        self._peer: Side = peer
        self._waiting: bytes | memoryview = b""
        self._ended = False
        self._failure: TlsFailed | None = None
        self.server = side.server

    def feed(self, data: bytes) -> None:
        """Take ciphertext from the socket; none means its end."""
        if not data:
            self._ended = True
        elif len(data) <= RECORD:
            self._incoming.write(data)
        else:
            self._waiting = memoryview(data)

    def _pour(self) -> bool:
        """Put the next piece of what waits into the BIO; false if there is none."""
        if not self._waiting:
            return False
        self._incoming.write(self._waiting[:RECORD])
        self._waiting = self._waiting[RECORD:]
        return True

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
        """At most ``size`` bytes of what was fed; none at the end; None if that needs more ciphertext.

        Raises TlsFailed on a broken record, once what came before it was returned.
        """
        pieces: list[bytes] = []
        missing = size
        while missing > 0 and (self._incoming.pending or self._object.pending() or self._pour()):
            try:
                piece = self._object.read(missing if missing < _PLAINTEXT else _PLAINTEXT)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                self._end(error)
                break
            if not piece:
                self._ended = True
                break
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces) if pieces else self._nothing()

    def _end(self, error: ssl.SSLError) -> None:
        self._ended = True
        if not isinstance(error, (ssl.SSLZeroReturnError, ssl.SSLEOFError)):
            self._failure = self._failed(error)

    def _nothing(self) -> bytes | None:
        if self._failure is not None:
            raise self._failure
        if self._outgoing.pending > _MOST_UNSENT:
            raise TlsFailed("TLS: key updates without end", blame=self._peer)
        return b"" if self._ended else None

    def encrypt(self, data: bytes) -> bytes:
        """The ciphertext of ``data``, behind whatever was still to be sent."""
        view = data if len(data) <= _PLAINTEXT else memoryview(data)
        pieces = []
        try:
            for start in range(0, len(data), _PLAINTEXT):
                self._object.write(view[start : start + _PLAINTEXT])
                pieces.append(self._outgoing.read())
        except ssl.SSLError as error:
            raise self._failed(error) from None
        return b"".join(pieces)

    def close_notify(self) -> bytes:
        """The ciphertext that tells the peer that nothing more will be sent; reading may go on.

        What was fed and not decrypted before is lost.
        """
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # the peer's own close_notify is not here yet, or the connection is broken
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
        if isinstance(error, ssl.SSLCertVerificationError):
            text = f"the certificate was not accepted: {error.verify_message}"
        else:
            text = error.reason.lower().replace("_", " ") if error.reason else str(error)
        return TlsFailed(f"TLS: {text}", blame=self._peer)
