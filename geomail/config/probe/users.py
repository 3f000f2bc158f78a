"""The users file, and the accounts that can read it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from geomail.config.lines import KeyPath
from geomail.config.probe.files import explain_unreadable
from geomail.config.schema import Config
from geomail.config.source import Source
from geomail.config.units import quote
from geomail.errors import ConfigError, Problem


def probe_users_file(config: Config, source: Source) -> Iterator[Problem]:
    """Report problems in the users file line by line, and a mode that lets others read it."""
    base: KeyPath = ("auth", "users")
    file, backends = config.users.file, source.content.get("backends", {})
    if file is None or not isinstance(backends, dict) or any(path[:2] == base for path in source.broken):
        return
    if text := explain_unreadable(file):
        yield source.make_problem((*base, "file"), text)
        return
    from geomail.config.users import read_users  # this loads the hash libraries, which takes time

    try:
        read_users(config.users, backends)
    except ConfigError as error:
        yield from error.problems
    for text in _check_mode(Path(file)):
        yield source.make_problem((*base, "file"), text, "warning")


def _check_mode(file: Path) -> Iterator[str]:
    """Warn if every account can read the file: it holds secrets."""
    status = file.stat()
    if status.st_mode & stat.S_IROTH:
        name = quote(str(file))
        text = (
            f"every account on this machine can read {name}, and its hashes help an attacker guess passwords"
        )
        yield f"{text}; use mode 0640"
