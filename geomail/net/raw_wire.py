"""The half of a wire that knows the socket: it waits, reads and writes, and leaves the bytes as they are.

A wire waits for the socket first and then reads once. It sets no timer of its
own (see ``net.timing``).
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

from geomail.conversation import Conversation
from geomail.errors import PeerGone, Side
from geomail.net.crew import step_aside, switch_to
from geomail.net.timing import current, now

if TYPE_CHECKING:
    from gevent._types import _IoWatcher

#: FIONREAD's answer, an int, when nothing waits.
_NO_BYTES: Final = bytes(4)
#: Bytes per read of data that is thrown away.
_DROP_READ: Final = 4096
_READ: Final = 1
_WRITE: Final = 2
#: Final, like all that is needed often: the compiled build then need not ask the module for it.
_write: Final = os.write
#: The value that :meth:`RawWire.hang_up` gives to the greenlet that it wakes.
_HUNG_UP: Final = object()
#: SPLICE_F_MOVE | SPLICE_F_NONBLOCK; os has names for them from Python 3.10 on, but not with every libc.
_SPLICE: Final = 1 | 2
#: Bytes of a rejected client that are read and dropped, so that it sees our last words, not a reset.
_LINGER_BYTES: Final = 65536


class RawWire(Conversation):
    """A connected stream socket, without TLS and without a buffer; :class:`geomail.net.wire.Wire` adds both.

    ``sock`` is a raw (unpatched) non-blocking socket, owned from here on.
    ``resumed_at`` is the time.monotonic() at which the peer last made room for
    a send that had to wait, 0 if no send had to. ``half_said`` is true while a
    send waits for room or TLS is being started: if the session is interrupted
    then, it can say nothing more here. ``is_local`` is set by the code that
    connects: the peer is on this machine.
    """

    __slots__ = (
        "_at_end",
        "_fd",
        "_hub",
        "_is_armed",
        "_read",
        "_reader",
        "_sleeper",
        "_sock",
        "_writer",
        "half_said",
        "is_local",
        "received",
        "resumed_at",
        "sent",
    )

    def __init__(self, sock: RawSocket, peer: Side) -> None:
        super().__init__(peer)
        self._sock = sock
        self._fd = sock.fileno()
        self._read = read  # not Final, unlike _write: the tests replace it to see the sizes of reads
        self._hub = get_hub()
        self._reader = self._hub.loop.io(self._fd, _READ)
        self._is_armed = False
        self._sleeper: RawGreenlet | None = None
        self._writer: _IoWatcher | None = None
        self._at_end = False
        self.half_said = False
        self.is_local = False
        self.received = 0
        self.sent = 0
        self.resumed_at = 0.0

    def connect(self, address: Any) -> int:
        """Connect a fresh socket, however long that takes; return 0, or the number of the error."""
        code = self._sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            code = self._sock.connect_ex(address)  # on this machine, it has succeeded or failed meanwhile
        watcher: Any = self._reader
        if code == errno.EALREADY:
            watcher.events = _WRITE  # a second watcher would cost more than all of this
            self._wait(watcher)
            watcher.events = _READ
            code = self._sock.getsockopt(SOL_SOCKET, SO_ERROR)
        watcher.priority = 1  # if both sides of a relay have ended, the backend's end needs no answer
        return code

    def fileno(self) -> int:
        """Return the descriptor of the socket, -1 once closed."""
        return self._fd

    @property
    def local_address(self) -> str:
        """The IP address of our end; empty on a Unix socket."""
        name = self._sock.getsockname()
        return name[0] if isinstance(name, tuple) else ""

    # -- waiting for bytes ------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """True while a greenlet waits for bytes here, and none waits for room to send."""
        writer: Any = self._writer  # gevent's types leave "active" out
        return self._sleeper is not None and not (writer is not None and writer.active)

    def wait_for_bytes(self) -> bool:
        """Wait until bytes or the end of the stream can be read; return False after :meth:`hang_up`.

        The watcher stays armed: the next wait mostly begins at once, and disarming costs a system call.
        """
        if not self._is_armed:
            self._is_armed = True
            self._reader.start(self._wake_sleeper)
        self._sleeper = current()
        try:
            return switch_to(self._hub) is not _HUNG_UP
        finally:
            self._sleeper = None

    def hang_up(self) -> None:
        """Make a greenlet that waits for bytes stop waiting: its ``receive`` returns ``b""`` at once.

        Every session ends so, and an exception thrown into the greenlet would cost more
        than all else of the end. A greenlet that waits for something else goes on as before.
        """
        if self._sleeper is not None:
            step_aside(self._sleeper.switch, _HUNG_UP)

    def watch(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Call ``callback`` in the hub while bytes or the end are there; no greenlet may read meanwhile."""
        self._is_armed = False
        self._reader.start(callback, *arguments)

    def stop_watching(self) -> None:
        """Undo :meth:`watch`."""
        self._reader.stop()

    def _wake_sleeper(self) -> None:
        """Wake the greenlet that waits for bytes; without one, stop watching until one waits."""
        if self._sleeper is not None:
            switch_to(self._sleeper)
        else:
            self._is_armed = False
            self._reader.stop()

    def _bytes_wait(self) -> bool:
        """Tell whether the kernel holds bytes of this connection."""
        return ioctl(self._fd, FIONREAD, _NO_BYTES) != _NO_BYTES

    # -- bytes ------------------------------------------------------------------------------------

    def splice_into(self, pipe: int, size: int) -> int | None:
        """Move at most ``size`` received bytes into a pipe, unread; return how many, 0 at the end.

        Return None if no bytes were there after all. Raises PeerGone.
        """
        try:
            moved = os.splice(self._fd, pipe, size, flags=_SPLICE)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._to_peer_gone(error) from None
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
                raise self._to_peer_gone(error) from None

    def _receive_plain(self, size: int) -> bytes:
        while self.wait_for_bytes():
            try:
                data = self._read(self._fd, size)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._to_peer_gone(error) from None
            if not data:
                self._at_end = True
            return data
        return b""

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
                raise self._to_peer_gone(error) from None

    def _send_at_once(self, data: bytes) -> None:
        """Send what the kernel takes without waiting, and drop the rest."""
        try:
            _write(self._fd, data)
        except OSError:
            pass  # the peer has gone, or does not read

    def _wait(self, watcher: _IoWatcher) -> None:
        """Do as ``hub.wait``, but without its Waiter: only this watcher or an exception ends the wait."""
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
        self.resumed_at = now()

    def _to_peer_gone(self, error: OSError) -> PeerGone:
        text = os.strerror(error.errno) if error.errno else str(error)
        return PeerGone(f"{text} ({errno.errorcode.get(error.errno or 0, '?')})", blame=self.peer)

    # -- the end ----------------------------------------------------------------------------------

    def _shut_down_sending(self) -> None:
        try:
            self._sock.shutdown(SHUT_WR)
        except OSError:
            pass  # the peer has gone, and needs no end

    def close(self) -> None:
        """Close at once. A second call does nothing."""
        if self._fd < 0:
            return
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        if self.peer == "client" and not self._at_end:
            self._drop_unread()
        self._fd = -1
        self._sock.close()

    def _drop_unread(self) -> None:
        """Read and drop what the client still sent: closing with unread bytes would reset the connection."""
        dropped = 0
        try:
            while dropped < _LINGER_BYTES and (data := self._read(self._fd, _DROP_READ)):
                dropped += len(data)
        except OSError:
            pass  # no more bytes are there, or the client has gone
