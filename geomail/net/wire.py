"""One connection on a socket, in blocking style.

All reading and writing of geomail goes through :class:`Wire`. It keeps one
bytes buffer, and puts TLS between the buffer and the socket once that is
active. It is a Conversation for the dialogues, and gives the relay ``receive``
and ``send``. Its base, ``net.raw_wire``, waits for the socket.
"""

from __future__ import annotations

from _socket import socket as RawSocket
from typing import Final

from geomail.conversation import CR, LF
from geomail.errors import (
    CertificateError,
    LineTooLong,
    NoCertificate,
    PeerGone,
    ProtocolViolation,
    SessionError,
    Side,
    TlsFailed,
)
from geomail.net.raw_wire import RawWire
from geomail.net.tls import RECORD, TlsChannel, TlsSide
from geomail.parties import VerifyClient, judge_certificate

#: Bytes asked of the socket per read of a dialogue: the most for which Python's own allocator has room.
DIALOGUE_READ: Final = 479


class Wire(RawWire):
    """A connected stream socket; ``tls`` says what :meth:`start_tls` does.

    ``sock`` is a raw (unpatched) non-blocking socket, owned from here on.
    ``received`` and ``sent`` count bytes of the application, without those of
    TLS itself. The relay keeps ``at_line_end``: whether the bytes that it sent
    last ended a line. One greenlet may read while another one writes; none may
    do either when the wire is closed.
    """

    __slots__ = ("_buffer", "_channel", "_tls", "at_line_end")

    def __init__(self, sock: RawSocket, peer: Side, tls: TlsSide | None = None) -> None:
        super().__init__(sock, peer)
        self._tls = tls
        self._buffer = b""
        self._channel: TlsChannel | None = None
        self.at_line_end = True

    # -- bytes, for the relay and for HTTP --------------------------------------------------------

    def receive(self, size: int) -> bytes:
        """Wait for bytes and return what is there, at most ``size``; ``b""`` at the end of the stream.

        Bytes that a dialogue has read ahead come first. Raises PeerGone on a
        reset, TlsFailed on a broken record.
        """
        if self._buffer:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        data = self._receive_plain(size) if self._channel is None else self._receive_secured(size)
        self.received += len(data)
        return data

    def send(self, data: bytes) -> None:
        """Send all of ``data``, however long that takes. Raises PeerGone, TlsFailed."""
        self._send_all(data if self._channel is None else self._channel.encrypt(data))
        self.sent += len(data)

    @property
    def can_splice(self) -> bool:
        """True if bytes may pass by inside the kernel: no TLS, nothing read ahead."""
        return self._channel is None and not self._buffer

    def give_back_memory(self) -> None:
        """Free what a silent connection does not need; it is allocated again when it is needed."""
        if self._channel is not None:
            self._channel.give_back_memory()

    def end_sending(self) -> None:
        """Tell the peer that nothing more will be sent; reading may go on. Never raises SessionError."""
        try:
            if self._channel is not None:
                self._read_ahead(self._channel)
                self._send_all(self._channel.close_notify())
        except SessionError:
            return  # the peer has gone, or its TLS is broken: no end can reach it
        self._shut_down_sending()

    def close(self) -> None:
        """Close at once. TLS gets a close_notify if that needs no waiting. A second call does nothing."""
        if self._channel is not None and self._fd >= 0:
            self._send_at_once(self._channel.close_notify())
        super().close()

    def read_head(self, limit: int) -> bytes:
        """Read lines up to and including the first blank one (the head of an HTTP message), as one piece.

        Raises LineTooLong if they are more than ``limit`` bytes, PeerGone at the end of the stream.
        """
        end = 0
        try:
            while not (self._buffer and (end := _find_end_of_head(self._buffer, limit))):
                if len(self._buffer) >= limit:
                    raise LineTooLong(f"a head of more than {limit} bytes", blame=self.peer)
                self._fill()
        finally:
            if self.tracer is not None:  # an incomplete head is just what the operator looks for
                self.tracer("<", self._buffer[: end or limit], "")
        head, self._buffer = self._buffer[:end], self._buffer[end:]
        return head

    def has_unread(self) -> bool:
        """Tell whether bytes are here that were not read yet.

        Cheaper than :meth:`look_ahead`, but it does not see the end of the stream.
        """
        if self._channel is not None:
            return bool(self.look_ahead())
        return bool(self._buffer) or self._bytes_wait()

    def look_ahead(self) -> bytes | None:
        """Return some of the bytes that can be read without waiting, and leave them here; None: no bytes.

        ``b""`` is the end of the stream, or a broken connection. No greenlet may read meanwhile.
        """
        if self._buffer:
            return self._buffer
        try:
            data = self._read_at_once()
        except BlockingIOError:
            return None  # under TLS, session tickets may have come, but nothing to read
        except (OSError, TlsFailed):
            return b""
        self.received += len(data)
        self._buffer = data
        return data

    def _read_at_once(self) -> bytes:
        channel = self._channel
        if channel is None:
            return self._read(self._fd, DIALOGUE_READ)
        while (data := channel.decrypt(DIALOGUE_READ)) is None:
            channel.feed(self._read(self._fd, RECORD))
        return data

    # -- lines, for the dialogues -----------------------------------------------------------------

    def _read_line(self, limit: int) -> bytes:
        if not self._buffer:
            self._fill()
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            self._gather(limit, b"\n")
            line, end, rest = self._buffer.partition(b"\n")
        if not end or len(line) >= limit:
            text = f"a line of more than {limit} bytes"
            raise LineTooLong(text, blame=self.peer, start=self._buffer)
        self._buffer = rest
        return line[:-1] if line and line[-1] == CR else line

    def _read_exactly(self, size: int) -> bytes:
        if len(self._buffer) < size:
            self._gather(size, None)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _gather(self, size: int, mark: bytes | None) -> None:
        """Read on until ``size`` bytes are there, or a piece with ``mark`` in it.

        Earlier pieces are neither copied nor searched again: otherwise a peer that
        sends a long line byte by byte would make that expensive.
        """
        pieces, count = [self._buffer], len(self._buffer)
        try:
            while count < size and (mark is None or mark not in pieces[-1]):
                self._buffer = b""
                self._fill()
                pieces.append(self._buffer)
                count += len(self._buffer)
        finally:
            self._buffer = b"".join(pieces)

    def _fill(self) -> None:
        if self._channel is None:
            data = self._receive_plain(DIALOGUE_READ)
        else:
            data = self._receive_secured(DIALOGUE_READ)
        if not data:
            raise PeerGone("closed the connection", blame=self.peer)
        self.received += len(data)
        self._buffer = self._buffer + data if self._buffer else data

    # -- TLS --------------------------------------------------------------------------------------

    @property
    def secured(self) -> bool:
        return self._channel is not None

    @property
    def exposed(self) -> bool:
        return self._channel is None and not self.is_local

    @property
    def channel(self) -> TlsChannel | None:
        """The active TLS, with the peer's certificate; None without TLS."""
        return self._channel

    @property
    def tls_version_and_cipher(self) -> tuple[str, str] | None:
        """The version and the cipher of the active TLS; None without TLS."""
        return None if self._channel is None else self._channel.version_and_cipher

    def begin_tls(self) -> None:
        """Do the handshake of implicit TLS: bytes that were read behind a PROXY header belong to it."""
        early, self._buffer = self._buffer, b""
        self.received -= len(early)
        self._shake_hands(early)

    def _start_tls(self) -> None:
        if self._buffer:
            raise ProtocolViolation("bytes were sent ahead of the TLS handshake", blame=self.peer)
        self._shake_hands(b"")

    def _shake_hands(self, early: bytes) -> None:
        assert self._channel is None, "TLS is active already"
        assert self._tls is not None, "start_tls on a connection without TLS settings"
        channel = self._tls.make_channel(self.peer)
        self.half_said = True
        if early:
            channel.feed(early)
        elif channel.server:
            self._feed(channel)
        try:
            while not channel.handshake():
                self._send_all(channel.drain())
                self._feed(channel)
        except TlsFailed:
            self._send_last_alert(channel)
            raise
        if not channel.keeps_tickets:
            self._send_all(channel.drain())
        self._channel = channel
        self.half_said = False
        if self._tls.verify_client != "off":
            _check_client_certificate(channel, self._tls.verify_client)

    def _feed(self, channel: TlsChannel) -> None:
        data = self._receive_plain(RECORD)
        if not data:
            raise PeerGone("closed the connection during the TLS handshake", blame=self.peer)
        channel.feed(data)

    def _receive_secured(self, size: int) -> bytes:
        channel = self._channel
        assert channel is not None
        while (data := channel.decrypt(size)) is None:
            data = self._receive_plain(max(size, RECORD))
            if not (data or self._at_end):
                break  # hung up, which is not the end of the TLS
            channel.feed(data)
        return data

    def _read_ahead(self, channel: TlsChannel) -> None:
        """Decrypt the bytes that are here already: sending a close_notify would lose them."""
        while data := channel.decrypt(RECORD):
            self.received += len(data)
            self._buffer += data

    def _send_last_alert(self, channel: TlsChannel) -> None:
        try:
            self._send_all(channel.drain())
        except PeerGone:
            pass  # the peer has gone, and cannot read why the handshake failed


def _check_client_certificate(channel: TlsChannel, mode: VerifyClient) -> None:
    """Raise CertificateError or NoCertificate if ``ssl_verify_client`` rejects a client."""
    certificate = channel.client_certificate
    judgement = judge_certificate(mode, certificate)
    if judgement is None:
        return
    channel.forget_session()
    if judgement == "no certificate":
        raise NoCertificate
    raise CertificateError(certificate.error, certificate.reason)


def _find_end_of_head(data: bytes, limit: int) -> int:
    """Return where the first blank line ends, 0 if it is not there yet; lines end with CRLF or LF."""
    if data[0] == LF or data.startswith(b"\r\n"):
        return data.index(b"\n") + 1
    crlf = data.find(b"\n\r\n", 0, limit)
    lf = data.find(b"\n\n", 0, limit if crlf < 0 else crlf)
    if lf >= 0:
        return lf + 2
    return crlf + 3 if crlf >= 0 else 0
