"""``geomail serve`` as an operator sees it: its output, its end, and the reasons why it does not start."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import toml

from tests.cli.commands import invoked
from tests.e2e.clients import Client, connected
from tests.e2e.proxy import PROTOCOLS, Protocol
from tests.servers.certificates import Certificates
from tests.servers.geomail import COMMAND, Geomail, as_ourselves
from tests.servers.small import small_servers
from tests.servers.support import LOOPBACK, free_port

#: Seconds in which what has been told to end has ended.
SOON = 30.0
GOODBYES: dict[Protocol, bytes] = {
    "smtp": b"421 4.3.2 Service shutting down\r\n",
    "imap": b"* BYE Server shutting down\r\n",
    "pop3": b"-ERR [SYS/TEMP] Server shutting down\r\n",
}


@dataclass
class Front:
    """A running geomail with a port for each protocol, in front of small servers."""

    geomail: Geomail
    ports: dict[Protocol, int]
    socket: Path

    def listens(self, protocol: Protocol = "imap") -> bool:
        """Tell whether clients can connect."""
        with socket.socket() as probe:
            return probe.connect_ex((LOOPBACK, self.ports[protocol])) == 0

    def falls_silent(self) -> bool:
        """Tell whether clients can soon no longer connect."""
        deadline = time.monotonic() + SOON
        while any(self.listens(protocol) for protocol in PROTOCOLS) and time.monotonic() < deadline:
            time.sleep(0.02)
        return not any(self.listens(protocol) for protocol in PROTOCOLS)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal, as ``kill`` does."""
        self.geomail.process.send_signal(number)

    def ends(self) -> int:
        """Wait for the end; return the exit status."""
        return self.geomail.process.wait(SOON)

    @contextmanager
    def logged_in(self, protocol: Protocol) -> Iterator[Client]:
        """Yield a client that is connected with its backend."""
        with connected(protocol, self.ports[protocol]) as client:
            assert client.log_in("jane@example.test", "secret")
            client.noop()
            yield client


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with small_servers() as backends:
        ports: dict[Protocol, int] = {protocol: free_port() for protocol in PROTOCOLS}
        path = tmp_path / "smtp.sock"
        servers = [{"protocol": protocol, "listen": f"{LOOPBACK}:{port}"} for protocol, port in ports.items()]
        servers.append({"protocol": "smtp", "listen": f"unix:{path}"})
        text = toml.dumps(
            {
                "workers": 2,
                "control": {"socket": str(tmp_path / "control.sock")},
                "mail": {"auth": "passthrough", "server": servers},
                "auth": {"passthrough": {"default": "small"}},
                "backends": {"small": {name: f"{LOOPBACK}:{port}" for name, port in backends.items()}},
            }
        )
        geomail = Geomail(text, tmp_path)
        geomail.wait_until_accepting([*((LOOPBACK, port) for port in ports.values()), str(path)])
        yield Front(geomail, ports, path)
        geomail.stop()
        assert "Traceback" not in geomail.log.text, geomail.log.text


# -- signals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_and_tells_clients(front: Front, number: signal.Signals) -> None:
    with ExitStack() as opened:
        clients = {
            protocol: (
                opened.enter_context(connected(protocol, front.ports[protocol])),
                opened.enter_context(front.logged_in(protocol)),
            )
            for protocol in PROTOCOLS
        }
        front.tell(number)
        assert front.ends() == 0
        for protocol, (waiting, working) in clients.items():
            assert waiting.read_line() == GOODBYES[protocol]
            assert waiting.read_line() == b""
            assert working.read_line() in (b"", GOODBYES[protocol])

    said = front.geomail.log.text
    for protocol in PROTOCOLS:
        assert len(re.findall(rf"info {protocol} session shutdown .* reason=\"geomail stops\"", said)) == 2
    assert said.endswith(" notice stopped\n")


def test_ctrl_c_reaches_every_process_and_hurts_none(tmp_path: Path) -> None:
    file = tmp_path / "geomail.toml"
    file.write_text(sound(tmp_path, free_port()))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([COMMAND, "serve", "-c", str(file)], stderr=log, start_new_session=True)
    wait_for(tmp_path / "log", "started")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(SOON) == 0
    assert re.sub(r"^\S+ ", "", (tmp_path / "log").read_text(), flags=re.MULTILINE).splitlines()[-2:] == [
        "notice stopping",
        "notice stopped",
    ]


