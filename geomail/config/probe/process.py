"""What the processes need of this machine: a user, a log, a control socket."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from geomail.config.schema import Config
from geomail.config.source import Source
from geomail.config.units import quoted, shown
from geomail.errors import Problem
from geomail.privileges import falls_back_to_nobody


def process_problems(config: Config, source: Source) -> Iterator[Problem]:
    """Users and groups that do not exist, and places where nothing can be written."""
    if config.user is not None and os.geteuid() == 0:  # who is not root stays who they are
        yield from (source.problem(("user",), text) for text in _unknown_account(config.user))
    if falls_back_to_nobody(config.user):
        text = "is not set, and there is no account geomail: as root, workers run as nobody"
        yield source.problem(("user",), f"{text}; make one (useradd --system geomail), or set it", "warning")
    if text := _unwritable(config.log.target):
        yield source.problem(("log", "target"), text)
    if config.control.socket != "off":
        group = config.control.group
        if group is not None and not _is_group(group):
            yield source.problem(("control", "group"), f"there is no group {shown(group)}")
        folder = Path(config.control.socket).parent
        # The default's folder, and what is beside it, is made by a service manager when it starts geomail.
        if source.has(("control", "socket")) and not folder.is_dir():
            text = f"the folder {quoted(str(folder))} is not there now, and geomail makes none"
            yield source.problem(("control", "socket"), text, "warning")


def _unknown_account(user: str) -> Iterator[str]:
    name, _, group = user.partition(":")
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        yield f"there is no user {shown(name)}"
    if group and not _is_group(group):
        yield f"there is no group {shown(group)}"


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except (KeyError, ValueError):
        return False
    return True


def _unwritable(target: str) -> str:
    """Why nothing can be logged there; empty if it can. The file is not made."""
    if target in ("stderr", "syslog") or target.startswith("syslog:"):
        return ""
    file = Path(target)
    if file.is_dir():
        reason = "it is a directory"
    elif not file.parent.is_dir():
        reason = f"there is no folder {quoted(str(file.parent))}"
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        reason = "permission denied"
    else:
        return ""
    return f"{quoted(target)} cannot be written: {reason}"
