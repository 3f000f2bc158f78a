"""What the system allows a process."""

from __future__ import annotations

import resource


def allow_open_files() -> None:
    """Let this process and its children open as many files as the system lets them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
