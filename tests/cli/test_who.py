"""``geomail who``, and the way in which all commands find the server."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from geomail_cli import control
from tests.cli.commands import environment, geomail, invoked
from tests.console.support import PROTOCOLS, Running
from tests.servers.geomail import COMMAND
from tests.servers.support import program


def test_sessions_are_listed_in_columns(shared: Running) -> None:
    for protocol in PROTOCOLS:
        shared.client(protocol, f"list-{protocol}@example.test")
    done = geomail("who", "-c", shared.file, "list-*")
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["ID", "PROTO", "USER", "CLIENT", "BACKEND", "STATE", "AGE", "IDLE", "IN", "OUT"]
    assert [line.split()[1:4] for line in lines] == [
        [protocol, f"list-{protocol}@example.test", "127.0.0.1"] for protocol in PROTOCOLS
    ]
    assert len({line.index("127.0.0.1") for line in lines}) == 1, "columns line up"
    assert done.stderr == "3 sessions\n"
    assert done.returncode == 0


def test_a_pipe_gets_long_names_whole(shared: Running) -> None:
    user = f"{'long' * 60}@example.test"
    shared.imap(user)
    assert user in invoked("who", "-c", shared.file, "--user", "long*").stdout


@pytest.mark.parametrize("options", [("--format", "json"), ("--json",)])
def test_json(options: tuple[str, ...], shared: Running) -> None:
    shared.client("pop3", "json@example.test")
    [session] = json.loads(invoked("who", "-c", shared.file, *options, "json@*").stdout)
    assert list(session)[:6] == ["session", "protocol", "server", "state", "user", "method"]
    assert (session["user"], session["backend"].split()[1]) == ("json@example.test", "(small)")
    assert json.loads(invoked("who", "-c", shared.file, *options, "nobody").stdout) == []


def test_fields_between_tabs(shared: Running) -> None:
    shared.client("smtp", "tab@example.test")
    head, line = invoked("who", "-c", shared.file, "--format", "tab", "tab@*").stdout.splitlines()
    fields = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    assert (fields["protocol"], fields["user"], fields["tls"]) == ("smtp", "tab@example.test", "")
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", fields["session"])


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--protocol", "imap"], 1),
        (["--protocol", "imap", "--protocol", "pop3"], 2),
        (["--server", "*-in"], 3),
        (["--client", "127.0.0.1"], 3),
        (["--client", "192.0.2.0/24"], 0),
        (["--backend", "small"], 3),
        (["--id", "*-*"], 3),
        (["--id", "nothing"], 0),
    ],
)
def test_options_choose(options: list[str], found: int, shared: Running) -> None:
    for protocol in PROTOCOLS:
        shared.client(protocol, f"opt-{protocol}@example.test")
    done = invoked("who", "-c", shared.file, "--user", "opt-*", "--json", *options)
    assert len(json.loads(done.stdout)) == found
    assert done.returncode == 0


def test_what_a_user_name_holds_steers_no_terminal(shared: Running) -> None:
    with shared.connect("imap") as sock:
        sock.sendall(b'a LOGIN "evil\x1b[31m\x9b\xe2\x80\xae[red]x[/red]" secret\r\n')
        sock.recv(1000)
        for form in ("table", "json", "tab"):
            shown = invoked("who", "-c", shared.file, "--format", form, "evil*").stdout
            assert "evil" in shown
            assert "[red]x[/red]" in shown
            assert shown.replace("\n", "").replace("\t", "").isprintable()


@pytest.mark.parametrize("command", [["who"], ["kick", "--yes"], ["tail"], ["trace", "--user", "x"]])
def test_a_selection_that_cannot_be_understood_is_wrong_usage(command: list[str], shared: Running) -> None:
    done = invoked(*command, "-c", shared.file, "--client", "nowhere")
    assert done.returncode == 2
    assert "'nowhere' is not an address, network or pattern" in done.stderr
    assert done.stdout == ""


def test_the_usage_of_names_without_an_option() -> None:
    assert geomail("who", "--help").stdout.strip().startswith("Usage: geomail who [OPTIONS] [USER]...\n")


# -- finding the server -----------------------------------------------------------------------------


def test_the_server_is_found_by_option_or_environment(shared: Running) -> None:
    assert invoked("who", "--socket", shared.path, "nobody").returncode == 0
    assert invoked("who", "nobody", GEOMAIL_CONFIG=str(shared.file)).returncode == 0


def test_a_broken_configuration_does_not_hide_the_server(shared: Running, tmp_path: Path) -> None:
    broken = tmp_path / "geomail.toml"
    broken.write_text(shared.file.read_text().replace('auth = "passthrough"', "auth = 1"))
    assert invoked("who", "-c", broken).returncode == 0


@pytest.mark.parametrize("command", [["who"], ["kick", "jane", "--yes"], ["tail"], ["reload"]])
@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "No such file"), ("[control\n", "geomail.toml:1: error: ")],
    ids=["none", "broken"],
)
def test_no_other_server_is_asked_than_that_of_the_file(
    text: str | None, said: str, command: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "geomail.toml"
    if text is not None:
        file.write_text(text)
    for done in (invoked(*command, "-c", file), invoked(*command, GEOMAIL_CONFIG=str(file))):
        assert done.returncode == 2
        assert said in done.stderr
        assert "give --socket PATH" in done.stderr
        assert done.stdout == ""


def test_where_nothing_was_named_it_is_said_how_to_name_it() -> None:
    if Path("/run/geomail").exists() or Path("/etc/geomail").exists():
        pytest.skip("geomail is installed on this machine")
    done = invoked("who")
    assert done.returncode == 69
    assert "no geomail server runs at /run/geomail/control.sock; start one with: geomail serve" in done.stderr
    assert "if one runs elsewhere, give -c FILE or --socket PATH" in done.stderr


def test_without_a_server_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    file = tmp_path / "geomail.toml"
    file.write_text(f'[control]\nsocket = "{tmp_path}/control.sock"\n')
    for command in ("who", "status", "reload", "tail"):
        done = invoked(command, "-c", file)
        assert done.returncode == 69, done.stderr
        assert f"no geomail server runs at {tmp_path}/control.sock" in done.stderr
        assert f"geomail serve -c {file}" in done.stderr
        assert done.stdout == ""


def test_a_server_without_a_socket_cannot_be_asked(tmp_path: Path) -> None:
    file = tmp_path / "geomail.toml"
    file.write_text('[control]\nsocket = "off"\n')
    done = invoked("who", "-c", file)
    assert done.returncode == 69
    assert "socket = off" in done.stderr


@pytest.fixture
def closed(shared: Running) -> Iterator[Running]:
    """A server whose control socket only root may use."""
    mode = shared.path.stat().st_mode
    shared.path.chmod(0)
    yield shared
    shared.path.chmod(mode)


def test_those_who_may_not_are_told_so(closed: Running) -> None:
    command: list[str | Path] = [COMMAND, "who", "--socket", closed.path]
    if os.geteuid() == 0:  # whom modes do not stop, unless that right is taken away
        command = [program("setpriv"), "--bounding-set", "-dac_override", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment())
    assert done.returncode == 77
    assert "permission denied" in done.stderr


def test_what_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_HELLO_TIMEOUT", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "silent.sock"))
        listener.listen()
        done = invoked("who", "--socket", tmp_path / "silent.sock")
    assert done.returncode == 69
    assert done.stderr == "geomail: the server does not answer\n"


def test_what_is_not_geomail_is_not_believed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "other.sock"))
        listener.listen()
        process = subprocess.Popen(
            [COMMAND, "who", "--socket", tmp_path / "other.sock"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        connection, _ = listener.accept()
        connection.sendall(b"220 mail.example.test ESMTP\r\n")
        _, said = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 1
    assert "is not geomail" in said
