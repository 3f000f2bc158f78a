"""One connection on a socket, in blocking style.

All of geomail's reading and writing goes through :class:`Wire`: it waits for
the socket first and then reads once, keeps one bytes buffer, and sets no timer
of its own (see ``net.timing``). It is a Conversation for the dialogues, and
gives the relay ``receive`` and ``send``.
"""

from __future__ import annotations

import errno
import os
from _socket import SHUT_WR, SO_ERROR, SOL_SOCKET
from _socket import socket as RawSocket
from collections.abc import Callable
from fcntl import ioctl
from os import read
from termios import FIONREAD
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub
from greenlet import greenlet as RawGreenlet

from geomail.conversation import CR, LF, Conversation
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
from geomail.net.crew import step_aside, switch_to
from geomail.net.timing import current, now
from geomail.net.tls import RECORD, TlsChannel, TlsSide
from geomail.parties import VerifyClient, judge_certificate

if TYPE_CHECKING:
    from gevent._types import _IoWatcher

#: Bytes asked of the socket at once while a dialogue runs: the most that Python's own allocator has room for.
DIALOGUE_READ: Final = 479
#: FIONREAD's answer, an int, where nothing waits.
_NO_BYTES: Final = bytes(4)
#: Bytes read at once of what nobody wants.
_DROP_READ: Final = 4096
_READ: Final = 1
_WRITE: Final = 2
#: Final, as all that is needed again and again: the compiled build need not ask the module for it.
_write: Final = os.write
#: What :meth:`Wire.hang_up` switches with.
_HUNG_UP: Final = object()
#: SPLICE_F_MOVE | SPLICE_F_NONBLOCK; os has names for them from Python 3.10 on, but not on every libc.
_SPLICE: Final = 1 | 2
#: Bytes of a rejected client's that are read and dropped, so that it sees our last words, not a reset.
_LINGER_BYTES: Final = 65536


