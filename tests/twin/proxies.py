"""nginx and geomail on one nginx.conf, with a port in each for every way that a test uses."""

import re
import subprocess
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.servers.certificates import Certificates
from tests.servers.geomail import COMMAND, Geomail
from tests.servers.nginx import Nginx, main_context
from tests.servers.support import LOOPBACK, free_port

Name = Literal["nginx", "geomail"]
NAMES: tuple[Name, ...] = ("nginx", "geomail")
SERVER_NAME = "mx.test"


@dataclass(frozen=True)
class Way:
    """A ``server {}``: its protocol and directives; ``listen`` holds the words after its port."""

    protocol: str
    directives: str = ""
    listen: str = ""


@dataclass
class Proxy:
    """One of the two, running."""

    name: Name
    ports: dict[Way, int]
    daemon: Nginx | Geomail
    logs: tuple[Path, ...]

    @property
    def log(self) -> str:
        """Its output so far."""
        return "".join(file.read_text("latin-1") for file in self.logs if file.exists())


MAIL = """
mail {{
    server_name {server_name};
    auth_http {loopback}:{auth}/auth;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
{servers}}}
"""
SERVER = "    server {{ listen {loopback}:{port} {listen}; protocol {protocol}; {directives} }}\n"


def written(
    folder: Path, ways: Iterable[Way], auth: int, certificates: Certificates, **main: str
) -> dict[Way, int]:
    """Write ``nginx.conf`` in the folder; return the ports of the ways in it."""
    ports = {way: free_port() for way in ways}
    servers = "".join(
        SERVER.format(
            loopback=LOOPBACK,
            port=port,
            listen=way.listen,
            protocol=way.protocol,
            directives=way.directives.format(ca=certificates.ca.certificate),
        )
        for way, port in ports.items()
    )
    mail = MAIL.format(
        server_name=SERVER_NAME,
        loopback=LOOPBACK,
        auth=auth,
        certificate=certificates.server.certificate,
        key=certificates.server.key,
        servers=servers,
    )
    (folder / "nginx.conf").write_text(main_context(folder, **main) + mail)
    return ports


@contextmanager
def running(
    name: Name, ways: Iterable[Way], auth: int, certificates: Certificates, folder: Path, **main: str
) -> Iterator[Proxy]:
    """Run nginx on its nginx.conf, or geomail on what ``geomail import-nginx`` makes of one.

    ``main`` is what :func:`main_context` takes.
    """
    ports = written(folder, ways, auth, certificates, **main)
    with ExitStack() as ending:
        if name == "nginx":
            daemon: Nginx | Geomail = Nginx(folder / "nginx.conf", folder)
        else:
            made = folder / "made.toml"
            subprocess.run(
                [COMMAND, "import-nginx", folder / "nginx.conf", "-o", made], check=True, capture_output=True
            )
            daemon = Geomail(made.read_text(), folder)
        ending.callback(daemon.stop)
        daemon.wait_until_accepting((LOOPBACK, port) for port in ports.values())
        yield Proxy(name, ports, daemon, (folder / "error.log", folder / "geomail.log"))


_SALT = re.compile(r"<\d+\.\d+@[^>]+>")
_BASE64 = re.compile(r"(?<=^334 )[A-Za-z0-9+/=]{16,}$|(?<=^\+ )[A-Za-z0-9+/=]{16,}$")


def normal(line: str, names: dict[str, str]) -> str:
    """Return the line without what changes each time: salts, and the texts of ``names``, by their names."""

    def salted(match: re.Match[str]) -> str:
        return "{challenge}" if _SALT.fullmatch(b64decode(match[0]).decode("latin-1")) else match[0]

    line = _BASE64.sub(salted, _SALT.sub("{salt}", line))
    for text, name in names.items():
        line = line.replace(text, f"{{{name}}}")
    return line