def test_a_master_that_is_killed_takes_everything_with_it(front: Front) -> None:
    assert front.listens()
    front.tell(signal.SIGKILL)
    front.geomail.process.wait(SOON)
    assert front.falls_silent()


def test_quit_waits_for_the_last_session_and_lets_nobody_in(front: Front) -> None:
    with front.logged_in("imap") as client:
        front.tell(signal.SIGQUIT)
        front.geomail.log.wait_for("stopping when the last session has ended")
        assert front.falls_silent()
        assert not front.socket.exists()
        client.say("x CHECK")
        assert client.read_line() == b"x OK done\r\n"
        assert front.geomail.process.poll() is None
        client.quit()
    assert front.ends() == 0
    assert "imap session done" in front.geomail.log.text


def test_quit_without_a_session_ends_at_once(front: Front) -> None:
    front.tell(signal.SIGQUIT)
    assert front.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_quit_can_be_cut_short(front: Front, number: signal.Signals) -> None:
    with front.logged_in("imap") as client:
        front.tell(signal.SIGQUIT)
        front.geomail.log.wait_for("stopping when")
        front.tell(number)
        assert front.ends() == 0
        assert client.read_line() in (b"", GOODBYES["imap"])


def test_hup_puts_the_file_in_force_and_disturbs_nobody(front: Front) -> None:
    moved, file = free_port(), front.geomail.log.path.with_name("geomail.toml")
    file.write_text(file.read_text().replace(f":{front.ports['pop3']}", f":{moved}"))
    with front.logged_in("pop3") as client:
        front.tell(signal.SIGHUP)
        front.geomail.log.wait_for("notice reloaded")
        with connected("pop3", moved) as newcomer:
            newcomer.quit()
        while front.listens("pop3"):  # until the old workers, which are told by a signal, look away
            time.sleep(0.02)
        client.noop()
        client.quit()


def test_hup_with_a_wrong_file_lists_every_problem_and_changes_nothing(front: Front) -> None:
    file = front.geomail.log.path.with_name("geomail.toml")
    file.write_text(file.read_text().replace("workers = 2", 'workers = -2\nwrokers = "auto"'))
    front.tell(signal.SIGHUP)
    front.geomail.log.wait_for("the old configuration stays in force")
    for problem in ('workers: must be at least 1, or "auto", not -2', "wrokers: unknown key"):
        front.geomail.log.wait_for(rf"{re.escape(str(file))}:\d: error: {problem}")
    with front.logged_in("imap") as client:
        client.quit()


# -- the start --------------------------------------------------------------------------------------


def sound(folder: Path, *ports: int) -> str:
    """Return a configuration with one IMAP server for each port."""
    servers = [{"protocol": "imap", "listen": f"{LOOPBACK}:{port}"} for port in ports]
    mail = {"auth_http": f"http://{LOOPBACK}:9", "server": servers}
    control = {"socket": str(folder / "control.sock")}
    return as_ourselves(toml.dumps({"workers": 1, "control": control, "mail": mail}))


