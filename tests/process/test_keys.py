"""Private keys: only processes that need them have them in memory."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.console.support import Asker
from tests.process.support import Running, children, soon
from tests.servers.certificates import Certificate, Certificates
from tests.servers.support import LOOPBACK, program


def traces(key: Path) -> Iterator[bytes]:
    """Yield the traces of a private key in memory: its number in both byte orders, and its text."""
    command = [program("openssl"), "pkey", "-in", str(key), "-text", "-noout"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"priv:\s+((?:[0-9a-f]{2}:\s*)+[0-9a-f]{2})", said)
    assert found is not None
    number = bytes.fromhex(re.sub(r"[\s:]", "", found[1]))[-32:]
    yield number[2:30]
    yield number[::-1][2:30]
    yield key.read_bytes().splitlines()[1]


def memory_of(pid: int) -> Iterator[bytes]:
    """Yield the memory that a process can read, piece by piece."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, mode, *_ = line.split()
            if "r" in mode and "[v" not in line:
                first, end = (int(address, 16) for address in place.split("-"))
                memory.seek(first)
                yield memory.read(end - first)


def knows(pid: int, keys: dict[str, Path]) -> set[str]:
    """Return the keys that a process has in its memory."""
    wanted = {name: list(traces(key)) for name, key in keys.items()}
    return {
        name
        for piece in memory_of(pid)
        for name, needles in wanted.items()
        if any(map(piece.__contains__, needles))
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks into the memory of others")
def test_the_console_has_no_keys(running: Running, certificates: Certificates) -> None:
    """Neither the first console has them, nor one that replaces it after the keys were changed."""
    of_file, of_text, of_client, new = (
        certificates.server, certificates.misnamed, certificates.client, certificates.untrusted,
    )  # fmt: skip
    keys = {"file": of_file.key, "text": of_text.key, "client": of_client.key}
    control = running.folder / "control"
    more: dict[str, Any] = {"workers": 1, "control": {"socket": str(control)}}
    running.backends = {
        "tls": "starttls",
        "tls_certificate": str(of_client.certificate),
        "tls_certificate_key": str(of_client.key),
    }
    listens = f"{LOOPBACK}:{running.port} ssl"
    running.mail = with_certificates(of_file, of_text)
    running.start(listens, **more)
    console, worker = processes(running.pid, control)
    assert knows(console, keys) == set()
    assert knows(worker, keys) >= {"text", "client"}, "or this test sees nothing"

    running.mail = with_certificates(new, of_text)
    running.reload(listens, **more)
    os.kill(console, signal.SIGKILL)
    soon(lambda: console not in children(running.pid))
    console, worker = soon(lambda: processes(running.pid, control))
    assert knows(console, {**keys, "new": new.key}) == set()


def with_certificates(of_file: Certificate, of_text: Certificate) -> dict[str, object]:
    """Return a certificate whose key is in a file, and one whose key is in the configuration."""
    text = f"data:{of_text.key.read_text()}"
    return {
        "ssl_certificate": [str(of_file.certificate), str(of_text.certificate)],
        "ssl_certificate_key": [str(of_file.key), text],
    }


def processes(master: int, control: Path) -> tuple[int, int]:
    """Wait for the console and the worker in force, and return both."""

    def found() -> tuple[int, int] | None:
        try:
            with Asker(control) as asker:
                workers = {worker["pid"] for worker in asker.done("status")["workers"]}
        except OSError:
            return None
        others = children(master) - workers
        return (others.pop(), workers.pop()) if len(others) == len(workers) == 1 else None

    both: tuple[int, int] = soon(found)
    return both
