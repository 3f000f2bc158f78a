"""The sockets to which operators connect: the control socket, and the one for metrics."""

from __future__ import annotations

import grp
import os
from _socket import socket as RawSocket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geomail.errors import GeomailError
from geomail.net.listen import BACKLOG, bind
from geomail.net.unix_sockets import UnixListener, bind_unix

if TYPE_CHECKING:
    from geomail.config.schema import Address, Control, Metrics
    from geomail.sinks.log import Log


class NoControlSocket(GeomailError):
    """A control socket that the configuration names and that cannot be made."""


@dataclass(frozen=True, slots=True)
class MetricsSocket:
    """The socket where metrics are served, bound at the address that ``[metrics]`` names."""

    at: Address
    sock: RawSocket


def open_control(settings: Control, previous: UnixListener | None, log: Log) -> UnixListener | None:
    """Open the control socket of ``[control]``; return ``previous`` if that is the same one.

    Raises NoControlSocket if the file names it and it cannot be made. If the
    default cannot be made, it logs a warning and returns None.
    """
    if settings.socket == "off":
        return None
    try:
        return _bind_control(settings, previous)
    except (OSError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no group {settings.group!r}"
    if "socket" in settings.model_fields_set:
        raise NoControlSocket(f"control socket {settings.socket}: {reason}")
    text = f"no control socket at {settings.socket} ({reason}), but geomail who, tail and kick need one"
    log.say("warning", f"{text}; set socket in [control]")
    return None


def _bind_control(settings: Control, previous: UnixListener | None) -> UnixListener:
    path = settings.socket
    group = os.getegid() if settings.group is None else grp.getgrnam(settings.group).gr_gid
    if previous is not None and previous.path == path and previous.is_in_place():
        previous.admit(settings.mode, group)
        return previous
    return bind_unix(path, BACKLOG, settings.mode, group)


def open_metrics(settings: Metrics, previous: MetricsSocket | None, log: Log) -> MetricsSocket | None:
    """Open the socket of ``[metrics]``; return ``previous`` if that is the same one.

    If it cannot be opened, it logs an error and returns None: mail goes on.
    """
    at = settings.listen
    if at is None:
        return None
    if previous is not None and previous.at == at:
        return previous
    try:
        return MetricsSocket(at, bind(host=at.host, port=at.port, path=at.path))
    except OSError as error:
        place = at.path or f"{at.host} port {at.port}"
        log.say("error", f"cannot serve metrics at {place}: {error.strerror}")
        return None


def close_unless_kept(given: UnixListener | MetricsSocket | None, kept: object) -> None:
    """Close a socket and remove its file, unless it is the one that is kept."""
    if given is None or given is kept:
        return
    sock = given.sock if isinstance(given, MetricsSocket) else given
    sock.close()
    if isinstance(sock, UnixListener):
        sock.remove()
