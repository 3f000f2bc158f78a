"""Traces: every line of the dialogues of selected sessions, and never a password in any encoding."""

import base64
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import pytest
from gevent.server import StreamServer

from tests.cli.commands import environment
from tests.console.support import Asker, Running, eventually
from tests.servers.geomail import COMMAND, serving
from tests.servers.support import LOOPBACK, free_port

PASSWORD = "corr3ct-Horse+bätterÿ"
#: Spellings of a password that a backend may send back.
ECHOES = {
    "plain": "{p}",
    "quoted": '"{p}"',
    "base64": "{b0}",
    "base64, one byte before": "{b1}",
    "base64, two bytes before": "{b2}",
    "base64 of the whole response": "{sasl}",
    "percent": "{percent}",
    "hexadecimal": "{hex}",
    "upper case": "{upper}",
}


def spellings(password: str) -> dict[str, str]:
    raw = password.encode()
    found = {f"b{n}": base64.b64encode(b"x" * n + raw + b"tail").decode() for n in range(3)}
    return {
        "p": password,
        "sasl": base64.b64encode(b"\0jane\0" + raw).decode(),
        "percent": "".join(f"%{byte:02X}" for byte in raw),
        "hex": raw.hex(),
        "upper": password.upper(),
        **found,
    }


def tells(password: str, text: str) -> list[str]:
    """Return the spellings of a password, or of a large part of it, that occur in a text."""
    raw = password.encode()
    needles = {"plain": password, "its end": password[4:], "hex": raw.hex(), "upper": password.upper()}
    needles["percent"] = "".join(f"%{byte:02X}" for byte in raw)
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()
        needles[f"base64 at {shift}"] = encoded[4:-4]
    return [name for name, needle in needles.items() if needle in text or needle in json.dumps(text)]


class Echoing:
    """An IMAP backend that sends back what it gets, and refuses or accepts the login."""

    def __init__(self) -> None:
        self.echo = "{p}"
        self.accepts = True
        self.may_answer = gevent.event.Event()
        self.may_answer.set()
        self._server = StreamServer((LOOPBACK, 0), self._serve)
        self._server.start()
        self.port = self._server.server_port

    def close(self) -> None:
        self._server.stop()

    def _serve(self, sock: Any, _address: object) -> None:
        with sock, sock.makefile("rwb") as stream:

            def say(text: str) -> None:
                stream.write(text.encode() + b"\r\n")
                stream.flush()

            say("* OK echo")
            tag, said = "", ""
            while line := stream.readline():
                words = line.decode().split(" ")
                tag = tag or words[0]
                said += line.decode()
                if re.search(r"\{\d+\}\r\n$", line.decode()):
                    say("+ go on")
                    continue
                break
            self.may_answer.wait()
            text = self.echo.format(**spellings(PASSWORD))
            say(f"* 1 {text} x")
            say(f"{tag} {'OK' if self.accepts else 'NO'} [ALERT] {text} {text}")
            while stream.readline():
                say(f"* relayed {PASSWORD}")


@pytest.fixture(scope="module")
def echoing() -> Iterator[Echoing]:
    backend = Echoing()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def echo_server(
    echoing: Echoing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, int, Any]]:
    """Run a geomail in front of that backend; yield its control socket, its port, and itself."""
    folder, port = tmp_path_factory.mktemp("echoed"), free_port()
    text = f"""
        workers = 2
        [control]
        socket = "{folder}/control.sock"
        [mail]
        proxy_pass_error_message = true
        [[mail.server]]
        protocol = "imap"
        auth = "passthrough"
        listen = "{LOOPBACK}:{port}"
        [auth.passthrough]
        default = "echo"
        [backends.echo]
        address = "{LOOPBACK}:{echoing.port}"
    """
    with serving(text, folder) as server:
        yield folder / "control.sock", port, server


@pytest.fixture
def echoed(echo_server: tuple[Path, int, Any]) -> tuple[Path, int, Any]:
    """Return the same once no session of another test is ending any more."""
    until_nobody_is_in(echo_server[0])
    return echo_server


def until_nobody_is_in(path: Path) -> None:
    with Asker(path) as asker:
        eventually(lambda: not asker.sessions())