def serve(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a geomail that does not start."""
    (folder / "geomail.toml").write_text(text)
    return subprocess.run(
        [COMMAND, "serve", "-c", "geomail.toml"], capture_output=True, text=True, timeout=30, cwd=folder
    )


def wait_for(file: Path, text: str) -> None:
    for _ in range(1000):
        if file.exists() and text in file.read_text():
            return
        signal.sigtimedwait((), 0.01)
    pytest.fail(f"{text!r} does not come in {file.read_text()}")


#: Words of ``listen`` and more of a server; what is said of it.
LISTENING: list[tuple[str, dict[str, str], str]] = [
    ("127.0.0.1:{port}", {}, "127.0.0.1:{port} for imap"),
    ("[::1]:{port}", {}, "[::1]:{port} for imap"),
    ("unix:{folder}/imap", {}, "unix:{folder}/imap for imap"),
    ("127.0.0.1:{port} ssl", {}, "127.0.0.1:{port} for imap (ssl)"),
    ("127.0.0.1:{port}", {"starttls": "only"}, "127.0.0.1:{port} for imap (starttls only)"),
    (
        "127.0.0.1:{port} ssl proxy_protocol",
        {"starttls": "on"},
        "127.0.0.1:{port} for imap (ssl, proxy_protocol)",
    ),
]


def test_it_says_what_listens_where(tmp_path: Path, certificates: Certificates) -> None:
    servers, expected = [], []
    for listen, more, said in LISTENING:
        given = {"port": free_port(), "folder": tmp_path}
        servers.append({"protocol": "imap", "listen": listen.format(**given), **more})
        expected.append(said.format(**given))
    mail = {
        "auth_http": f"http://{LOOPBACK}:9",
        "ssl_certificate": str(certificates.server.certificate),
        "ssl_certificate_key": str(certificates.server.key),
        "server": servers,
    }
    geomail = Geomail(toml.dumps({"workers": 1, "control": {"socket": "off"}, "mail": mail}), tmp_path)
    geomail.log.wait_for("started 1 worker")
    assert geomail.stop() == 0
    assert re.findall(r" notice listening on (.*)\n", geomail.log.text) == expected


def test_every_problem_is_listed_and_nothing_started(tmp_path: Path, certificates: Certificates) -> None:
    text = f"""\
workers = 0
[mail]
timuot = "60s"
ssl_certificate = "{certificates.server.certificate}"
ssl_certificate_key = "{certificates.expired.key}"
[[mail.server]]
listen = "unix:{tmp_path}/imap"
protocol = "imap"
auth_http = "ftp://example.test"
starttls = "on"
[[mail.server]]
listen = "127.0.0.1:{free_port()} ssl"
protocol = "pop3"
auth_http = "http://127.0.0.1:9"
ssl_certificate = "missing.crt"
"""
    done = serve(tmp_path, text)

    assert done.returncode == 1
    assert done.stdout == ""
    found = re.findall(r"^geomail\.toml:(\d+): error: (\S+): ", done.stderr, re.MULTILINE)
    assert found == [
        ("1", "workers"),
        ("3", "mail.timuot"),
        ("5", "mail.ssl_certificate_key"),
        ("9", "mail.server[0].auth_http"),
        ("15", "mail.server[1].ssl_certificate"),
    ]
    assert "listening" not in done.stderr
    assert not (tmp_path / "imap").exists()


def test_what_is_unwise_is_logged_and_stops_nothing(tmp_path: Path) -> None:
    text = sound(tmp_path, free_port()).replace("[mail]", "[mail]\nmax_errors = 0")
    geomail = Geomail(text, tmp_path)
    geomail.log.wait_for(r" warning \S+/geomail\.toml:\d+: mail\.max_errors: 0 does not mean no limit")
    geomail.log.wait_for("started 1 worker")
    assert geomail.stop() == 0


def test_a_port_in_use_is_named_and_nothing_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = sound(tmp_path, free_port(), port)
        done = serve(tmp_path, text)
    assert done.returncode == 1
    complaint = f" error cannot listen on {LOOPBACK}:{port}: Address already in use\n"
    assert re.sub(r"^\S+", "", done.stderr) == complaint


@pytest.mark.parametrize(
    ("certificate", "key", "complaint"),
    [
        ("server.crt", "expired.key", r"does not belong to the certificate"),
        ("server.crt", "missing.key", r"cannot be read: No such file or directory"),
        ("missing.crt", "server.key", r"cannot be read: No such file or directory"),
        ("server.key", "server.key", r"holds no certificate in PEM"),
        ("server.crt", "server.crt", r"it holds no private key in PEM"),
        (".", "server.key", r"cannot be read: Is a directory"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named(
    tmp_path: Path, certificates: Certificates, certificate: str, key: str, complaint: str
) -> None:
    files = f'ssl_certificate = "{certificates.folder / certificate}"\n'
    files += f'ssl_certificate_key = "{certificates.folder / key}"\n'
    text = sound(tmp_path, free_port()).replace('listen = "', f'{files}starttls = "on"\nlisten = "', 1)
    file = tmp_path / "geomail.toml"
    file.write_text(text)
    done = invoked("check-config", "-c", file)  # as serve does first
    assert done.returncode == 1
    assert re.search(rf"geomail\.toml:\d+: error: .*{complaint}", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["-c", "missing.toml"], "missing.toml: error: cannot be read: No such file or directory"),
        ([], "named.toml: error: cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_not_there(tmp_path: Path, options: list[str], complaint: str) -> None:
    done = subprocess.run(
        [COMMAND, "serve", *options],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        env={**os.environ, "GEOMAIL_CONFIG": "named.toml", "COLUMNS": "200"},
    )
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--nonsense"], "No such option"),
        (["-c"], "requires an argument"),
        (["--demo", "-c", "missing.toml"], "--demo and -c exclude each other"),
    ],
)
def test_wrong_usage(options: list[str], complaint: str) -> None:
    done = invoked("serve", *options, COLUMNS="200")
    assert done.returncode == 2
    assert complaint in done.stderr
