"""``geomail serve --demo``, started as a user starts it: mail goes in and out, and nothing is left."""

import imaplib
import os
import poplib
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from email import message_from_bytes
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from geomail.build import describe_build
from geomail_cli import demo as demo_module
from geomail_cli.main import app
from tests.servers.geomail import COMMAND
from tests.servers.support import LOOPBACK, Daemon, free_port, program

ANN, BOB = demo_module.USERS
TIMEOUT = 20
#: Master, worker, console and sandbox.
PROCESSES = 4
PATH = f"{COMMAND.parent}:{os.environ['PATH']}"


class Demo(Daemon):
    """A running demo, and its output."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            [str(COMMAND), "serve", "--demo"],
            folder / "output",
            {**os.environ, "TMPDIR": str(folder), "PATH": PATH},
        )
        self.parent = folder
        self.output.wait_for(r"started 1 worker", seconds=TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while len(self.processes()) < PROCESSES and time.monotonic() < deadline:
            time.sleep(0.02)
        [self.folder] = folder.glob("geomail-demo-*")

    @property
    def banner(self) -> str:
        """The output before the log."""
        return self.output.text.partition("The next lines are geomail's log.")[0]

    def port(self, name: str) -> int:
        """Return a port from the output: ``smtp``, ``smtps`` …"""
        plain, implicit = re.findall(
            rf"^  {name.removesuffix('s').upper()} .*?:(\d+) .*:(\d+)$", self.banner, re.M
        )[0]
        return int(implicit if name.endswith("s") else plain)

    def password(self, user: str) -> str:
        """Return a password from the output."""
        [password] = re.findall(rf"^  {user}   (\S+)$", self.banner, re.M)
        return str(password)

    def commands(self, word: str) -> list[str]:
        """Return the commands to try that contain this word, as a user pastes them."""
        blocks = re.split(r"^  # .*\n", self.banner.partition("Try it")[2], flags=re.M)[1:]
        return [block.partition("\n\n")[0] for block in blocks if re.search(rf"\b{word} ", block)]

    def trust(self) -> ssl.SSLContext:
        """Return the context by which a client verifies the demo's certificate."""
        return ssl.create_default_context(cafile=str(self.folder / "cert.pem"))

    def processes(self) -> set[int]:
        """Return the running processes of the demo."""
        return descendants(self.process.pid)


def descendants(pid: int) -> set[int]:
    """Return a process and its descendants that run."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if state != "Z":
            parents[int(name.split()[0])] = int(parent)
    found = {pid} & parents.keys()
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def running(pids: set[int]) -> set[int]:
    """Return the processes that still run."""
    return {pid for pid in pids if pid in descendants(pid)}


@contextmanager
def started(folder: Path) -> Iterator[Demo]:
    demo = Demo(folder)
    processes = demo.processes()
    try:
        yield demo
    finally:
        for pid in running(processes):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        demo.process.wait()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo for the tests that leave it running."""
    with started(tmp_path_factory.mktemp("demo")) as running_demo:
        yield running_demo


@pytest.fixture
def mail() -> EmailMessage:
    """A message with a subject of its own."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = ANN, BOB, f"{time.time_ns()}"
    message.set_content("Hello,\n.\n..dots\nbye")
    return message


def test_its_log_begins_with_the_build(demo: Demo) -> None:
    assert f" {describe_build()}\n" in demo.output.text


def send(demo: Demo, message: EmailMessage, recipient: str = BOB) -> None:
    with smtplib.SMTP(LOOPBACK, demo.port("smtp"), timeout=TIMEOUT) as client:
        client.ehlo("client.example")
        client.login(ANN, demo.password(ANN))
        client.send_message(message, ANN, [recipient])


def by_imap(demo: Demo, subject: str) -> list[Message]:
    """Return Bob's mail with this subject."""
    with imaplib.IMAP4(LOOPBACK, demo.port("imap"), timeout=TIMEOUT) as client:
        client.login(BOB, demo.password(BOB))
        client.select()
        numbers: list[Any] = client.search(None, "ALL")[1]
        fetched: list[Any] = [client.fetch(n, "(BODY[])")[1][0] for n in (numbers[0] or b"").decode().split()]
    messages = [message_from_bytes(content) for _, content in fetched]
    return [message for message in messages if message["Subject"] == subject]


def by_pop3(demo: Demo, subject: str) -> list[Message]:
    """Return Bob's mail with this subject."""
    client = poplib.POP3(LOOPBACK, demo.port("pop3"), timeout=TIMEOUT)
    client.user(BOB)
    client.pass_(demo.password(BOB))
    count, _ = client.stat()
    messages = [message_from_bytes(b"\r\n".join(client.retr(n + 1)[1])) for n in range(count)]
    client.quit()
    return [message for message in messages if message["Subject"] == subject]


def text_of(message: Message) -> str:
    return str(message.get_payload()).replace("\r\n", "\n").rstrip("\n")


