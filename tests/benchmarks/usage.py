"""The CPU time and memory of a process and all its descendants, from /proc."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
#: A tree that uses less CPU than this in _PAUSE seconds is idle.
_QUIET, _PAUSE = 0.002, 0.05


def tree(root: int) -> list[int]:
    """Return a process and all its descendants."""
    children = defaultdict(list)
    for folder in _PROC.glob("[0-9]*"):
        try:
            fields = _after_name(folder / "stat")
        except OSError:
            continue  # it has ended meanwhile
        children[int(fields[1])].append(int(folder.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def cpu_by_process(root: int) -> dict[int, float]:
    """Return the CPU seconds, user and system, of each live process of a tree."""
    return {pid: _cpu(pid) for pid in tree(root)}


def cpu(root: int) -> float:
    """Return the CPU seconds of all live processes of a tree."""
    return sum(cpu_by_process(root).values())


def memory(root: int) -> float:
    """Return the memory of a tree in bytes: PSS, which counts a page of several processes once."""
    return sum(_pss(pid) for pid in tree(root))


def settle(root: int, seconds: float = 10.0) -> None:
    """Wait until a tree is idle, ``seconds`` at most."""
    deadline, before = time.monotonic() + seconds, cpu(root)
    while time.monotonic() < deadline:
        time.sleep(_PAUSE)
        now = cpu(root)
        if now - before < _QUIET:
            return
        before = now


@contextmanager
def on_processors(numbers: set[int]) -> Iterator[None]:
    """Run the processes that start in this block only on these processors."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, numbers)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def _cpu(pid: int) -> float:
    """Return CPU seconds, from nanoseconds if the kernel counts them (CONFIG_SCHED_INFO), else from ticks."""
    try:
        threads = [_first_number(thread / "schedstat") for thread in (_PROC / str(pid) / "task").iterdir()]
    except OSError:
        threads = []
    if any(threads):
        return sum(threads) / 1e9
    try:
        fields = _after_name(_PROC / str(pid) / "stat")
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def _first_number(file: Path) -> int:
    return int(file.read_text().split()[0])


def _after_name(file: Path) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, from the state on; the name may hold any text."""
    return file.read_text().rpartition(")")[2].split()


def _pss(pid: int) -> int:
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/smaps_rollup tells no PSS")
