"""What the system allows a process."""

from __future__ import annotations

import resource


def allow_open_files() -> int:
    """Let this process and its children open as many files as the system lets them; how many that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
