"""``geomail reload``: it waits, and prints the result."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.cli.commands import environment, geomail, invoked
from tests.console.support import Running
from tests.servers.geomail import COMMAND


def test_it_returns_when_the_new_configuration_is_in_force(own: Running) -> None:
    old = own.workers
    own.imap("lasting@example.test")
    done = geomail("reload", "-c", own.file)
    assert (done.returncode, done.stdout) == (0, "")
    assert "generation 2 is in force, 2 workers" in done.stderr
    assert len(set(own.workers) - set(old)) == 2
    done = invoked("reload", "-c", own.file, "--json")
    assert json.loads(done.stdout)["generation"] == 3


def test_a_file_that_is_refused(own: Running) -> None:
    own.file.write_text(own.file.read_text().replace("workers = 2", "workers = none"))
    done = invoked("reload", "--socket", own.path)
    assert done.returncode == 1
    assert "geomail.toml:" in done.stderr
    done = invoked("reload", "--socket", own.path, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == "refused"


def test_a_server_that_ends_meanwhile(own: Running) -> None:
    console = own.console
    os.kill(own.master, signal.SIGSTOP)
    command: list[str | Path] = [COMMAND, "reload", "-c", own.file]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        deadline = time.monotonic() + 10
        while not _is_connected(own.path) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # it has asked, and waits
        os.kill(console, signal.SIGKILL)
        _, said = process.communicate(timeout=30)
    finally:
        os.kill(own.master, signal.SIGCONT)
    assert process.returncode == 69
    assert "closed the connection" in said


def _is_connected(path: Path) -> bool:
    """Tell whether a process has a connection to this Unix socket."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return any(row[-1] == str(path) and row[5] == "03" for row in rows)
