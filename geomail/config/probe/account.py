"""Files that workers open later themselves: geomail tries them as the workers' user."""

from __future__ import annotations

import errno
import os
from _socket import AF_UNIX, SOCK_DGRAM
from _socket import socket as RawSocket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from geomail.config.lines import KeyPath
from geomail.config.schema import Config
from geomail.config.source import Source
from geomail.config.units import quote
from geomail.errors import Problem
from geomail.privileges import CannotStart, choose_account, open_files_as

#: The files that the C library reads for each look-up of a host name.
_RESOLVER_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf")
_DENIED = (errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class _Trial:
    """An access that the key at ``path`` needs; ``action`` names it in the message if it is denied."""

    path: KeyPath
    attempt: Callable[[], None]
    action: str
    severity: Literal["error", "warning"] = "error"


def probe_account(config: Config, source: Source) -> Iterator[Problem]:
    """Report what the workers' user needs but may not use: the users file, the log, look-ups of names."""
    try:
        account = choose_account(config.user)
    except CannotStart:
        return  # the check of the user itself reports this
    if account is None or account.is_root:
        return
    for trial in _list_trials(config):
        with open_files_as(account):
            reason = _run(trial)
        if reason:
            text = f"{account.name}, the user of the workers, cannot {trial.action}: {reason}"
            fix = "change its mode or owner"
            yield source.make_problem(trial.path, f"{text}; {fix}", trial.severity)


def _list_trials(config: Config) -> Iterator[_Trial]:
    file = config.users.file
    if file is not None and any(server.auth == "users" for server in config.servers):
        yield _Trial(("auth", "users", "file"), partial(_try_to_read, file), f"read {quote(file)}")
    kind, _, path = config.log.target.partition(":")
    if kind == "syslog":
        socket = path or "/dev/log"
        text = f"connect again to syslog at {quote(socket)}"
        yield _Trial(("log", "target"), partial(_try_to_connect, socket), text)
    elif kind != "stderr":
        text = f"open {quote(config.log.target)} again"
        yield _Trial(("log", "target"), partial(_try_to_enter, Path(config.log.target).parent), text)
    for name in _RESOLVER_FILES:
        yield _Trial(("user",), partial(_try_to_read, name), f"read {name}", "warning")


def _run(trial: _Trial) -> str:
    """Return why the system denies the access; empty if it does not, even if the access fails otherwise."""
    try:
        trial.attempt()
    except OSError as error:
        return os.strerror(error.errno) if error.errno in _DENIED else ""
    return ""


def _try_to_read(file: str) -> None:
    os.close(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))


def _try_to_enter(folder: Path) -> None:
    """Try the way to the log: geomail gives the user the file itself."""
    os.stat(f"{folder}/.")  # noqa: PTH116  # a Path drops the dot, which makes this a test of the folder's content


def _try_to_connect(path: str) -> None:
    sock = RawSocket(AF_UNIX, SOCK_DGRAM)
    try:
        sock.connect(path)
    finally:
        sock.close()