def lines_of(asker: Asker) -> list[dict[str, Any]]:
    """Return the lines of a trace up to the end of a session."""
    found = []
    while True:
        record = asker.next()
        if record.get("event") == "trace.line":
            found.append(record)
            if record["line"].startswith("session ends"):
                return found


def start(asker: Asker, **parameters: Any) -> None:
    asker.send("trace", **parameters)
    assert "tracing" in asker.next()


def literal_login(port: int, user: str, password: str) -> bytes:
    """Log in to IMAP by literals, send something in the relay, and leave; return the answers."""
    raw = password.encode()
    with gevent.socket.create_connection((LOOPBACK, port), 10) as sock, sock.makefile("rwb") as stream:
        heard = stream.readline()
        for part in (f"a1 LOGIN {user} {{{len(raw)}}}\r\n".encode(), raw + b"\r\n"):
            stream.write(part)
            stream.flush()
            heard += stream.readline()
        stream.write(b"a2 in the relay " + raw + b"\r\n")
        stream.flush()
        return heard + stream.readline()


@pytest.mark.parametrize("accepts", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("select", [{"client": [LOOPBACK]}, {"user": ["j?ne"]}], ids=["client", "user"])
def test_a_password_is_nowhere_whatever_the_backend_says(
    echoed: tuple[Path, int, Any], echoing: Echoing, select: Any, echo: str, accepts: bool
) -> None:
    path, port, _ = echoed
    echoing.echo, echoing.accepts = echo, accepts
    with Asker(path) as asker:
        start(asker, select=select)
        literal_login(port, "jane", PASSWORD)
        found = lines_of(asker)
    text = "\n".join(record["line"] + record["because"] for record in found)
    assert [(line["leg"], line["direction"]) for line in found[:4]] == [
        ("client", ">"),
        ("client", "<"),
        ("client", ">"),
        ("client", "<"),
    ]
    assert found[0]["line"].startswith("* OK ")
    assert "* OK echo" in text
    assert "in the relay" not in text
    assert "relayed" not in text.replace("relay begins", "")
    assert tells(PASSWORD, text) == []
    assert tells(PASSWORD, json.dumps(found)) == []


@pytest.mark.parametrize("accepts", [True, False], ids=["accepted", "refused"])
def test_a_trace_that_begins_after_the_password_does_not_tell_it(
    echoed: tuple[Path, int, Any], echoing: Echoing, accepts: bool
) -> None:
    path, port, _ = echoed
    echoing.echo, echoing.accepts = "{p}", accepts
    echoing.may_answer.clear()
    client = gevent.spawn(literal_login, port, "jane", PASSWORD)
    with Asker(path) as asker, Asker(path) as watching:
        eventually(lambda: [one["state"] for one in asker.sessions()] == ["backend"])
        start(watching, select={"client": [LOOPBACK]})
        echoing.may_answer.set()
        found = lines_of(watching)
    assert PASSWORD.encode() in client.get(timeout=10), "it was said back, also to the client"
    heard = [record["line"] for record in found if (record["leg"], record["direction"]) == ("backend", "<")]
    assert heard
    assert set(heard) == {"********"}
    assert tells(PASSWORD, json.dumps(found)) == []


def heard_from(echoed: tuple[Path, int, Any], password: str) -> list[str]:
    """Return what a trace shows of the backend's answers to a client with this password."""
    path, port, _ = echoed
    found: list[dict[str, Any]] = []
    until_nobody_is_in(path)
    with Asker(path) as asker:
        start(asker, select={"client": [LOOPBACK]})
        literal_login(port, "jane", password)
        while [record["leg"] for record in found].count("") < 3:  # accepted, in relay, ended
            found.append(asker.event("trace.line"))
    return [record["line"] for record in found if (record["leg"], record["direction"]) == ("backend", "<")]


def test_a_long_line_is_cut_and_its_size_told(echoed: tuple[Path, int, Any], echoing: Echoing) -> None:
    echoing.echo, echoing.accepts = "y" * 2500, True
    said = f"* 1 {'y' * 2500} x"
    assert f"{said[:2000]}… ({len(said)} bytes)" in heard_from(echoed, PASSWORD)


def test_a_secret_that_is_dear_to_look_for_hides_all_lines(
    echoed: tuple[Path, int, Any], echoing: Echoing
) -> None:
    echoing.echo, echoing.accepts = "words", True
    assert "* 1 words x" in heard_from(echoed, "s" * 128)
    assert set(heard_from(echoed, "s" * 129)) == {"********"}


def test_neither_the_log_nor_the_watchers_are_told_a_password_that_a_backend_says(
    echoed: tuple[Path, int, Any], echoing: Echoing
) -> None:
    path, port, server = echoed
    echoing.accepts = False
    with Asker(path) as asker:
        asker.tail()
        for echo in ECHOES.values():
            echoing.echo = echo
            literal_login(port, "jane", PASSWORD)
            told = asker.event("login.refused")
            assert "********" in told["reason"]
            assert tells(PASSWORD, json.dumps(told)) == []
    eventually(lambda: len(re.findall(r"login refused .*\*{8}", server.log.text)) >= len(ECHOES))
    assert tells(PASSWORD, server.log.text) == []


def test_the_finder_of_passwords_finds_them() -> None:
    for name, echo in ECHOES.items():
        assert tells(PASSWORD, echo.format(**spellings(PASSWORD))), name


@pytest.mark.parametrize("protocol", ["imap", "pop3", "smtp"])
def test_both_legs_of_every_protocol(shared: Running, protocol: str) -> None:
    with shared.asker() as asker:
        start(asker, select={"user": ["tr*ce@example.test"], "protocol": [protocol]})
        shared.client(protocol, "somebody@example.test")
        shared.client(protocol, "trace@example.test")
        shared.leave()
        found = lines_of(asker)
    assert {record["user"] for record in found} == {"trace@example.test"}
    assert len({record["session"] for record in found}) == 1
    greeting = [record for record in found if record["line"] == found[0]["line"]]
    assert [record["leg"] for record in greeting] == ["client"], "what was kept is shown once"
    legs = [(record["leg"], record["direction"]) for record in found]
    for leg in ("client", "backend"):
        assert {(leg, "<"), (leg, ">")} <= set(legs)
    notes = [record["line"] for record in found if record["direction"] == "*"]
    assert re.match(r"the auth source accepts: to \S+ \(small\)", notes[0])
    assert re.match(r"relay begins", notes[1])
    assert re.match(r"session ends, done, by client; \d+ bytes from the client, \d+ to it", notes[2])
    text = "\n".join(record["line"] for record in found)
    assert "secret" not in text
    assert "********" in text
    assert "c2VjcmV0" not in text


def test_a_client_is_traced_from_its_first_line_and_without_a_login(shared: Running) -> None:
    with shared.asker() as asker:
        eventually(lambda: not asker.sessions(protocol="pop3"))  # sessions of other tests may still be ending
        start(asker, select={"client": ["127.0.0.0/8"], "server": ["pop3-in"]})
        with shared.connect("pop3") as sock:
            sock.sendall(b"CAPA\r\nQUIT\r\n")
            while sock.recv(1000):
                pass
        found = lines_of(asker)
    assert [record["line"] for record in found if record["direction"] == "<"] == ["CAPA", "QUIT"]


def test_who_is_in_relay_already_is_told_of_by_size_alone(shared: Running) -> None:
    client = shared.imap("early@example.test")
    with shared.asker() as asker:
        start(asker, select={"user": ["early@*"]})
        first = asker.next()
        client.noop()
        client.shutdown()
        found = [first, *lines_of(asker)]
    assert [record["line"].partition(" ")[0] for record in found] == ["in", "session"]


def test_of_what_was_said_before_the_login_a_bounded_part_is_kept(shared: Running) -> None:
    with shared.asker() as asker, shared.connect("pop3") as sock, sock.makefile("rb") as answers:
        start(asker, select={"user": ["long@*"]})
        sock.sendall(b"NOOP\r\n" * 150 + b"USER long@example.test\r\nPASS secret\r\n")
        for _ in range(152):
            assert answers.readline().startswith(b"+OK")
        sock.shutdown(socket.SHUT_RDWR)
        found = lines_of(asker)
    heard = [record["line"] for record in found if (record["leg"], record["direction"]) == ("client", "<")]
    assert 90 < heard.count("NOOP") <= 100, "of each of the 200 lines half were heard"


def test_a_login_under_way_is_traced_from_now_on(shared: Running) -> None:
    with shared.asker() as asker, shared.connect("pop3") as sock:
        start(asker, select={"client": [LOOPBACK], "protocol": ["pop3"]})
        sock.sendall(b"NOOP\r\n")
        assert asker.event("trace.line", direction="<")["line"] == "NOOP"


def test_each_trace_gets_its_own_lines_alone(shared: Running) -> None:
    with shared.asker() as one, shared.asker() as other:
        start(one, select={"user": ["first@*"]})
        start(other, select={"user": ["second@*"]})
        for user in ("second@example.test", "first@example.test"):
            shared.client("pop3", user)
        shared.leave()
        for asker, user in ((one, "first@example.test"), (other, "second@example.test")):
            assert {record["user"] for record in lines_of(asker)} == {user}


@pytest.mark.parametrize(
    ("caps", "reached"),
    [({"lines": 3}, "lines"), ({"bytes": 700}, "bytes"), ({"seconds": 0.5}, "seconds")],
)
def test_a_cap_ends_a_trace(shared: Running, caps: dict[str, float], reached: str) -> None:
    with shared.asker() as asker:
        start(asker, select={"client": [LOOPBACK]}, **caps)
        with shared.connect("pop3") as sock:
            sock.sendall(b"NOOP\r\n" * 20)
            answers = [asker.next()]
            while "done" not in answers[-1]:
                answers.append(asker.next())
    done = answers[-1]["done"]
    assert done["reached"] == reached
    assert done["lines"] == len(answers) - 1
    if reached == "lines":
        assert done["lines"] == 3
    if reached == "bytes":
        assert sum(len(json.dumps(answer)) for answer in answers[:-1]) < 800


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"select": {}},
        {"select": {"protocol": ["imap"]}},
        {"select": {"user": "x"}, "seconds": 1e9},
        {"select": {"user": "x"}, "lines": 0},
        {"select": {"user": "x"}, "bytes": "many"},
        {"select": {"user": "x"}, "seconds": True},
        {"select": {"nonsense": "x"}},
    ],
)
def test_what_is_no_trace(asker: Asker, parameters: dict[str, Any]) -> None:
    [answer] = asker.ask("trace", **parameters)
    assert answer["error"] in ("bad-request", "bad-selection")


