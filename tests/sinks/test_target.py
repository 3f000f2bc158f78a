"""Files, pipes and syslog sockets, as a log writes to them."""

import os
import re
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gevent import socket

from geomail.sinks import target as module
from geomail.sinks.target import File, Line, LinesLost, Syslog, open_target

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def make_lines(*texts: str) -> list[Line]:
    return [("info", f"{text}\n".encode()) for text in texts]


@contextmanager
def limiting_files_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size``, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_appended_to_and_others_may_not_read_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in ("first", "second"):
        target = open_target(str(path))
        target.write(make_lines(text))
        target.close()
    assert path.read_bytes() == b"first\nsecond\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


def test_a_file_that_was_moved_away_is_created_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    target = File(str(path), None)
    target.write(make_lines("old"))
    path.rename(tmp_path / "log.1")
    target.write(make_lines("still old"))
    target.reopen()
    target.write(make_lines("new"))
    target.close()
    assert (tmp_path / "log.1").read_bytes() == b"old\nstill old\n"
    assert path.read_bytes() == b"new\n"


def test_the_open_file_stays_in_use_if_it_cannot_be_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    target = File(str(folder / "log"), None)
    folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        target.reopen()
    target.write(make_lines("kept"))
    assert (tmp_path / "moved" / "log").read_bytes() == b"kept\n"
    target.close()


@as_root
def test_a_file_is_given_to_its_owner_at_each_opening(tmp_path: Path) -> None:
    path = tmp_path / "log"
    target = File(str(path), 65534)
    assert path.stat().st_uid == 65534
    path.unlink()
    target.reopen()
    assert path.stat().st_uid == 65534
    target.close()


@as_root
def test_no_file_is_given_away_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("root's")
    (tmp_path / "log").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        File(str(tmp_path / "log"), 65534)
    assert precious.stat().st_uid == os.geteuid()


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Return a folder that belongs to the owner of the log, a user that can put any file there."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, -1)
    return folder


#: The ways in which a user that may write to the folder can put a file of root's in place of the log.
ATTACKS: dict[str, Callable[[Path, Path], object]] = {
    "a symbolic link": lambda log, precious: log.symlink_to(precious),
    "a hard link": lambda log, precious: log.hardlink_to(precious),
    "the file itself": lambda log, precious: precious.rename(log),
}


@as_root
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("when", ["at the start", "when it is opened again"])
def test_a_file_of_root_is_neither_given_away_nor_written_to(
    tmp_path: Path, theirs: Path, attack: str, when: str
) -> None:
    log, precious = theirs / "log", tmp_path / "precious"
    precious.write_text("root's")
    precious.chmod(0o600)
    held = precious.open("rb")
    target = File(str(log), 65534) if when == "when it is opened again" else None
    log.unlink(missing_ok=True)
    ATTACKS[attack](log, precious)
    with pytest.raises(OSError):  # noqa: PT011  # each has its own reason
        target.reopen() if target else File(str(log), 65534)
    status = os.fstat(held.fileno())
    assert (status.st_uid, status.st_mode & 0o777, held.read()) == (0, 0o600, b"root's")
    held.close()
    if target:
        target.close()


@as_root
def test_a_pipe_in_place_of_the_file_does_not_block(theirs: Path) -> None:
    target = File(str(theirs / "log"), 65534)
    (theirs / "log").unlink()
    os.mkfifo(theirs / "log")
    target.reopen()
    target.write(make_lines("one"))
    target.close()


@as_root
def test_an_existing_log_is_given_away_if_only_root_can_have_put_it_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    target = File(str(path), 65534)
    target.write(make_lines("after"))
    assert (path.stat().st_uid, path.read_text()) == (65534, "before\nafter\n")
    target.close()


def test_lines_that_do_not_fit_on_a_full_disk_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    target = File(str(path), None)
    with limiting_files_to(25), pytest.raises(LinesLost, match="File too large") as lost:
        target.write(make_lines("a" * 9, "b" * 9, "c" * 9, "d" * 9))
    assert path.read_bytes() == b"aaaaaaaaa\nbbbbbbbbb\nccccc"
    assert lost.value.count == 2
    target.write(make_lines("after"))
    target.close()
    assert path.read_bytes().splitlines()[2:] == [b"ccccc", b"after"]


