"""The users file, and who can read it."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from geomail.config.lines import KeyPath
from geomail.config.probe.files import unreadable
from geomail.config.schema import Config
from geomail.config.source import Source
from geomail.config.units import quoted
from geomail.errors import ConfigError, Problem


def users_problems(config: Config, source: Source) -> Iterator[Problem]:
    """What is wrong in the users file, line by line, and who may read it."""
    base: KeyPath = ("auth", "users")
    file, backends = config.users.file, source.content.get("backends", {})
    if file is None or not isinstance(backends, dict) or any(path[:2] == base for path in source.broken):
        return
    if text := unreadable(file):
        yield source.problem((*base, "file"), text)
        return
    from geomail.config.users import read_users  # brings the libraries that hash, which takes a while

    try:
        read_users(config.users, backends)
    except ConfigError as error:
        yield from error.problems
    for text in _access(Path(file), config.user):
        yield source.problem((*base, "file"), text, "warning")


def _access(file: Path, user: str | None) -> Iterator[str]:
    """Who can read a file of secrets and should not, or should and cannot."""
    status = file.stat()
    if status.st_mode & stat.S_IROTH:
        yield f"{quoted(str(file))} can be read by everybody on this machine; its hashes are half a secret"
    if user is not None and os.geteuid() == 0 and not _is_open_to(user, status):
        yield f"{quoted(str(file))} cannot be read by {user}, as whom workers run (user), by its mode"


def _is_open_to(user: str, status: os.stat_result) -> bool:
    """Whether the file's mode lets the user read it; nothing is known of a user that does not exist."""
    name, _, group = user.partition(":")
    try:
        account = pwd.getpwnam(name)
        gid = grp.getgrnam(group).gr_gid if group else account.pw_gid
    except KeyError:
        return True
    if account.pw_uid in (0, status.st_uid):
        return account.pw_uid == 0 or bool(status.st_mode & stat.S_IRUSR)
    if status.st_gid in os.getgrouplist(name, gid):
        return bool(status.st_mode & stat.S_IRGRP)
    return bool(status.st_mode & stat.S_IROTH)
