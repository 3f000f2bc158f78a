"""The master's side of the console: its sockets, its process, and a new process when it dies.

Nothing here makes a hub, and nothing waits. Orders of the console come as
messages on a socket pair, each with a SIGIO; ``console/master_line.py``
describes the messages.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import signal
import time
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET, socketpair
from _socket import socket as RawSocket
from array import array
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from geomail.console.master_line import LONGEST_MESSAGE
from geomail.console.process import Console, Sockets
from geomail.control.jsonlines import BadLine, decode, encode
from geomail.net.listen import BACKLOG
from geomail.process.children import GrowingDelay
from geomail.process.console_sockets import MetricsSocket, close_unless_kept
from geomail.sinks.feed import TOKEN, ConsoleAddress

if TYPE_CHECKING:
    from geomail.net.unix_sockets import UnixListener
    from geomail.sinks.log import Log


class Keeper:
    """The keeper of one console process, which runs as long as there is a control or metrics socket."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._control: UnixListener | None = None
        self._metrics: MetricsSocket | None = None
        self._feed = _open_private_listener()
        self._token = secrets.token_bytes(TOKEN)
        self._line: RawSocket | None = None
        self._pid = 0
        self._born = 0.0
        self._restart = GrowingDelay()
        self._has_unsent = False

    @property
    def feed(self) -> ConsoleAddress:
        """The address by which workers reach the console."""
        return ConsoleAddress(self._feed.getsockname(), self._token)

    @property
    def is_running(self) -> bool:
        """True while there is a console process."""
        return self._pid != 0

    @property
    def due(self) -> float | None:
        """The time (time.monotonic()) to start the console; None: it runs, or has no socket to serve."""
        return None if self.is_running or not self._has_sockets else self._restart.due

    @property
    def _has_sockets(self) -> bool:
        return self._control is not None or self._metrics is not None

    @property
    def _pages(self) -> RawSocket | None:
        return self._metrics.sock if self._metrics is not None else None

    def use(self, control: UnixListener | None, metrics: MetricsSocket | None) -> None:
        """Serve these sockets from now on; close the earlier ones that are not among them."""
        old_control, old_metrics = self._control, self._metrics
        self._control, self._metrics = control, metrics
        if not self._has_sockets:
            self.signal(signal.SIGTERM)
        if old_control is not control:
            self._hand_over("control", control)
            close_unless_kept(old_control, control)
        if old_metrics is not metrics:
            self._hand_over("metrics", self._pages)
            close_unless_kept(old_metrics, metrics)

    # -- the process ------------------------------------------------------------------------------

    def start(self, spawn: Callable[[Callable[[], None]], int], state: dict[str, Any]) -> None:
        """Start the console: ``spawn`` runs a function in a child, and returns its process id, or 0."""
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        fcntl.fcntl(ours, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
        sockets = Sockets(theirs, self._feed, self._token, self._control, self._pages)

        def run() -> None:
            ours.close()
            Console(sockets, state, self._log).run()

        self._pid = spawn(run)
        self._born = time.monotonic()
        theirs.close()
        if self._pid:
            self._line = ours
        else:
            ours.close()
            self._restart.note_death(self._born)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the console, if it runs."""
        if self._pid:
            try:
                os.kill(self._pid, number)
            except ProcessLookupError:
                pass  # it ended a moment ago; the master has not reaped it yet

    def bury(self, pid: int, how: str | None) -> bool:
        """Tell whether this process was the console; if so, note that it has ended.

        ``how`` says how it died; None: the master ended it. The next
        console is due at once, or after a delay if this one did not live long.
        """
        if pid != self._pid:
            return False
        self._pid = 0
        if self._line is not None:
            self._line.close()
            self._line = None
        self._restart.note_death(self._born)
        if how is not None:
            self._log.say("error", f"console {pid} died ({how}); mail goes on")
        return True

    def forget(self) -> None:
        """Close the sockets of the console, in another child of the master."""
        for sock in (self._feed, self._line, self._control, self._pages):
            if sock is not None:
                sock.close()

    def close(self) -> None:
        """Close all sockets and remove their files; the console has ended."""
        self._feed.close()
        close_unless_kept(self._control, None)
        close_unless_kept(self._metrics, None)

    # -- the line to it ---------------------------------------------------------------------------

    def report_state(self, state: dict[str, Any]) -> None:
        """Report the state of the master to the console."""
        self._has_unsent = not self._send("state", {"state": state})

    def send_unsent(self, state: dict[str, Any]) -> None:
        """Report the state again if the last report found no room."""
        if self._has_unsent:
            self.report_state(state)

    def answer(self, number: object, answer: dict[str, Any], state: dict[str, Any]) -> None:
        """Answer an order of the console, by the id of the order."""
        self._has_unsent = not self._send("answer", {"id": number, **answer, "state": state})

    def take_orders(self) -> Iterator[dict[str, Any]]:
        """Yield the orders that the console has sent since the last call."""
        while self._line is not None:
            try:
                data = self._line.recv(LONGEST_MESSAGE)
                if not data:
                    return
                yield decode(data)
            except BadLine:
                continue
            except OSError:
                return  # there is no further order, or the console has died

    def _hand_over(self, name: str, sock: RawSocket | None) -> None:
        self._send("listener", {"name": name}, *(() if sock is None else (sock,)))

    def _send(self, report: str, fields: dict[str, Any], *attached: RawSocket) -> bool:
        """Send a report, if there is a console; return False if the line has no room for it now."""
        if self._line is None:
            return True
        descriptors = array("i", [sock.fileno() for sock in attached])
        rights = [(SOL_SOCKET, SCM_RIGHTS, descriptors)] if attached else []
        try:
            self._line.sendmsg([encode({"report": report, **fields})], rights)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._log.say("error", "a report to the console is too long and was not sent")
            # else the console has died: the next one gets the state when it starts
        return True


def _open_private_listener() -> RawSocket:
    """Open a listening Unix socket without a file, at an address that the kernel chooses."""
    sock = RawSocket(AF_UNIX, SOCK_STREAM)
    sock.setblocking(False)
    sock.bind("")
    sock.listen(BACKLOG)
    return sock
