"""Ctrl-C while a command waits for a silent server: the command ends at once, and prints nothing."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import environment
from tests.servers.geomail import COMMAND
from tests.servers.support import LOOPBACK

CONFIGURATION = """\
[control]
socket = "{control}"
[mail]
auth_http = "http://{silent}/"
[[mail.server]]
protocol = "imap"
listen = "127.0.0.1:2143"
[backends.real]
address = "{silent}"
"""
LOGIN = ("--user", "jane", "--password-file", "password")
COMMANDS = {
    "the backend": ("preview-handshake", "--live", "--backend", "real", *LOGIN),
    "the auth service, for a preview": ("preview-handshake", "--live", *LOGIN),
    "the auth service": ("check-auth", *LOGIN),
    "the server": ("who",),
    "the server, for its status": ("status", "--json"),
}


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[dict[bool, socket.socket]]:
    """Two silent listeners, one of them at the path of a control socket."""
    (tmp_path / "password").write_text("secret\n")
    with socket.create_server((LOOPBACK, 0)) as service, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "control.sock"))
        server.listen()
        text = CONFIGURATION.format(
            control=tmp_path / "control.sock", silent="{}:{}".format(*service.getsockname())
        )
        (tmp_path / "geomail.toml").write_text(text)
        yield {False: service, True: server}


@pytest.mark.parametrize("waits_for", COMMANDS)
def test_it_ends_the_command_and_nothing_is_said(
    waits_for: str, silent: dict[bool, socket.socket], tmp_path: Path
) -> None:
    name, *options = COMMANDS[waits_for]
    command = subprocess.Popen(
        [COMMAND, name, "-c", tmp_path / "geomail.toml", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    listener = silent[name in ("who", "status")]
    listener.settimeout(20)
    connection, _ = listener.accept()
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=30)
    connection.close()

    assert command.returncode == 130
    assert said == ""
