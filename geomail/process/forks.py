"""Forking: how the master starts a child process."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

from gevent import monkey

from geomail.errors import GeomailError

_fork = monkey.get_original("os", "fork")


def run_in_child(run: Callable[[], None], report: Callable[[str], object]) -> int:
    """Run a function in a child process, which then exits; return the process id of the child.

    If the function fails, the child calls ``report`` with the reason. It exits
    without running anything that belongs to the parent. The function must
    unblock signals once it has handlers for them: before that, TERM, QUIT or
    HUP would end the child without a goodbye. Raises OSError if the system has no
    room for another process.
    """
    pid: int = _fork()
    if pid:
        return pid
    code = 1
    try:
        run()
        code = 0
    except GeomailError as error:
        report(f"process {os.getpid()} cannot serve: {error}")
    except BaseException as bug:  # noqa: BLE001  # this process ends here, and must not end silently
        traceback.print_exc()
        report(f"process {os.getpid()} has a bug: {bug!r}")
    finally:
        os._exit(code)
