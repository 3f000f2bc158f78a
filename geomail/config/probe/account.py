"""Files that workers open themselves, later on: tried as the user that they run as."""

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
from geomail.config.units import quoted
from geomail.errors import Problem
from geomail.privileges import CannotStart, choose_account, open_files_as

#: What the C library reads to find a host, each time that a name is looked up.
_RESOLVER_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf")
_DENIED = (errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class _Trial:
    """Something to be tried, since the key at ``path`` needs it; ``denied`` is said where it fails."""

    path: KeyPath
    attempt: Callable[[], None]
    denied: str
    severity: Literal["error", "warning"] = "error"


def account_problems(config: Config, source: Source) -> Iterator[Problem]:
    """Find what the workers' user needs and is denied: the users file, the log at its reopening, names."""
    try:
        account = choose_account(config.user)
    except CannotStart:
        return  # that is told of the user itself
    if account is None or account.is_root:
        return
    for trial in _trials(config):
        with open_files_as(account):
            reason = _outcome(trial)
        if reason:
            text = f"{trial.denied} by {account.name}, the user of the workers: {reason}"
            yield source.problem(trial.path, text, trial.severity)


def _trials(config: Config) -> Iterator[_Trial]:
    file = config.users.file
    if file is not None and any(server.auth == "users" for server in config.servers):
        yield _Trial(("auth", "users", "file"), partial(_read, file), f"{quoted(file)} cannot be read")
    kind, _, path = config.log.target.partition(":")
    if kind == "syslog":
        socket = path or "/dev/log"
        text = f"syslog at {quoted(socket)} cannot be reached again"
        yield _Trial(("log", "target"), partial(_reach, socket), text)
    elif kind != "stderr":
        text = f"{quoted(config.log.target)} cannot be opened again"
        yield _Trial(("log", "target"), partial(_enter, Path(config.log.target).parent), text)
    for name in _RESOLVER_FILES:
        yield _Trial(("user",), partial(_read, name), f"{name} cannot be read", "warning")


def _outcome(trial: _Trial) -> str:
    """Return why it is denied; empty if it is not, whatever else is wrong with it."""
    try:
        trial.attempt()
    except OSError as error:
        return os.strerror(error.errno) if error.errno in _DENIED else ""
    return ""


def _read(file: str) -> None:
    os.close(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))


def _enter(folder: Path) -> None:
    """The log's file itself is given to the user; what is needed is a way to it."""
    os.stat(f"{folder}/.")  # noqa: PTH116  # a Path forgets the dot, which asks for what is in the folder


def _reach(path: str) -> None:
    sock = RawSocket(AF_UNIX, SOCK_DGRAM)
    try:
        sock.connect(path)
    finally:
        sock.close()
