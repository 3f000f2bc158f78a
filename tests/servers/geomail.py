"""geomail itself, as an operator runs it: the command, in a process of its own."""

import os
import re
import sysconfig
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.support import LOOPBACK, Daemon, Log

#: This environment's, unless another one is to be tested.
COMMAND = Path(os.environ.get("GEOMAIL_COMMAND") or Path(sysconfig.get_path("scripts"), "geomail"))


def as_ourselves(configuration: str) -> str:
    """The configuration, whose workers stay who we are where it does not say otherwise.

    The files of tests are in folders that nobody else may enter.
    """
    if os.geteuid() != 0 or "user" in tomllib.loads(configuration):
        return configuration
    return f'user = "root"\n{configuration}'


class Geomail(Daemon):
    """A running ``geomail serve``; ``log`` is all that it says."""

    def __init__(self, configuration: str, folder: Path) -> None:
        file = folder / "geomail.toml"
        file.write_text(as_ourselves(configuration))
        env = {name: value for name, value in os.environ.items() if not name.startswith("GEOMAIL_")}
        super().__init__([str(COMMAND), "serve", "-c", str(file)], folder / "geomail.log", env)

    @property
    def log(self) -> Log:
        """What it says."""
        return self.output

    @property
    def descriptors(self) -> int:
        """The number of descriptors that its workers and its console have open."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(len(list(Path(f"/proc/{child}/fd").iterdir())) for child in children)


@contextmanager
def serving(configuration: str, folder: Path) -> Iterator[Geomail]:
    """Run geomail, listening where the configuration says. Afterwards it must end well, and without a bug."""
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
