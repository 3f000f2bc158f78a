"""``make picture``: ``geomail tail --top`` as an SVG, taken from a terminal in front of a real server."""

import geomail_cli.main  # isort: skip  # noqa: F401  # first of all: it patches

import base64
import io
import re
import shlex
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.cli.terminal import Terminal, terminal
from tests.servers.geomail import COMMAND, serving
from tests.servers.small import small_servers
from tests.servers.support import LOOPBACK, free_port

COLUMNS, LINES = 118, 15
#: Seconds until the screen must show every session, and traffic.
_LIMIT = 60

#: Protocol, user and address of each client; one without a user has not logged in.
CLIENTS = (
    ("imap", "alice@example.org", "192.0.2.17"),
    ("imap", "bob@example.org", "192.0.2.43"),
    ("pop3", "carol@example.net", "198.51.100.8"),
    ("smtp", "dave@example.net", "203.0.113.77"),
    ("imap", "erin@example.org", "192.0.2.101"),
    ("imap", "alice@example.org", "203.0.113.5"),
    ("smtp", "frank@example.net", "198.51.100.23"),
    ("imap", "grace@example.net", "192.0.2.64"),
    ("imap", "", "203.0.113.250"),
)
#: Kilobytes that the backend sends to an IMAP client in one round, by user.
_KILOBYTES = {"alice@example.org": 96, "bob@example.org": 12, "erin@example.org": 340, "grace@example.net": 2}

_CONFIGURATION = """\
workers = 2
[control]
socket = "{folder}/control.sock"
[mail]
server_name = "mail.example.org"
auth = "passthrough"
set_real_ip_from = ["{host}"]
[auth.passthrough]
domains = {{ "example.org" = "north", "example.net" = "south" }}
"""


class Client:
    """A client behind a proxy that tells geomail its address by a PROXY header."""

    def __init__(self, protocol: str, user: str, address: str, port: int) -> None:
        self.protocol, self.user = protocol, user
        self.sock = socket.create_connection((LOOPBACK, port), _LIMIT)
        self._lines = self.sock.makefile("rb")
        self.sock.sendall(f"PROXY TCP4 {address} 192.0.2.1 50000 {port}\r\n".encode())
        self._lines.readline()
        if user:
            self._log_in()

    def _log_in(self) -> None:
        plain = base64.b64encode(f"\0{self.user}\0secret".encode()).decode()
        commands = {
            "imap": [(f"a LOGIN {self.user} secret", "a OK")],
            "pop3": [(f"USER {self.user}", "+OK"), ("PASS secret", "+OK")],
            "smtp": [("EHLO client.example.org", "250 "), (f"AUTH PLAIN {plain}", "235 ")],
        }
        for command, answer in commands[self.protocol]:
            self._say(command, answer)

    def make_traffic(self) -> None:
        """Fetch something by IMAP, or send a command that changes nothing."""
        if self.protocol == "imap" and self.user:
            size = 1000 * _KILOBYTES[self.user]
            self._say(f"b MUCH {size}\r\nb NOOP", "b OK")
        elif self.user:
            self._say("NOOP", "+OK" if self.protocol == "pop3" else "250")

    def _say(self, command: str, answer: str) -> None:
        self.sock.sendall(command.encode() + b"\r\n")
        while line := self._lines.readline():
            if line.startswith(answer.encode()):
                return
        raise RuntimeError(f"no answer to {command}")


def _configure(folder: Path, ports: dict[str, int], backends: dict[str, dict[str, int]]) -> str:
    text = _CONFIGURATION.format(folder=folder, host=LOOPBACK)
    for protocol, port in ports.items():
        text += f'[[mail.server]]\nprotocol = "{protocol}"\nlisten = "{LOOPBACK}:{port} proxy_protocol"\n'
    for name, addresses in backends.items():
        text += f"[backends.{name}]\n"
        text += "".join(f'{protocol} = "{LOOPBACK}:{port}"\n' for protocol, port in addresses.items())
    return text


@contextmanager
def _serve_clients(folder: Path) -> Iterator[list[Client]]:
    """Run geomail with two backends; yield its clients."""
    ports = {protocol: free_port() for protocol in ("imap", "pop3", "smtp")}
    with ExitStack() as stack:
        backends = {name: stack.enter_context(small_servers()) for name in ("north", "south")}
        stack.enter_context(serving(_configure(folder, ports, backends), folder))
        clients = []
        for protocol, user, address in CLIENTS:
            clients.append(Client(protocol, user, address, ports[protocol]))
            stack.callback(clients[-1].sock.close)
        yield clients


def capture(folder: Path) -> str:
    """Return the screen of ``geomail tail --top``, with its colours, once it shows every client's traffic."""
    with _serve_clients(folder) as clients:
        command = shlex.join([str(COMMAND), "tail", "--top", "-c", str(folder / "geomail.toml")])
        with terminal(folder, command, COLUMNS, LINES) as window:
            window.wait_for(f"{len(clients)} sessions")
            deadline = time.monotonic() + _LIMIT
            while not _shows_traffic(window):
                if time.monotonic() > deadline:
                    raise RuntimeError("\n".join(window.lines))
                for client in clients:
                    client.make_traffic()
            return window.coloured


def _shows_traffic(window: Terminal) -> bool:
    return sum(bool(re.search(r"imap .*[1-9]\S*/s$", line)) for line in window.lines) >= len(_KILOBYTES)


def draw(screen: str) -> str:
    """Return a terminal's screen as an SVG that loads nothing from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in screen.splitlines():
        console.print(Text.from_ansi(line), no_wrap=True, overflow="crop", crop=True)
    svg = console.export_svg(title="geomail tail --top", unique_id="top")
    svg = svg.replace("Fira Code, monospace", "DejaVu Sans Mono, Menlo, Consolas, monospace")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def main(target: Path) -> None:
    """Make the picture, and write it to this file."""
    with tempfile.TemporaryDirectory() as folder:
        target.write_text(draw(capture(Path(folder))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
