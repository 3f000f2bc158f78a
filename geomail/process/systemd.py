"""Notifications of the master to systemd; see sd_notify(3)."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_DGRAM
from _socket import socket as RawSocket


def notify(state: str) -> None:
    """Tell systemd the state of the service, if its unit has ``Type=notify``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    sock = RawSocket(AF_UNIX, SOCK_DGRAM)
    try:
        sock.sendto(state.encode(), address.replace("@", "\0", 1))
    except OSError:
        pass  # systemd does not listen any more; serving mail matters more
    finally:
        sock.close()
