"""The date, the machine and the versions of a measurement."""

import os
import platform
import re
import ssl
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.proxies import GeomailProgram, NginxProgram


def describe(geomail: GeomailProgram, nginx: NginxProgram | None) -> dict[str, str]:
    """Return date, machine and versions by their names."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "geomail": " ".join([geomail.version, *_commit(), *_kind(geomail.build)]),
        "nginx": nginx.version if nginx else "not there",
        "Python": platform.python_version(),
        "gevent": version("gevent"),
        "OpenSSL": ssl.OPENSSL_VERSION.split()[1],
        "processors": f"{len(os.sched_getaffinity(0))} of {_model()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
    }


def _model() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _kind(build: str) -> list[str]:
    """Return the build that geomail reports: compiled or pure Python."""
    return re.findall(r"\(([^,)]+)", build)


def _commit() -> list[str]:
    """Return the commit of the tree, with a + if the tree has changes."""
    tree = Path(__file__).parents[2]
    command = ["git", "-C", str(tree), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return []
    return [f"({said.stdout.strip()})"]
