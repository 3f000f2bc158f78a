"""The master's side of the console: its sockets, its process, and the start again where that died.

Nothing here makes a hub, and nothing waits: what the console asks comes as a
message on a socket pair, and a SIGIO with it.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import secrets
import signal
import time
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET, socketpair
from _socket import socket as RawSocket
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geomail.console.process import LONGEST_MESSAGE, Console, Sockets
from geomail.control.jsonlines import BadLine, decode, encode
from geomail.errors import GeomailError
from geomail.net.listen import BACKLOG, bind
from geomail.net.unix_sockets import UnixListener, bind_unix
from geomail.process.children import GrowingDelay
from geomail.sinks.feed import TOKEN, Way

if TYPE_CHECKING:
    from geomail.config.schema import Address, Control, Metrics
    from geomail.sinks.log import Log


class NoControlSocket(GeomailError):
    """The control socket that the configuration names cannot be made."""


@dataclass(frozen=True, slots=True)
class MetricsSocket:
    """The socket where metrics are served, bound at the address that ``[metrics]`` names."""

    at: Address
    sock: RawSocket

    def close(self) -> None:
        """Close it, and remove its file if it has one."""
        _close(self.sock)


def open_control(settings: Control, previous: UnixListener | None, log: Log) -> UnixListener | None:
    """The control socket that ``[control]`` asks for; ``previous`` if that is the same one.

    Raises NoControlSocket where the file names it; where it is the default
    that cannot be had, that is a warning.
    """
    if settings.socket == "off":
        return None
    try:
        return _bound(settings, previous)
    except (OSError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no group {settings.group!r}"
    if "socket" in settings.model_fields_set:
        raise NoControlSocket(f"control socket {settings.socket}: {reason}")
    log.say("warning", f"no control socket, so no geomail tail, who, kick: {settings.socket}: {reason}")
    return None


def _bound(settings: Control, previous: UnixListener | None) -> UnixListener:
    path = settings.socket
    group = os.getegid() if settings.group is None else grp.getgrnam(settings.group).gr_gid
    if previous is not None and previous.path == path and previous.is_in_place():
        previous.admit(settings.mode, group)
        return previous
    return bind_unix(path, BACKLOG, settings.mode, group)


def open_metrics(settings: Metrics, previous: MetricsSocket | None, log: Log) -> MetricsSocket | None:
    """The socket that ``[metrics]`` asks for; ``previous`` if that is the same one.

    Where it cannot be had the log tells, and mail goes on without.
    """
    at = settings.listen
    if at is None:
        return None
    if previous is not None and previous.at == at:
        return previous
    try:
        return MetricsSocket(at, bind(host=at.host, port=at.port, path=at.path))
    except OSError as error:
        log.say(
            "error", f"cannot serve metrics at {at.path or f'{at.host} port {at.port}'}: {error.strerror}"
        )
        return None


def close_new(sock: UnixListener | MetricsSocket | None, kept: object) -> None:
    """Close a socket and remove its file, unless it is the one to be kept."""
    if isinstance(sock, MetricsSocket):
        if sock is not kept:
            sock.close()
    elif sock is not None and sock is not kept:
        _close(sock)


def _close(sock: RawSocket) -> None:
    sock.close()
    if isinstance(sock, UnixListener):
        sock.remove()


class Keeper:
    """Keeps one console running for the control socket and for metrics; none where neither is wanted."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._control: UnixListener | None = None
        self._metrics: MetricsSocket | None = None
        self._feed = _private_listener()
        self._token = secrets.token_bytes(TOKEN)
        self._line: RawSocket | None = None
        self._pid = 0
        self._born = 0.0
        self._restart = GrowingDelay()
        self._untold = False

    @property
    def feed(self) -> Way:
        """The way in which workers reach the console, where there is to be one."""
        return Way(self._feed.getsockname(), self._token)

    @property
    def _is_wanted(self) -> bool:
        return self._control is not None or self._metrics is not None

    @property
    def is_running(self) -> bool:
        """Whether there is a console process."""
        return self._pid != 0

    @property
    def due(self) -> float | None:
        """When it is to be started (time.monotonic()); None: it runs, or is not wanted."""
        return None if self.is_running or not self._is_wanted else self._restart.due

    def use(self, control: UnixListener | None, metrics: MetricsSocket | None) -> None:
        """Serve these sockets from now on; close those before that are no longer among them."""
        commands, pages = self._control, self._metrics
        self._control, self._metrics = control, metrics
        if not self._is_wanted:
            self.signal(signal.SIGTERM)
        if commands is not control:
            self._hand_over("control", control)
            close_new(commands, control)
        if pages is not metrics:
            self._hand_over("metrics", metrics.sock if metrics is not None else None)
            close_new(pages, metrics)

    def _hand_over(self, what: str, sock: RawSocket | None) -> None:
        self._send(encode({"listen": what}), *(() if sock is None else (sock,)))

    def start(self, spawn: Callable[[Callable[[], None]], int], state: dict[str, Any]) -> None:
        """Start the console; ``spawn`` runs what it is given in a child; it returns the process id, or 0."""
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        pages = self._metrics.sock if self._metrics else None
        sockets = Sockets(theirs, self._feed, self._token, self._control, pages)

        def run() -> None:
            ours.close()
            Console(sockets, state, self._log).run()

        self._pid = spawn(run)
        self._born = time.monotonic()
        theirs.close()
        if not self._pid:
            ours.close()
            self._restart.died(self._born)
            return
        fcntl.fcntl(ours, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
        self._line = ours

    def forget(self) -> None:
        """In another child of the master: close what is the console's."""
        for sock in (self._feed, self._line, self._control, self._metrics.sock if self._metrics else None):
            if sock is not None:
                sock.close()

    def tell(self, state: dict[str, Any], **more: Any) -> None:
        """Tell the console what has become of the master."""
        self._untold = not self._send(encode({"state": state, **more}))

    def tell_again(self, state: dict[str, Any]) -> None:
        """Tell it what it had no room for when it was told."""
        if self._untold:
            self.tell(state)

    def heard(self) -> Iterator[dict[str, Any]]:
        """What the console has asked for since the last call."""
        while self._line is not None:
            try:
                data = self._line.recv(LONGEST_MESSAGE)
                if not data:
                    return
                yield decode(data)
            except BadLine:
                continue
            except OSError:
                return  # nothing more, or it has died

    def buried(self, pid: int, how: str | None) -> bool:
        """Whether that was the console; ``how`` it died, None if it ended as it was told to.

        It is started again where it is wanted, after a delay if it had lived for a short time only.
        """
        if pid != self._pid:
            return False
        self._pid = 0
        if self._line is not None:
            self._line.close()
            self._line = None
        self._restart.died(self._born)
        if how is not None:
            self._log.say("error", f"console {pid} died ({how}); mail goes on")
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the console, if there is one."""
        if self._pid:
            try:
                os.kill(self._pid, number)
            except ProcessLookupError:
                pass  # it is about to be reaped

    def close(self) -> None:
        """Give up the sockets; the console has ended, or is none of ours any more."""
        self._feed.close()
        close_new(self._control, None)
        close_new(self._metrics, None)

    def _send(self, message: bytes, *passed: RawSocket) -> bool:
        """Whether the console was told, or need not be."""
        if self._line is None:
            return True
        rights = [(SOL_SOCKET, SCM_RIGHTS, array("i", [sock.fileno() for sock in passed]))] if passed else []
        try:
            self._line.sendmsg([message], rights)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                return True  # it has died, and learns all when it is started
            self._log.say("error", "the console cannot be told: too long a message")
        return True


def _private_listener() -> RawSocket:
    """A listening Unix socket without a file, at an address that the kernel chooses."""
    sock = RawSocket(AF_UNIX, SOCK_STREAM)
    sock.setblocking(False)
    sock.bind("")
    sock.listen(BACKLOG)
    return sock
