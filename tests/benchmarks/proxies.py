"""The proxies to measure: nginx and geomail, on one configuration."""

import os
import resource
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import toml

from tests.benchmarks.usage import on_processors
from tests.servers.certificates import Certificate
from tests.servers.nginx import MODULE, available, version
from tests.servers.support import LOOPBACK, Daemon, free_port

#: Clients' ports by protocol; a name with an "s" is for TLS from the first byte.
PROTOCOLS = ("imap", "smtp", "pop3", "imaps")

_CONF = """{load}
{user}
daemon off; worker_processes {workers}; worker_rlimit_nofile {files};
pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections {connections}; }}
mail {{
  server_name localhost;
  auth_http 127.0.0.1:{auth}/auth;
  ssl_certificate {certificate.certificate}; ssl_certificate_key {certificate.key};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:mail:4m;
  xclient off; proxy_smtp_auth on;
  imap_auth plain login; smtp_auth plain login; pop3_auth plain;
  server {{ protocol imap; listen 127.0.0.1:{ports[imap]} backlog=4096; }}
  server {{ protocol smtp; listen 127.0.0.1:{ports[smtp]} backlog=4096; }}
  server {{ protocol pop3; listen 127.0.0.1:{ports[pop3]} backlog=4096; }}
  server {{ protocol imap; listen 127.0.0.1:{ports[imaps]} ssl backlog=4096; }}
}}
"""


Tables = Mapping[str, Mapping[str, Any]]


class NotThere(Exception):
    """A proxy that cannot be measured on this machine; the text says why."""


@dataclass(frozen=True)
class Setting:
    """The way to run a proxy. ``tables`` are tables of geomail.toml that nginx.conf does not have."""

    folder: Path
    certificate: Certificate
    auth: int
    processors: frozenset[int]
    workers: int
    tables: Tables


class Proxy:
    """One proxy in one setting, running from :meth:`start` to :meth:`stop`."""

    name = ""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.ports = {protocol: free_port() for protocol in PROTOCOLS}
        setting.folder.mkdir()
        self._command = self.configure()
        self._daemon: Daemon | None = None

    @property
    def pid(self) -> int:
        """The process whose tree is measured."""
        assert self._daemon is not None
        return self._daemon.process.pid

    def configure(self) -> list[str]:
        """Write its configuration; return the command that runs it in the foreground."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it unless it runs, and wait until it accepts connections."""
        if self._daemon is not None:
            return
        with on_processors(set(self.setting.processors)):
            self._daemon = Daemon(self._command, self.setting.folder / "output.log")
        self._daemon.wait_until_accepting((LOOPBACK, port) for port in self.ports.values())

    def stop(self) -> None:
        """Stop it if it runs."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            daemon.stop()

    def write_conf(self, load: str = "") -> Path:
        """Write the nginx.conf of this setting."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        conf = self.setting.folder / "nginx.conf"
        conf.write_text(
            _CONF.format(
                load=load,
                user="user root;" if os.geteuid() == 0 else "",
                workers=self.setting.workers,
                files=files,
                folder=self.setting.folder,
                connections=min(files - 100, 19500),
                auth=self.setting.auth,
                certificate=self.setting.certificate,
                ports=self.ports,
            )
        )
        return conf


class NginxProgram:
    """The distribution's nginx. Raises NotThere if it has no mail proxy."""

    name = "nginx"

    def __init__(self) -> None:
        try:
            self.path = available()
        except (pytest.skip.Exception, pytest.fail.Exception) as reason:
            raise NotThere(str(reason)) from None
        self.version = ".".join(map(str, version()))

    def proxy(self, setting: Setting) -> Proxy:
        """Return this proxy in a setting."""
        return Nginx(self, setting)


class Nginx(Proxy):
    """nginx in one setting."""

    name = NginxProgram.name

    def __init__(self, program: NginxProgram, setting: Setting) -> None:
        self._program = program
        super().__init__(setting)

    def configure(self) -> list[str]:
        conf = self.write_conf(f"load_module {MODULE};" if MODULE.exists() else "")
        return [self._program.path, "-c", str(conf), "-p", str(self.setting.folder)]


class GeomailProgram:
    """The geomail command."""

    name = "geomail"

    def __init__(self, command: list[str]) -> None:
        self.run = command
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=30)
        self.build = said.stdout.strip()
        self.version = self.build.split()[1]

    def proxy(self, setting: Setting) -> "Geomail":
        """Return this proxy in a setting."""
        return Geomail(self, setting)


class Geomail(Proxy):
    """geomail in one setting."""

    name = GeomailProgram.name

    def __init__(self, program: GeomailProgram, setting: Setting) -> None:
        self.program = program
        self.file = setting.folder / "geomail.toml"
        super().__init__(setting)

    def configure(self) -> list[str]:
        """Convert the nginx.conf with import-nginx, and add the tables of the setting."""
        said = subprocess.run(
            [*self.program.run, "import-nginx", str(self.write_conf())],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        self.file.write_text(toml.dumps({**tomllib.loads(said.stdout), **self.setting.tables}))
        return [*self.program.run, "serve", "-c", str(self.file)]