def test_lines_of_later_writes_are_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FILE_BATCH", 10)
    target = File(str(tmp_path / "log"), None)
    with limiting_files_to(25), pytest.raises(LinesLost) as lost:
        target.write(make_lines(*(letter * 9 for letter in "abcde")))  # each is a write
    assert lost.value.count == 3
    target.close()


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    del tmp_path
    target = File("/dev/full", None)
    with pytest.raises(LinesLost, match="No space left on device") as lost:
        target.write(make_lines(*"abc"))
    assert lost.value.count == 3
    target.close()


def test_a_named_pipe_opens_without_a_reader_and_reports_that_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    target = File(str(path), None)
    written = 0
    while target.is_ready():
        target.write(make_lines("x" * 999))
        written += 1
    assert 16 <= written <= 1024
    with path.open("rb") as reader:
        assert [reader.readline() for _ in range(written)] == [b"x" * 999 + b"\n"] * written
    assert target.is_ready()
    target.close()


WRITES = """
import sys
from geomail.sinks.target import StandardError
StandardError().write([("info", (sys.argv[1] * int(size)).encode() + b"\\n") for size in sys.argv[2:]])
"""


def collect_lines(writers: str, sizes: list[str], blocking: bool = True) -> list[bytes]:
    """Return the lines from a pipe to which processes write, each a line of its own letter per size."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as end:
        os.set_blocking(writing, blocking)
        started = [
            subprocess.Popen([sys.executable, "-c", WRITES, letter, *sizes], stderr=end) for letter in writers
        ]
    with os.fdopen(reading, "rb") as reader:
        received = reader.read().splitlines()
    assert [writer.wait() for writer in started] == [0] * len(writers)
    return received


def test_lines_of_two_processes_are_not_mixed_in_a_pipe() -> None:
    sizes = ["10", "3000", "4000", "1", "2000"] * 40
    received = collect_lines("ab", sizes)
    for letter in (b"a", b"b"):
        assert [str(len(line)) for line in received if line == letter * len(line)] == sizes


def test_a_non_blocking_standard_error_gets_every_line() -> None:
    assert collect_lines("a", ["4000"] * 100, blocking=False) == [b"a" * 4000] * 100


class Daemon:
    """A syslog daemon: its socket, and the messages that arrive."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(str(path))

    def read(self) -> str:
        return self._sock.recv(65536).decode()

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Yield a short path: the name of a socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="geomail-") as folder:
        yield Path(folder, "log")


MESSAGE = r"<(\d+)>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d "


@pytest.mark.parametrize(
    ("facility", "level", "priority"),
    [("mail", "info", 22), ("mail", "error", 19), ("local7", "debug", 191), ("daemon", "warning", 28)],
)
def test_syslog_messages_have_the_form_of_libc(
    socket_path: Path, facility: str, level: str, priority: int
) -> None:
    daemon = Daemon(socket_path)
    target = open_target(f"syslog:{socket_path}", facility)
    target.write([(level, b"a line\n")])
    match = re.fullmatch(MESSAGE + rf"geomail\[{os.getpid()}\]: a line", daemon.read())
    assert match
    assert int(match[1]) == priority
    target.close()
    daemon.close()


def test_a_syslog_daemon_that_was_restarted_is_found_again(socket_path: Path) -> None:
    daemon = Daemon(socket_path)
    target = Syslog(str(socket_path), 2, "dovecot")
    daemon.close()
    with pytest.raises(LinesLost) as lost:
        target.write(make_lines(*"abc"))
    assert lost.value.count == 3
    daemon = Daemon(socket_path)
    target.write(make_lines(*"de"))
    assert [daemon.read()[-10:] for _ in "de"] == ["dovecot: d", "dovecot: e"]
    target.close()
    daemon.close()


def test_a_syslog_daemon_that_does_not_read_does_not_block(socket_path: Path) -> None:
    daemon = Daemon(socket_path)
    target = Syslog(str(socket_path), 2, "")
    for _ in range(100_000):
        if not target.is_ready():
            break
        target.write(make_lines("x"))
    else:
        pytest.fail("it is never full")
    target.close()
    daemon.close()


def test_opening_syslog_fails_without_a_daemon(socket_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_target(f"syslog:{socket_path}")