def test_nothing_is_wrong_with_what_it_has_made(demo: Demo) -> None:
    log = demo.output.text.partition("The next lines are geomail's log.")[2]
    assert re.findall(r"^\S+Z (\w+) ", log, re.M)[:3] == ["notice"] * 3
    for name in ("users", "key.pem"):
        assert (demo.folder / name).stat().st_mode & 0o077 == 0


def test_mail_that_goes_in_comes_out(demo: Demo, mail: EmailMessage) -> None:
    send(demo, mail)

    for [found] in (by_imap(demo, mail["Subject"]), by_pop3(demo, mail["Subject"])):
        assert (found["From"], found["To"]) == (ANN, BOB)
        assert text_of(found) == "Hello,\n.\n..dots\nbye"


def test_the_sandbox_writes_down_what_xclient_told_it(demo: Demo, mail: EmailMessage) -> None:
    send(demo, mail)

    [found] = by_imap(demo, mail["Subject"])
    received = " ".join(found["Received"].split())
    assert re.match(r"from client\.example \(\[UNAVAILABLE\] \[127\.0\.0\.1\]:\d+\) ", received)
    assert f"(authenticated as {ANN}, says geomail by XCLIENT) by sandbox.test with ESMTP;" in received


def test_with_tls(demo: Demo, mail: EmailMessage) -> None:
    password = demo.password(ANN)
    with smtplib.SMTP("localhost", demo.port("smtp"), timeout=TIMEOUT) as client:
        client.starttls(context=demo.trust())
        client.login(ANN, password)
        client.send_message(mail, ANN, [ANN])
    implicit = smtplib.SMTP_SSL(LOOPBACK, demo.port("smtps"), timeout=TIMEOUT, context=demo.trust())
    with implicit:
        implicit.login(ANN, password)
    with imaplib.IMAP4(LOOPBACK, demo.port("imap"), timeout=TIMEOUT) as starttls:
        starttls.starttls(demo.trust())
        starttls.login(ANN, password)
        assert starttls.select()[1] == [b"1"]
    with imaplib.IMAP4_SSL(LOOPBACK, demo.port("imaps"), timeout=TIMEOUT, ssl_context=demo.trust()) as imaps:
        imaps.login(ANN, password)
    pop3 = poplib.POP3(LOOPBACK, demo.port("pop3"), timeout=TIMEOUT)
    pop3.stls(demo.trust())
    pop3s = poplib.POP3_SSL(LOOPBACK, demo.port("pop3s"), timeout=TIMEOUT, context=demo.trust())
    for client3 in (pop3, pop3s):
        client3.user(ANN)
        client3.pass_(password)
        assert client3.stat()[0] == 1
        client3.quit()


def test_wrong_passwords(demo: Demo) -> None:
    with (
        smtplib.SMTP(LOOPBACK, demo.port("smtp"), timeout=TIMEOUT) as smtp,
        pytest.raises(smtplib.SMTPException),
    ):
        smtp.login(ANN, demo.password(BOB))
    with imaplib.IMAP4(LOOPBACK, demo.port("imap"), timeout=TIMEOUT) as imap, pytest.raises(imap.error):
        imap.login(ANN, "")


def test_mail_for_others_is_refused(demo: Demo, mail: EmailMessage) -> None:
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="not a user of the demo"):
        send(demo, mail, "carol@elsewhere.test")


def test_the_sandbox_takes_mail_from_those_alone_whom_geomail_names(demo: Demo) -> None:
    sandbox = tomllib.loads((demo.folder / "geomail.toml").read_text())["backends"]["sandbox"]
    host, _, port = sandbox["smtp"].rpartition(":")

    with smtplib.SMTP(host, int(port), timeout=TIMEOUT) as client:
        client.ehlo()
        assert client.mail(ANN)[0] == 530
        assert client.docmd("XCLIENT NONSENSE=1")[0] == 501
        assert client.docmd("XCLIENT ADDR=192.0.2.7 LOGIN=a+2Bb")[0] == 220
        client.ehlo()
        assert client.mail(ANN)[0] == 250


def test_what_clients_do_with_mail(demo: Demo, mail: EmailMessage) -> None:
    with imaplib.IMAP4(LOOPBACK, demo.port("imap"), timeout=TIMEOUT) as client:
        client.login(ANN, demo.password(ANN))
        before = int(client.select()[1][0] or b"")
        newest = str(before + 1)
        send(demo, mail, ANN)
        client.noop()
        assert client.untagged_responses["EXISTS"][-1] == newest.encode()
        assert b"\\Seen" not in flags(client, newest)
        client.store(newest, "+FLAGS", "(\\Seen \\Deleted)")
        assert b"\\Seen" in flags(client, newest)
        assert client.expunge()[1] == [newest.encode()]
        assert b"(MESSAGES %d)" % before in (client.status("INBOX", "(MESSAGES)")[1][0] or b"")


