"""The workers' user, the log and the control socket, which processes need on this machine."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from geomail.config.schema import Config
from geomail.config.source import Source
from geomail.config.units import quote, show
from geomail.errors import Problem
from geomail.privileges import falls_back_to_nobody


def probe_process(config: Config, source: Source) -> Iterator[Problem]:
    """Report users and groups that do not exist, and places that geomail cannot write to."""
    if config.user is not None and os.geteuid() == 0:  # only root changes the user
        yield from (source.make_problem(("user",), text) for text in _find_unknown_accounts(config.user))
    if falls_back_to_nobody(config.user):
        text = "is not set, and there is no account geomail, so workers run as nobody"
        fix = "create that account (useradd --system geomail), or set user"
        yield source.make_problem(("user",), f"{text}; {fix}", "warning")
    if text := _explain_unwritable(config.log.target):
        yield source.make_problem(("log", "target"), text)
    if config.control.socket != "off":
        group = config.control.group
        if group is not None and not _group_exists(group):
            yield source.make_problem(
                ("control", "group"), f"there is no group {show(group)}; create it, or use another"
            )
        folder = Path(config.control.socket).parent
        # A service manager creates the default's folder when it starts geomail.
        if source.has(("control", "socket")) and not folder.is_dir():
            text = f"the folder {quote(str(folder))} does not exist now, and geomail does not create it"
            yield source.make_problem(("control", "socket"), text, "warning")


def _find_unknown_accounts(user: str) -> Iterator[str]:
    name, _, group = user.partition(":")
    try:
        pwd.getpwnam(name)
    except (KeyError, ValueError):
        yield f"there is no user {show(name)}; create it, or use another"
    if group and not _group_exists(group):
        yield f"there is no group {show(group)}; create it, or use another"


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except (KeyError, ValueError):
        return False
    return True


def _explain_unwritable(target: str) -> str:
    """Explain why geomail cannot log there; empty if it can. This does not create the file."""
    if target in ("stderr", "syslog") or target.startswith("syslog:"):
        return ""
    file = Path(target)
    if file.is_dir():
        reason = "it is a folder; use the path of a file"
    elif not file.parent.is_dir():
        reason = f"there is no folder {quote(str(file.parent))}; create it"
    elif not os.access(file if file.exists() else file.parent, os.W_OK):
        reason = "permission denied; change its mode or owner"
    else:
        return ""
    return f"{quote(target)} cannot be written: {reason}"
