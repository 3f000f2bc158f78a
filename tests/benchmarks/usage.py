"""What processes cost: CPU time and memory of a process and all its descendants, from /proc."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
#: A tree that uses less CPU than this in _PAUSE seconds has nothing left to do.
_QUIET, _PAUSE = 0.002, 0.05


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
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
    """Seconds of CPU, user and system, that each live process of a tree has used."""
    return {pid: _cpu(pid) for pid in tree(root)}


def cpu(root: int) -> float:
    """Seconds of CPU that the live processes of a tree have used."""
    return sum(cpu_by_process(root).values())


def memory(root: int) -> float:
    """Bytes of a tree in memory: PSS, where a page that several processes share counts once."""
    return sum(_pss(pid) for pid in tree(root))


def settle(root: int, seconds: float = 10.0) -> None:
    """Wait until a tree has nothing left to do, for ``seconds`` at most."""
    deadline, before = time.monotonic() + seconds, cpu(root)
    while time.monotonic() < deadline:
        time.sleep(_PAUSE)
        now = cpu(root)
        if now - before < _QUIET:
            return
        before = now


@contextmanager
def on_processors(numbers: set[int]) -> Iterator[None]:
    """What is started in this block runs on these processors alone."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, numbers)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def _cpu(pid: int) -> float:
    """In nanoseconds where the kernel counts them (CONFIG_SCHED_INFO), else in ticks."""
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
    """The fields of /proc/PID/stat behind the name, which may hold anything: the state is the first."""
    return file.read_text().rpartition(")")[2].split()


def _pss(pid: int) -> int:
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/smaps_rollup tells no PSS")
