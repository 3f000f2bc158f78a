"""A real nginx with its mail proxy; the tests compare geomail with it."""

import re
import subprocess
from pathlib import Path

from tests.servers.support import Daemon, program, unavailable

MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")

MAIN = """\
{load}daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log {level};
{more}events {{ worker_connections 512; }}
"""


def main_context(folder: Path, level: str = "error", more: str = "") -> str:
    """Return the start of the tests' nginx.conf, before ``mail {}``, with ``more`` directives."""
    load = f"load_module {MODULE};\n" if MODULE.exists() else ""
    return MAIN.format(load=load, folder=folder, level=level, more=more)


class Nginx(Daemon):
    """A running nginx with an nginx.conf, in its own folder."""

    def __init__(self, configuration: Path, folder: Path) -> None:
        command = available()
        super().__init__([command, "-p", str(folder), "-c", str(configuration)], folder / "output")


def available() -> str:
    """Return the path of an nginx with a mail proxy; skip the test if it is missing."""
    command = program("nginx")
    built = subprocess.run([command, "-V"], capture_output=True, text=True, check=True).stderr
    if not MODULE.exists() and not re.search(r"--with-mail(?!=dynamic)", built):
        unavailable("nginx is installed without its mail module (make servers)")
    return command


def version() -> tuple[int, ...]:
    """Return the version of nginx: ``(1, 22, 1)``."""
    output = subprocess.run([available(), "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/([\d.]+)", output)
    assert found is not None, output
    return tuple(map(int, found[1].split(".")))


def complaints(configuration: Path, folder: Path) -> str:
    """Return the complaints of ``nginx -t`` about an nginx.conf; empty without complaints."""
    command = [available(), "-t", "-p", str(folder), "-c", str(configuration)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stderr if result.returncode else ""
