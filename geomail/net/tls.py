"""TLS as a filter between bytes: one channel per secured connection.

A channel does no I/O (two memory BIOs); :class:`geomail.net.wire.Wire` moves
the bytes. That keeps one way to wait for a socket, lets two greenlets read and
write one secured connection, and costs half of what ``SSLSocket`` does.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from sys import intern
from typing import Any

from geomail.errors import Side, TlsFailed
from geomail.net.openssl import peers
from geomail.net.openssl.binding import is_available
from geomail.net.openssl.buffers import give_back_buffers, put_close_notify
from geomail.net.openssl.contexts import ServerContext
from geomail.net.openssl.sessions import forget_session, prepare_to_resume
from geomail.parties import ClientCertificate, TlsDetails, VerifyClient

#: The most that one TLS record carries.
_PLAINTEXT = 16384
#: Room for one record with its frame.
RECORD = _PLAINTEXT + 512
#: Answers to the peer's key updates that may wait for our next write.
_MOST_UNSENT = 16384


@dataclass(frozen=True, slots=True)
class TlsSide:
    """One side of a TLS connection: the server's or the client's.

    The client's side verifies ``server_name``. The server's side verifies the
    client's certificate, as ``verify_client`` says.
    """

    context: ssl.SSLContext
    server: bool
    server_name: str | None = None
    verify_client: VerifyClient = "off"

    def make_channel(self, peer: Side) -> TlsChannel:
        """Make a channel, before its handshake."""
        return TlsChannel(self, peer)


class TlsChannel:
    """One TLS connection between two memory BIOs.

    A BIO keeps the largest size that it ever had, so at most one record is put
    into it at a time.
    """

    __slots__ = (
        "_ended",
        "_engine",
        "_failure",
        "_incoming",
        "_object",
        "_outgoing",
        "_peer",
        "_version_and_cipher",
        "_waiting",
        "server",
    )

    def __init__(self, side: TlsSide, peer: Side) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = side.context.wrap_bio(
            self._incoming, self._outgoing, server_side=side.server, server_hostname=side.server_name
        )
        if isinstance(side.context, ServerContext):
            prepare_to_resume(self._object, side.context)
        # the object behind SSLObject does the work; SSLObject's methods only add a call
        self._engine: Any = self._object._sslobj  # type: ignore[attr-defined]
        self._version_and_cipher: tuple[str, str] | None = None
        self._peer: Side = peer
        self._waiting: bytes | memoryview = b""
        self._ended = False
        self._failure: TlsFailed | None = None
        self.server = side.server

    def feed(self, data: bytes) -> None:
        """Take ciphertext from the socket; empty: the end of the stream."""
        if not data:
            self._ended = True
        elif len(data) <= RECORD:
            self._incoming.write(data)
        else:
            self._waiting = memoryview(data)

    def _pour(self) -> bool:
        """Put the next piece of the waiting ciphertext into the BIO; return True."""
        self._incoming.write(self._waiting[:RECORD])
        self._waiting = self._waiting[RECORD:]
        return True

    @property
    def has_input(self) -> bool:
        """True if fed ciphertext waits to be decrypted."""
        return bool(self._incoming.pending or self._engine.pending() or self._waiting)

    def drain(self) -> bytes:
        """Return the ciphertext that is to be sent, and forget it here."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def handshake(self) -> bool:
        """Go on with the handshake; return True when it is done.

        On the server's side, feed data before the first call.
        """
        try:
            self._engine.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise self._to_tls_failed(error) from None
        return True

    def decrypt(self, size: int) -> bytes | None:
        """Decrypt at most ``size`` bytes; ``b""`` at the end of the stream, None if ciphertext is missing.

        Raises TlsFailed on a broken record, but returns the bytes before it first.
        """
        engine, incoming = self._engine, self._incoming
        pieces: list[bytes] = []
        missing = size
        while missing > 0 and (incoming.pending or engine.pending() or (self._waiting and self._pour())):
            try:
                piece = engine.read(missing if missing < _PLAINTEXT else _PLAINTEXT)
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
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(pieces) if pieces else self._end_or_wait()

    def _end(self, error: ssl.SSLError) -> None:
        self._ended = True
        if not isinstance(error, (ssl.SSLZeroReturnError, ssl.SSLEOFError)):
            self._failure = self._to_tls_failed(error)

    def _end_or_wait(self) -> bytes | None:
        """Return ``b""`` at the end of the stream, else None. Raises TlsFailed."""
        if self._failure is not None:
            raise self._failure
        if self._outgoing.pending > _MOST_UNSENT:
            raise TlsFailed("TLS: key updates without end", blame=self._peer)
        return b"" if self._ended else None

    def encrypt(self, data: bytes) -> bytes:
        """Return the ciphertext of ``data``, after all that was still to be sent."""
        try:
            if 0 < len(data) <= _PLAINTEXT:
                self._engine.write(data)
                return self._outgoing.read()
            view, pieces = memoryview(data), []
            for start in range(0, len(data), _PLAINTEXT):
                self._engine.write(view[start : start + _PLAINTEXT])
                pieces.append(self._outgoing.read())
        except ssl.SSLError as error:
            raise self._to_tls_failed(error) from None
        return b"".join(pieces)

    def close_notify(self) -> bytes:
        """Return the ciphertext that tells the peer that nothing more will be sent; reading may go on.

        Bytes that were fed but not decrypted are lost.
        """
        if is_available():
            put_close_notify(self._object)
        else:
            try:
                self._object.unwrap()
            except ssl.SSLError:
                pass  # the peer's own close_notify is not here yet, or the connection is broken
        return self.drain()

    @property
    def version_and_cipher(self) -> tuple[str, str]:
        """Version and cipher after the handshake: ``("TLSv1.3", "TLS_AES_256_GCM_SHA384")``."""
        if self._version_and_cipher is None:
            cipher = self._object.cipher()
            name = cipher[0] if cipher else ""
            self._version_and_cipher = (
                intern(self._object.version() or ""),
                intern(name),
            )  # one for all connections
        return self._version_and_cipher

    @property
    def server_name(self) -> str:
        """The host name that the client asked for (SNI), invalid UTF-8 as escapes; empty if none."""
        name = peers.get_requested_name(self._object) if is_available() else None
        return (name or b"").decode("utf-8", "backslashreplace")

    @property
    def client_certificate(self) -> ClientCertificate:
        """The client's certificate and OpenSSL's result for it, after the handshake on the server's side."""
        der = self._object.getpeercert(binary_form=True)
        if der is None:
            return ClientCertificate()
        error = peers.get_verify_result(self._object)
        text = peers.describe_certificate(der)
        return ClientCertificate(
            der=der,
            error=error,
            reason=peers.explain_verify_result(error) if error else "",
            subject=text.subject,
            issuer=text.issuer,
            serial=text.serial,
            fingerprint=hashlib.sha1(der, usedforsecurity=False).hexdigest(),
        )

    @property
    def details(self) -> TlsDetails:
        """The facts of a client's TLS for a backend, after the handshake on the server's side."""
        der, alpn = self._object.getpeercert(binary_form=True), self._object.selected_alpn_protocol()
        has_libssl = is_available()
        version, cipher = self.version_and_cipher
        signature, key = peers.describe_own_certificate(self._object) if has_libssl else ("", "")
        return TlsDetails(
            version=version,
            cipher=cipher,
            server_name=peers.get_requested_name(self._object) if has_libssl else None,
            alpn=None if alpn is None else alpn.encode("latin-1"),
            certificate="none" if der is None else "session" if self._object.session_reused else "connection",
            verify=1 if der is None else peers.get_verify_result(self._object),
            common_name=b"" if der is None else peers.describe_certificate(der).common_name,
            signature=signature,
            key=key,
        )

    def forget_session(self) -> None:
        """Remove a rejected client's session from the caches, so that it must show its certificate again."""
        if is_available():
            forget_session(self._object)

    def give_back_memory(self) -> None:
        """Free the memory that a silent connection does not need."""
        if is_available():
            give_back_buffers(self._object)

    @property
    def keeps_tickets(self) -> bool:
        """True if the ciphertext still to be sent may wait for the next write (TLS 1.3 session tickets)."""
        return self.server and self.version_and_cipher[0] == "TLSv1.3"

    def _to_tls_failed(self, error: ssl.SSLError) -> TlsFailed:
        if isinstance(error, ssl.SSLCertVerificationError):
            text = f"the certificate was not accepted: {error.verify_message}"
        else:
            text = error.reason.lower().replace("_", " ") if error.reason else str(error)
        return TlsFailed(f"TLS: {text}", blame=self._peer)