def flags(client: imaplib.IMAP4, number: str) -> bytes:
    [response] = client.fetch(number, "(FLAGS)")[1]
    assert isinstance(response, bytes)
    return response


def test_mail_that_pop3_deletes_is_gone(demo: Demo, mail: EmailMessage) -> None:
    send(demo, mail)
    client = poplib.POP3(LOOPBACK, demo.port("pop3"), timeout=TIMEOUT)
    client.user(BOB)
    client.pass_(demo.password(BOB))
    for number in range(client.stat()[0]):
        client.dele(number + 1)
    client.quit()

    assert by_imap(demo, mail["Subject"]) == by_pop3(demo, mail["Subject"]) == []


def paste(command: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def test_the_printed_lines_work(tmp_path: Path) -> None:
    program("curl")
    with started(tmp_path) as demo:
        first, *others = demo.commands("curl")
        assert len(others) == 3

        assert paste(first) == ""
        for command in others:
            read = paste(command)
            assert read.startswith("Received: from ")
            assert "Subject: Hello" in read
            assert "This came through geomail." in read


def test_the_printed_line_for_swaks_works(demo: Demo) -> None:
    program("swaks")
    [command] = demo.commands("swaks")

    assert "<-  250 Delivery in progress" in paste(command)


def test_the_printed_line_for_a_preview_works(demo: Demo) -> None:
    [command] = demo.commands("preview-handshake")

    assert "EHLO geomail.demo.test" in paste(command)


def test_in_a_pipe_it_is_plain(demo: Demo) -> None:
    assert "\x1b" not in demo.output.text
    assert max(map(len, demo.banner.splitlines())) < 130


def test_the_proxy_finds_other_ports_if_it_must(demo: Demo, tmp_path: Path) -> None:
    with started(tmp_path) as second:
        ports = [[demo.port(name) for name in demo_module.PORTS] for demo in (demo, second)]

    assert len({*ports[0], *ports[1]}) == 2 * len(demo_module.PORTS)


# -- the end --------------------------------------------------------------------------------------


def ended(demo: Demo, processes: set[int]) -> None:
    """Check that nothing is left after the end of the master."""
    assert running(processes) == set()
    assert list(demo.parent.glob("geomail-demo-*")) == []
    for line in re.findall(rf"{LOOPBACK}:(\d+)", demo.banner.partition("Users")[0]):
        with socket.socket() as probe:
            assert probe.connect_ex((LOOPBACK, int(line))) != 0
    assert "Traceback" not in demo.output.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_ends_it_all(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as demo:
        processes = demo.processes()
        assert len(processes) == PROCESSES
        demo.process.send_signal(number)

        assert demo.process.wait(30) == 0
        ended(demo, processes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_keys_at_a_terminal_end_it_all(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as demo:
        processes = demo.processes()
        for pid in 3 * [*processes]:  # a terminal tells them all, and some people are impatient
            with suppress(ProcessLookupError):  # the last one has ended it
                os.kill(pid, number)

        assert demo.process.wait(30) == 0
        ended(demo, processes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_the_sandbox_leaves_keys_to_the_proxy(demo: Demo, mail: EmailMessage, number: signal.Signals) -> None:
    sandbox = sandbox_of(demo)
    os.kill(sandbox, number)
    send(demo, mail)  # the sandbox takes it after the signal

    assert running({sandbox})
    assert "error" not in demo.output.text


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_sandbox(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as demo:
        processes = demo.processes()
        os.kill(sandbox_of(demo), number)

        assert demo.process.wait(30) == 1
        assert "error the companion process exited" in demo.output.text
        ended(demo, processes)


def test_the_sandbox_ends_with_the_proxy(tmp_path: Path) -> None:
    with started(tmp_path) as demo:
        sandbox = sandbox_of(demo)
        demo.process.kill()
        deadline = time.monotonic() + 10
        while running({sandbox}) and time.monotonic() < deadline:
            time.sleep(0.05)

        assert not running({sandbox})
        assert list(tmp_path.glob("geomail-demo-*")) == []


def sandbox_of(demo: Demo) -> int:
    [pid] = [
        pid
        for pid in demo.processes()
        if b"geomail_cli.demo_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return pid


# -- usage ----------------------------------------------------------------------------------------


def test_it_has_a_configuration_of_its_own(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["serve", "--demo", "-c", str(tmp_path / "geomail.toml")])

    assert result.exit_code == 2
    assert "--demo and -c exclude each other" in result.stderr


@pytest.mark.parametrize("package", ["twisted", "cryptography"])
def test_without_its_packages_it_says_what_to_install(tmp_path: Path, package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from geomail_cli.main import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--demo"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"geomail: the demo needs {package}, which is not installed: run pip install 'geomail[demo]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_port_is_held_for_one_listener() -> None:
    port = free_port()
    first = demo_module._bind(port)
    assert first is not None
    with closing(first):
        assert demo_module._bind(port) is None
