"""geomail's commands, run as an operator runs them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geomail_cli.main import app
from tests.servers.geomail import COMMAND

Done = subprocess.CompletedProcess[str]


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment with ``more``, without variables that change how geomail behaves."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GEOMAIL_") and name != "PYTHONUNBUFFERED"
    }
    return {**kept, "NO_COLOR": "1", **more}


def geomail(*arguments: str | Path, given: str = "", **env: str) -> Done:
    """Run a command; return its output and its exit status."""
    return subprocess.run(
        [COMMAND, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(**env),
    )


def invoked(*arguments: str | Path, given: str = "", **env: str) -> Done:
    """Run a command as :func:`geomail` does, but in this process, which is faster."""
    steering = {name: None for name in os.environ if name.startswith("GEOMAIL_")}
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app, words, input=given, env={**steering, "NO_COLOR": "1", **env})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(words, result.exit_code, result.stdout, result.stderr)


class Following:
    """A command that still runs, and its output so far."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, errors: Path) -> None:
        self.process = process
        self._out, self._errors = out, errors

    @property
    def printed(self) -> str:
        """Standard output."""
        return self._out.read_text()

    @property
    def said(self) -> str:
        """Standard error."""
        return self._errors.read_text()

    def wait_for(self, text: str, seconds: float = 30) -> str:
        """Return the line with this text, from standard output or error."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in (self.printed + self.said).splitlines():
                if text in line:
                    return line
            time.sleep(0.02)
        pytest.fail(f"{text!r} was not printed:\n{self.printed}\n{self.said}")

    def interrupt(self) -> int:
        """End the command by Ctrl-C; return its exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@contextmanager
def following(folder: Path, *arguments: str | Path) -> Iterator[Following]:
    """Run a command that does not end by itself."""
    out, errors = folder / "printed", folder / "said"
    with out.open("wb") as printed, errors.open("wb") as said:
        process = subprocess.Popen([COMMAND, *arguments], stdout=printed, stderr=said, env=environment())
    try:
        yield Following(process, out, errors)
    finally:
        process.kill()
        process.wait()
