"""``geomail hash-password``: a password from a pipe, and one typed at a terminal."""

import os
import pty
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from geomail.config.schema import Users
from geomail.config.users import read_users
from geomail.hashes import recognise, verify
from geomail_cli.main import app
from tests.servers.geomail import COMMAND
from tests.servers.support import program

PASSWORD = "corréct horse"


def run(*options: str, typed: str | bytes = f"{PASSWORD}\n") -> Result:
    return CliRunner().invoke(app, ["hash-password", *options], input=typed)


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ([], "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$"),
        (["--scheme", "argon2id"], "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$"),
        (["--scheme", "bcrypt"], "{BLF-CRYPT}$2b$12$"),
        (["--scheme", "sha512-crypt"], "{SHA512-CRYPT}$6$rounds=100000$"),
    ],
)
def test_a_hash(options: list[str], start: str) -> None:
    result = run(*options)

    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    assert line.startswith(start)
    assert verify(recognise(line), PASSWORD.encode())


@pytest.mark.parametrize(
    ("typed", "password"),
    [
        ("secret", b"secret"),
        ("secret\n", b"secret"),
        ("secret\r\n", b"secret"),
        (" secret \n", b" secret "),
        ("secret\nand more\n", b"secret"),
        (b"s\xff\n", b"s\xff"),
    ],
)
def test_a_line_from_a_pipe(typed: str | bytes, password: bytes) -> None:
    result = run("--scheme", "sha512-crypt", typed=typed)

    assert verify(recognise(result.stdout.strip()), password)


def test_a_line_for_the_users_file(tmp_path: Path) -> None:
    result = run("--user", "Müller@example.org", "--backend", "two", typed="secret\n")
    file = tmp_path / "users"
    file.write_text(result.stdout)
    users = read_users(Users(file=str(file)), ["two"])

    (entry,) = users.entries.values()
    assert list(users.entries) == ["müller@example.org".encode()]
    assert entry.backend == "two"
    assert verify(entry.hash, b"secret")


def test_a_line_without_a_backend() -> None:
    result = run("--user", "ann")

    assert result.stdout.startswith("ann:{ARGON2ID}$")
    assert result.stdout.count(":") == 1


@pytest.mark.parametrize(
    ("options", "typed", "said"),
    [
        ([], "", "the password is empty"),
        ([], "\n", "the password is empty"),
        ([], "a\0b\n", "the password contains NUL or CR"),
        ([], "a\rb\n", "the password contains NUL or CR"),
        ([], "x" * 4097, "the password has more than 4096 bytes"),
        ([], "x" * 100_000, "the password has more than 4096 bytes"),
        (
            ["--scheme", "bcrypt"],
            "x" * 73,
            "the password has more than 72 bytes, the limit of bcrypt: give --scheme argon2id",
        ),
        (["--scheme", "bcrypt"], "é" * 37, "the password has more than 72 bytes"),
    ],
)
def test_passwords_that_cannot_be_used(options: list[str], typed: str, said: str) -> None:
    result = run(*options, typed=typed)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"geomail: {said}")


@pytest.mark.parametrize(
    "options",
    [
        ["secret"],
        ["--password", "secret"],
        ["--scheme", "md5"],
        ["--backend", "one"],
        ["--user", ""],
        ["--user", "ann:x"],
        ["--user", "#ann"],
        ["--user", " ann"],
        ["--user", "ann\nbob"],
        ["--user", "ann", "--backend", "one two"],
        ["--user", "ann", "--backend", "a%20b"],
        ["--user", "ann", "--backend", ""],
    ],
)
def test_wrong_usage(options: list[str]) -> None:
    result = run(*options)

    assert (result.exit_code, result.stdout) == (2, "")


class Terminal:
    """A terminal, and the command that runs in it."""

    def __init__(self, *options: str) -> None:
        self.ours, theirs = pty.openpty()
        self.seen = b""
        self.process = subprocess.Popen(
            [program("setsid"), "--ctty", "--wait", COMMAND, "hash-password", *options],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)

    def answer(self, prompt: bytes, typed: bytes) -> None:
        """Type a line after the prompt: its last space appears when the echo is off."""
        start = len(self.seen)
        while prompt not in self.seen[start:]:
            assert self._see(20), self.seen
        os.write(self.ours, typed)

    def end(self) -> tuple[int, bytes]:
        """Return the exit status and the standard output."""
        output, _ = self.process.communicate(timeout=30)
        while self._see(0):
            pass
        return self.process.returncode, output

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)

    def _see(self, seconds: float) -> bool:
        """Wait for output; tell whether it appeared."""
        if not select.select([self.ours], [], [], seconds)[0]:
            return False
        try:
            self.seen += os.read(self.ours, 1024)
        except OSError:
            return False  # nobody has the terminal any more
        return True


@contextmanager
def terminal(*options: str) -> Iterator[Terminal]:
    opened = Terminal(*options)
    try:
        yield opened
    finally:
        opened.close()


def test_typed_twice_and_not_shown() -> None:
    with terminal("--user", "ann") as screen:
        screen.answer(b"Password: ", b"s3cret\n")
        screen.answer(b"Password again: ", b"s3cret\n")
        status, output = screen.end()

    assert status == 0
    assert output.startswith(b"ann:{ARGON2ID}$")
    assert verify(recognise(output.decode().strip().partition(":")[2]), b"s3cret")
    assert b"s3cret" not in screen.seen


def test_typed_differently() -> None:
    with terminal() as screen:
        screen.answer(b"Password: ", b"s3cret\n")
        screen.answer(b"Password again: ", b"s3crets\n")
        screen.answer(b"Password: ", b"\x03")
        status, output = screen.end()

    assert (status, output) == (1, b"")
    assert b"do not match" in screen.seen