def test_when_the_client_has_left_nobody_traces_any_more(shared: Running) -> None:
    with shared.asker() as asker:
        start(asker, select={"client": [LOOPBACK]})
    with shared.asker() as asker:
        for _ in range(20):  # one after another, there is room for all
            with shared.asker() as other:
                start(other, select={"user": ["x"]})
        time.sleep(0.3)
        start(asker, select={"user": ["x"]})


def test_too_many_traces_are_refused(shared: Running) -> None:
    def is_started(asker: Asker) -> bool:  # sessions of other tests may still be ending
        asker.send("trace", select={"user": ["x"]})
        return "tracing" in asker.next()

    with shared.asker() as asker:
        for _ in range(8):
            eventually(lambda: is_started(asker))
        [answer] = asker.ask("trace", select={"user": ["x"]})
    assert answer["error"] == "busy"


def test_the_workers_of_a_reload_trace_too(own: Running) -> None:
    with own.asker() as asker, own.asker() as other:
        start(asker, select={"user": ["late@*"]})
        other.done("reload")
        own.client("pop3", "late@example.test")
        own.leave()
        assert any(record["leg"] == "backend" for record in lines_of(asker))


def test_the_command_shows_lines_until_it_is_interrupted(shared: Running) -> None:
    command = [str(COMMAND), "trace", "--user", "cmd@*", "--socket", str(shared.path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stderr
        assert "tracing for 60 s" in process.stderr.readline()
        shared.client("imap", "cmd@example.test")
        shared.leave()
        assert process.stdout
        lines: list[str] = []
        while not lines or "session ends" not in lines[-1]:
            lines.append(process.stdout.readline().rstrip("\n"))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    stamp = r"\d\d:\d\d:\d\d\.\d{3} [0-9a-f]+-[0-9a-f]+ "
    assert all(
        re.match(rf"{stamp}(client  <- |client  -> |backend <- |backend -> |\*\* )\S", line) for line in lines
    )
    assert re.search(r"client  -> \w+ LOGIN \*{8}", "\n".join(lines))


def test_the_command_wants_to_know_whose(tmp_path: Path) -> None:
    del tmp_path
    answer = subprocess.run(
        [COMMAND, "trace", "--protocol", "imap"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert "--user or --client" in answer.stderr
