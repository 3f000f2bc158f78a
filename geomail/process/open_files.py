"""The limit of open files."""

from __future__ import annotations

import resource


def allow_open_files() -> int:
    """Raise the limit of this process and its children to the most that the system allows; return it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
