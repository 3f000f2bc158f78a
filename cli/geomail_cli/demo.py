"""``geomail serve --demo``: a proxy in front of a sandbox mail server, without any preparation."""

from __future__ import annotations

import json
import os
import random
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
from _socket import AF_INET, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET
from _socket import socket as RawSocket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import FileIO
from ipaddress import ip_address
from pathlib import Path

import typer
from gevent import monkey

from geomail_cli import output

HOST = "127.0.0.1"
USERS = ("ann@demo.test", "bob@demo.test")
#: The proxy's ports, unless another program uses them.
PORTS = {"smtp": 2525, "smtps": 2465, "imap": 1143, "imaps": 1993, "pop3": 1110, "pop3s": 1995}
#: The range of its other ports, and the number of ports to try.
_OTHER_PORTS, _TRIES = range(10000, 20000), 100

_CONFIGURATION = """\
# The configuration of a demo: users in a file, and a sandbox as the backend.
workers = 1
{user}
[mail]
server_name = "geomail.demo.test"
auth = "users"
starttls = "on"
ssl_certificate = "cert.pem"
ssl_certificate_key = "key.pem"

[[mail.server]]
name = "smtp"
protocol = "smtp"
listen = ["{host}:{smtp}", "{host}:{smtps} ssl"]
xclient = "auto"

[[mail.server]]
name = "imap"
protocol = "imap"
listen = ["{host}:{imap}", "{host}:{imaps} ssl"]

[[mail.server]]
name = "pop3"
protocol = "pop3"
listen = ["{host}:{pop3}", "{host}:{pop3s} ssl"]

[auth.users]
file = "users"
default = "sandbox"

[backends.sandbox]
smtp = "{host}:{sandbox_smtp}"
imap = "{host}:{sandbox_imap}"
pop3 = "{host}:{sandbox_pop3}"

[control]
socket = "control.sock"
"""


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo: its folder, the proxy's ports, users with their passwords, the sandbox's process id."""

    folder: Path
    ports: Mapping[str, int]
    users: Mapping[str, str]
    sandbox: int

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.folder / "geomail.toml"


@contextmanager
def set_up() -> Iterator[Demo]:
    """Make the demo, and remove it at the end. Ends the command if the demo's packages are missing."""
    _check_packages()
    folder = Path(tempfile.mkdtemp(prefix="geomail-demo-"))
    try:
        users = {user: secrets.token_hex(5) for user in USERS}
        with _run_sandbox(folder, users) as (process, sandbox_ports):
            ports = _find_free_ports()
            _write_files(folder, users, ports, sandbox_ports)
            yield Demo(folder, ports, users, process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_packages() -> None:
    try:
        import cryptography  # noqa: F401
        import twisted  # noqa: F401
    except ImportError as error:
        text = f"the demo needs {error.name}, which is not installed: run pip install 'geomail[demo]'"
        raise _report(text) from None


@contextmanager
def _run_sandbox(folder: Path, users: Mapping[str, str]) -> Iterator[tuple[int, Mapping[str, int]]]:
    """Run the sandbox; yield its process id and its ports."""
    stdin, stdout = _make_pipe(), _make_pipe()
    # Not gevent's Popen: that makes a hub, and the master must fork without one.
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "geomail_cli.demo_server"],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, stdin[0].fileno(), 0),
            (os.POSIX_SPAWN_DUP2, stdout[1].fileno(), 1),
        ],
    )
    try:
        stdin[0].close()
        stdout[1].close()
        stdin[1].write(json.dumps({"folder": str(folder), "users": dict(users)}).encode() + b"\n")
        answer = stdout[0].readline()
        if not answer:
            raise _report("the sandbox mail server does not start")
        yield pid, json.loads(answer)
    finally:
        _end(pid)


def _make_pipe() -> tuple[FileIO, FileIO]:
    reads, writes = os.pipe()
    return FileIO(reads, "r"), FileIO(writes, "w")


def _end(pid: int) -> None:
    """End the sandbox, unless it has ended already and the master has collected its status."""
    waitpid = monkey.get_original("os", "waitpid")
    try:
        if waitpid(pid, os.WNOHANG) == (0, 0):
            os.kill(pid, signal.SIGKILL)
            waitpid(pid, 0)
    except ChildProcessError:
        pass


def _find_free_ports() -> dict[str, int]:
    """Return a port for each listener of the proxy: the usual one, or another free one."""
    held = {name: _bind(port) or _bind_elsewhere() for name, port in PORTS.items()}
    ports = {name: sock.getsockname()[1] for name, sock in held.items() if sock is not None}
    if len(ports) < len(held):
        raise _report(f"there are not enough free ports on {HOST}: end other programs that listen there")
    for sock in held.values():
        assert sock is not None
        sock.close()
    return ports