class Wire(Conversation):
    """A connected stream socket; ``tls`` says what :meth:`start_tls` does.

    ``sock`` is a raw (unpatched) non-blocking socket, owned from here on.
    ``received`` and ``sent`` count bytes of the application, TLS not included.
    ``resumed`` is the time.monotonic() at which the peer last made room for a
    send that had to wait, 0 if none had to. ``half_said`` is true while a
    send waits for room or TLS is being started: whoever is interrupted in it
    has nothing more to say here. The relay keeps ``at_line_end``: whether
    what it sent last was a whole line. ``is_local``, for whoever connects to
    set: the peer is on this machine. One greenlet may read while another
    one writes; nobody may do either when the wire is closed.
    """

    __slots__ = (
        "_at_end",
        "_buffer",
        "_channel",
        "_fd",
        "_hub",
        "_is_armed",
        "_read",
        "_reader",
        "_sleeper",
        "_sock",
        "_tls",
        "_writer",
        "at_line_end",
        "half_said",
        "is_local",
        "received",
        "resumed",
        "sent",
    )

    def __init__(self, sock: RawSocket, peer: Side, tls: TlsSide | None = None) -> None:
        super().__init__(peer)
        self._sock = sock
        self._fd = sock.fileno()
        self._read = read  # here, as _write is Final; the tests take note of reads by another one
        self._tls = tls
        self._hub = get_hub()
        self._reader = self._hub.loop.io(self._fd, _READ)
        self._is_armed = False
        self._sleeper: RawGreenlet | None = None
        self._writer: _IoWatcher | None = None
        self._buffer = b""
        self._channel: TlsChannel | None = None
        self._at_end = False
        self.at_line_end = True
        self.half_said = False
        self.is_local = False
        self.received = 0
        self.sent = 0
        self.resumed = 0.0

    def connect(self, address: Any) -> int:
        """Connect a fresh socket, however long that takes; 0, or the number of the error."""
        code = self._sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            code = self._sock.connect_ex(address)  # on this machine it has come about meanwhile, or failed
        watcher: Any = self._reader
        if code == errno.EALREADY:
            watcher.events = _WRITE  # a second watcher would cost more than all of this
            self._wait(watcher)
            watcher.events = _READ
            code = self._sock.getsockopt(SOL_SOCKET, SO_ERROR)
        watcher.priority = 1  # where both sides of a relay have ended, the backend's end needs no answer
        return code

    # -- for the relay and for whoever speaks bytes -----------------------------------------------

    def receive(self, size: int) -> bytes:
        """Wait for bytes and return what is there, at most ``size``; ``b""`` at the end of the stream.

        What a dialogue has read ahead comes first. Raises PeerGone on a reset,
        TlsFailed on a broken record.
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
        """Whether bytes can go past this process: no TLS, nothing read ahead."""
        return self._channel is None and not self._buffer

    @property
    def is_waiting(self) -> bool:
        """Whether a greenlet waits for bytes here, and none for room."""
        writer: Any = self._writer  # gevent's types leave "active" out
        return self._sleeper is not None and not (writer is not None and writer.active)

    def watch(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Have ``callback`` called in the hub while there are bytes, or an end; nobody may read meanwhile."""
        self._is_armed = False
        self._reader.start(callback, *arguments)

    def give_back_memory(self) -> None:
        """Free what a connection that is silent can do without; it comes back when it is needed."""
        if self._channel is not None:
            self._channel.give_back_memory()

    def stop_watching(self) -> None:
        """Undo :meth:`watch`."""
        self._reader.stop()

    def hang_up(self) -> None:
        """Tell a greenlet that waits for bytes that no more come: :meth:`receive` gives ``b""`` at once.

        Every session ends so, and an exception thrown into it would cost more than all
        else of the end. One that waits for anything else goes on as before.
        """
        if self._sleeper is not None:
            step_aside(self._sleeper.switch, _HUNG_UP)

    def wait_for_bytes(self) -> bool:
        """Wait until there is something to read, or the end of the stream; False: it was hung up.

        The watcher stays armed: the next wait mostly follows before the kernel would have to be told.
        """
        if not self._is_armed:
            self._is_armed = True
            self._reader.start(self._stirred)
        self._sleeper = current()
        try:
            return switch_to(self._hub) is not _HUNG_UP
        finally:
            self._sleeper = None

    def splice_into(self, pipe: int, size: int) -> int | None:
        """Move at most ``size`` bytes that are here into a pipe, unread: how many, 0 at the end.

        None: there was nothing after all. Raises PeerGone.
        """
        try:
            moved = os.splice(self._fd, pipe, size, flags=_SPLICE)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._gone(error) from None
        self.received += moved
        return moved

    def splice_from(self, pipe: int, size: int) -> None:
        """Send ``size`` bytes that a pipe holds, however long that takes. Raises PeerGone."""
        while size:
            try:
                moved = os.splice(pipe, self._fd, size, flags=_SPLICE)
                size -= moved
                self.sent += moved
            except BlockingIOError:
                self._wait_for_room()
            except OSError as error:
                raise self._gone(error) from None

    def end_sending(self) -> None:
        """Tell the peer that nothing more will be sent; reading may go on. Never raises SessionError."""
        try:
            if self._channel is not None:
                self._read_ahead(self._channel)
                self._send_all(self._channel.close_notify())
            self._sock.shutdown(SHUT_WR)
        except (OSError, SessionError):
            pass  # it needs no telling

    def close(self) -> None:
        """Close at once, TLS with a close_notify if it can be sent without waiting. May be called twice."""
        if self._fd < 0:
            return
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        if self._channel is not None:
            self._say_goodbye(self._channel)
        if self.peer == "client" and not self._at_end:
            self._drop_unread()
        self._fd = -1
        self._sock.close()

    def read_head(self, limit: int) -> bytes:
        """Read lines up to and including the first blank one, all together (the head of an HTTP message).

        Raises LineTooLong if they are more than ``limit`` bytes, PeerGone at the end of the stream.
        """
        end = 0
        try:
            while not (self._buffer and (end := _end_of_head(self._buffer, limit))):
                if len(self._buffer) >= limit:
                    raise LineTooLong(f"a head of more than {limit} bytes", blame=self.peer)
                self._fill()
        finally:
            if self.tracer is not None:  # what is not complete is what somebody wants to see
                self.tracer("<", self._buffer[: end or limit], "")
        head, self._buffer = self._buffer[:end], self._buffer[end:]
        return head

    def has_unread(self) -> bool:
        """Tell whether bytes are here, not read yet; cheaper than look_ahead(), and blind to an end."""
        if self._channel is not None:
            return bool(self.look_ahead())
        return bool(self._buffer) or ioctl(self._fd, FIONREAD, _NO_BYTES) != _NO_BYTES

    def look_ahead(self) -> bytes | None:
        """Look, without waiting, for what is there to be read: some of it, which stays; None: nothing.

        ``b""`` is the end of the stream, or a connection that is broken. Nobody may read meanwhile.
        """
        if self._buffer:
            return self._buffer
        try:
            data = self._read_at_once()
        except BlockingIOError:
            return None  # under TLS, session tickets may have come: they are not for anybody to read
        except (OSError, TlsFailed):
            return b""
        self.received += len(data)
        self._buffer = data
        return data

    def _read_at_once(self) -> bytes:
        channel = self._channel
        if channel is None:
            return read(self._fd, DIALOGUE_READ)
        while (data := channel.decrypt(DIALOGUE_READ)) is None:
            channel.feed(read(self._fd, RECORD))
        return data

    def fileno(self) -> int:
        """The descriptor of the socket, -1 once closed."""
        return self._fd

    @property
    def local_address(self) -> str:
        """The IP address of our end; empty on a Unix socket."""
        name = self._sock.getsockname()
        return name[0] if isinstance(name, tuple) else ""

    # -- Conversation -----------------------------------------------------------------------------

    @property
    def secured(self) -> bool:
        return self._channel is not None

    @property
    def exposed(self) -> bool:
        return self._channel is None and not self.is_local

    @property
    def channel(self) -> TlsChannel | None:
        """The TLS that is active: the peer's certificate and all else that it tells."""
        return self._channel

    @property
    def tls_described(self) -> tuple[str, str] | None:
        """Protocol and cipher of the TLS that is active, None without."""
        return None if self._channel is None else self._channel.described

    def begin_tls(self) -> None:
        """Do the handshake of implicit TLS: what was read behind a PROXY header belongs to it already."""
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
        channel = self._tls.channel(self.peer)
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
            self._last_alert(channel)
            raise
        if not channel.keeps_tickets:
            self._send_all(channel.drain())
        self._channel = channel
        self.half_said = False
        if self._tls.verify_client != "off":
            _judge(channel, self._tls.verify_client)

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

        What is there already is neither copied nor looked at again with each piece: a peer
        that sends a long line byte by byte would make that expensive.
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

    # -- the socket -------------------------------------------------------------------------------

    def _receive_plain(self, size: int) -> bytes:
        while self.wait_for_bytes():
            try:
                data = self._read(self._fd, size)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._gone(error) from None
            if not data:
                self._at_end = True
            return data
        return b""

    def _stirred(self) -> None:
        """There are bytes, or an end: wake who waits for that, or look away until somebody does."""
        if self._sleeper is not None:
            switch_to(self._sleeper)
        else:
            self._is_armed = False
            self._reader.stop()

    def _receive_secured(self, size: int) -> bytes:
        channel = self._channel
        assert channel is not None
        while (data := channel.decrypt(size)) is None:
            data = self._receive_plain(max(size, RECORD))
            if not (data or self._at_end):
                break  # hung up, which is no end of the TLS
            channel.feed(data)
        return data

    def _feed(self, channel: TlsChannel) -> None:
        data = self._receive_plain(RECORD)
        if not data:
            raise PeerGone("closed the connection during the TLS handshake", blame=self.peer)
        channel.feed(data)

    def _send_all(self, data: bytes) -> None:
        rest: bytes | memoryview = data
        while rest:
            try:
                sent = _write(self._fd, rest)
                if sent == len(rest):
                    return
                rest = memoryview(rest)[sent:]
            except BlockingIOError:
                self._wait_for_room()
            except OSError as error:
                raise self._gone(error) from None

    def _wait(self, watcher: _IoWatcher) -> None:
        """What ``hub.wait`` does, without its Waiter: only this watcher or a throw ends the wait."""
        watcher.start(current().switch)
        try:
            switch_to(self._hub)
        finally:
            watcher.stop()

    def _wait_for_room(self) -> None:
        if self._writer is None:
            self._writer = self._hub.loop.io(self._fd, _WRITE)
        self.half_said = True
        self._wait(self._writer)
        self.half_said = False
        self.resumed = now()

    def _last_alert(self, channel: TlsChannel) -> None:
        try:
            self._send_all(channel.drain())
        except PeerGone:
            pass  # it will not hear why

    def _read_ahead(self, channel: TlsChannel) -> None:
        """Decrypt what is here already: sending a close_notify would lose it."""
        while data := channel.decrypt(RECORD):
            self.received += len(data)
            self._buffer += data

    def _say_goodbye(self, channel: TlsChannel) -> None:
        try:
            _write(self._fd, channel.close_notify())
        except OSError:
            pass  # it has gone, or does not read

    def _drop_unread(self) -> None:
        """Read what the client sent and nobody wants: closing over it would reset the connection."""
        dropped = 0
        try:
            while dropped < _LINGER_BYTES and (data := read(self._fd, _DROP_READ)):
                dropped += len(data)
        except OSError:
            pass  # that was all, or it has gone

    def _gone(self, error: OSError) -> PeerGone:
        text = os.strerror(error.errno) if error.errno else str(error)
        return PeerGone(f"{text} ({errno.errorcode.get(error.errno or 0, '?')})", blame=self.peer)


def _judge(channel: TlsChannel, mode: VerifyClient) -> None:
    """Raise CertificateError or NoCertificate where ``ssl_verify_client`` rejects a client."""
    certificate = channel.client_certificate
    judgement = judge_certificate(mode, certificate)
    if judgement is None:
        return
    channel.forget_session()
    if judgement == "no certificate":
        raise NoCertificate
    raise CertificateError(certificate.error, certificate.reason)


def _end_of_head(data: bytes, limit: int) -> int:
    """Where the first blank line ends, 0 if it is not there yet; lines end with CRLF or LF."""
    if data[0] == LF or data.startswith(b"\r\n"):
        return data.index(b"\n") + 1
    crlf = data.find(b"\n\r\n", 0, limit)
    lf = data.find(b"\n\n", 0, limit if crlf < 0 else crlf)
    if lf >= 0:
        return lf + 2
    return crlf + 3 if crlf >= 0 else 0
