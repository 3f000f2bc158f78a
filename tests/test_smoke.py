"""An installed geomail works: it names its build, its samples are sound, it serves sessions.

It tests the geomail of this environment; `make wheels` tests each wheel (GEOMAIL_COMMAND, GEOMAIL_COMPILED).
"""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import toml

from geomail import __version__
from tests.e2e.clients import connected
from tests.e2e.proxy import PROTOCOLS
from tests.servers.certificates import Certificates
from tests.servers.geomail import COMMAND, serving
from tests.servers.small import small_servers
from tests.servers.support import LOOPBACK, free_port

COMPILED = "GEOMAIL_COMPILED" in os.environ
SAMPLES = COMMAND.parents[1] / "share" / "geomail" / "samples"


def said(*command: str | Path) -> str:
    """Run a command; return its output."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def build() -> str:
    """Return the line that names the build."""
    about = "import platform, ssl; print(platform.python_version(), *ssl.OPENSSL_VERSION.split()[:2])"
    python, *library = said(COMMAND.parent / "python", "-c", about).split()
    kind = "compiled" if COMPILED else "pure Python"
    return f"geomail {__version__} ({kind}, CPython {python}, {' '.join(library)})"


def test_it_names_its_build() -> None:
    assert said(COMMAND, "--version") == build()


def test_an_installed_sample_is_valid(tmp_path: Path, certificates: Certificates) -> None:
    shutil.copy(SAMPLES / "passthrough.toml", tmp_path)
    shutil.copy(certificates.server.certificate, tmp_path / "mail.crt")
    shutil.copy(certificates.server.key, tmp_path / "mail.key")
    said(COMMAND, "check-config", "-c", tmp_path / "passthrough.toml")


def test_it_serves_each_protocol_names_its_build_once_and_ends_by_term(tmp_path: Path) -> None:
    ports = {protocol: free_port() for protocol in PROTOCOLS}
    servers = [{"protocol": name, "listen": f"{LOOPBACK}:{port}"} for name, port in ports.items()]
    with small_servers() as backends:
        configuration = toml.dumps(
            {
                "workers": 1,
                "control": {"socket": "off"},
                "mail": {"auth": "passthrough", "server": servers},
                "auth": {"passthrough": {"default": "small"}},
                "backends": {"small": {name: f"{LOOPBACK}:{port}" for name, port in backends.items()}},
            }
        )
        with serving(configuration, tmp_path) as geomail:
            for protocol, port in ports.items():
                with connected(protocol, port) as client:
                    assert client.log_in("jane@example.test", "secret")
                    client.noop()
            geomail.process.send_signal(signal.SIGHUP)
            geomail.log.wait_for("notice reloaded")
    log = geomail.log.text
    assert log.count(f" notice {build()}\n") == 1
    assert len(re.findall(r" notice this build is pure Python: .* gcc ", log)) == (0 if COMPILED else 1)
    assert log.endswith(" notice stopped\n")
