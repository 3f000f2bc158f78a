"""geomail as an operator runs it: the command, in a separate process."""

import os
import re
import sysconfig
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.support import LOOPBACK, Daemon, Log

#: The command of this environment, unless the variable names another one.
COMMAND = Path(os.environ.get("GEOMAIL_COMMAND") or Path(sysconfig.get_path("scripts"), "geomail"))


def as_ourselves(configuration: str) -> str:
    """Return the configuration with this process's user for workers, unless it sets ``user``.

    Only this user may enter the folders of the tests' files.
    """
    if os.geteuid() != 0 or "user" in tomllib.loads(configuration):
        return configuration
    return f'user = "root"\n{configuration}'


class Geomail(Daemon):
    """A running ``geomail serve``; ``log`` is all of its output."""

    def __init__(self, configuration: str, folder: Path) -> None:
        file = folder / "geomail.toml"
        file.write_text(as_ourselves(configuration))
        env = {name: value for name, value in os.environ.items() if not name.startswith("GEOMAIL_")}
        super().__init__([str(COMMAND), "serve", "-c", str(file)], folder / "geomail.log", env)

    @property
    def log(self) -> Log:
        """Its output so far."""
        return self.output

    @property
    def descriptors(self) -> int:
        """The number of files that its workers and its console have open."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(len(list(Path(f"/proc/{child}/fd").iterdir())) for child in children)


@contextmanager
def serving(configuration: str, folder: Path) -> Iterator[Geomail]:
    """Run geomail until it listens; after the block it must end well, and its log must show no bug."""
    server = Geomail(configuration, folder)
    try:
        server.wait_until_accepting(_addresses(configuration))
        yield server
    finally:
        status = server.stop()
    assert status == 0, server.log.text
    assert "Traceback" not in server.log.text, server.log.text


def _addresses(configuration: str) -> Iterator[tuple[str, int] | str]:
    document = tomllib.loads(configuration)
    control = document.get("control", {}).get("socket", "off")
    if control != "off":
        yield str(control)
    for server in document["mail"]["server"]:
        listen: Any = server["listen"]
        for entry in listen if isinstance(listen, list) else [listen]:
            yield _address(entry["address"] if isinstance(entry, dict) else entry.split()[0])


def _address(text: str) -> tuple[str, int] | str:
    if text.startswith("unix:"):
        return text.removeprefix("unix:")
    host, _, port = text.rpartition(":")
    return re.sub(r"^(0\.0\.0\.0|\*|)$", LOOPBACK, host.strip("[]")), int(port)