def _bind_elsewhere() -> RawSocket | None:
    """Return a socket at a port that the system gives to no client, so that it stays free for the proxy."""
    return next(filter(None, map(_bind, random.sample(_OTHER_PORTS, _TRIES))), None)


def _bind(port: int) -> RawSocket | None:
    """Return a socket that holds the port; None if another one does."""
    sock = RawSocket(AF_INET, SOCK_STREAM)
    sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
        sock.listen(1)  # with SO_REUSEADDR alone, a second socket could get the same port
    except OSError:
        sock.close()
        return None
    return sock


def _write_files(
    folder: Path, users: Mapping[str, str], ports: Mapping[str, int], sandbox: Mapping[str, int]
) -> None:
    from geomail.config.users import format_entry
    from geomail.hashes import make_argon2id

    lines = [format_entry(user, make_argon2id(password.encode())) for user, password in users.items()]
    _write_private(folder / "users", "\n".join((*lines, "")).encode())
    _write_certificate(folder)
    # The folder for temporary files may be closed to other users than root.
    user = 'user = "root"\n' if os.geteuid() == 0 else ""
    behind = {f"sandbox_{name}": port for name, port in sandbox.items()}
    (folder / "geomail.toml").write_text(_CONFIGURATION.format(host=HOST, user=user, **ports, **behind))


def _write_private(file: Path, content: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(content)


def _write_certificate(folder: Path) -> None:
    """Write a key and a self-signed certificate, valid for this machine and some days."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "geomail demo")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address(HOST))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_private(folder / "key.pem", private)
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _report(text: str) -> typer.Exit:
    """Print why there is no demo; return the exit to raise."""
    output.show_summary(output.make_error_console(), text, failed=True)
    return typer.Exit(1)


# -- output ---------------------------------------------------------------------------------------


def show(running: Demo) -> None:
    """Print the demo's ports, its users, and commands to try."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line in _make_lines(running):
        style = "bold" if line and not line.startswith(" ") else "dim" if line.startswith("  #") else ""
        console.print(Text(line, style))


def _make_lines(running: Demo) -> Iterator[str]:
    yield "geomail's demo: the proxy, and a sandbox mail server behind it"
    yield ""
    yield "Ports, on this machine alone"
    for name in ("smtp", "imap", "pop3"):
        plain, implicit = (f"{HOST}:{running.ports[port]}" for port in (name, f"{name}s"))
        yield f"  {name.upper()}   {plain:<15}   with TLS   {implicit}"
    yield ""
    yield "Users and their passwords"
    for user, password in running.users.items():
        yield f"  {user}   {password}"
    yield ""
    yield "Try it in another terminal"
    for purpose, *command in _list_commands(running):
        yield f"  # {purpose}"
        yield from (f"  {line}" for line in command)
    yield ""
    yield f"Ctrl-C ends the demo and removes {running.folder}. The next lines are geomail's log."
    yield ""


def _list_commands(running: Demo) -> Iterator[tuple[str, ...]]:
    """Yield commands to try: the purpose of each, and its lines for a shell."""
    (ann, her), (bob, his) = running.users.items()
    at = {name: f"{HOST}:{port}" for name, port in running.ports.items()}
    yield (
        "send a mail",
        r"printf 'Subject: Hello\n\nThis came through geomail.\n' |",
        f"  curl -sS --crlf -T - smtp://{at['smtp']} -u {ann}:{her} \\",
        f"    --mail-from {ann} --mail-rcpt {bob}",
    )
    yield "read it with IMAP", f"curl -sS 'imap://{at['imap']}/INBOX;MAILINDEX=1' -u {bob}:{his}"
    yield "read it with POP3", f"curl -sS pop3://{at['pop3']}/1 -u {bob}:{his}"
    certificate = shlex.quote(str(running.folder / "cert.pem"))
    yield (
        "read it with IMAP over TLS",
        f"curl -sS --cacert {certificate} \\",
        f"  'imaps://{at['imaps']}/INBOX;MAILINDEX=1' -u {bob}:{his}",
    )
    if shutil.which("swaks"):
        yield (
            "send another mail, and show the dialogue",
            f"swaks --server {at['smtp']} --auth-user {ann} --auth-password {her} \\",
            f"  --from {ann} --to {bob}",
        )
    yield from _list_geomail_commands(shlex.quote(str(running.file)), ann)


def _list_geomail_commands(file: str, user: str) -> Iterator[tuple[str, ...]]:
    geomail = "geomail" if shutil.which("geomail") else shlex.quote(sys.argv[0])
    yield (
        "show what geomail says to the sandbox",
        f"{geomail} preview-handshake -c {file} \\",
        f"  --user {user}",
    )
    yield "watch events as they happen", f"{geomail} tail -c {file}"
