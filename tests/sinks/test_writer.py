"""The log's thread: no session waits for it, and it counts and reports the lines that it could not write."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from geomail.sinks import writer
from geomail.sinks.target import File, Line
from geomail.sinks.writer import Background, Direct, LineMaker

Opened = Callable[[Path], File]


def make_line(level: str, text: str) -> Line:
    return level, f"[{level}] {text}\n".encode()


def until(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        gevent.sleep(0.01)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Return a named pipe without a reader."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Yield a function that opens a file as a target; close the targets at the end."""
    targets: list[File] = []

    def open_file(path: Path) -> File:
        targets.append(File(str(path), None))
        return targets[-1]

    yield open_file
    for target in targets:
        target.close()


def test_lines_keep_their_order(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "log"
    background = Background(opened(path), make_line)
    for number in range(1000):
        background.put("info", b"%d\n" % number)
        if number % 100 == 0:
            gevent.sleep(0.005)
    background.close()
    assert path.read_bytes() == b"".join(b"%d\n" % number for number in range(1000))
    assert background.lost_lines == 0


def test_a_single_line_is_written_soon(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "log"
    background = Background(opened(path), make_line)
    for number in range(3):
        gevent.sleep(0.1)
        background.put("info", b"x\n")
        until(lambda expected=number + 1: path.read_bytes() == b"x\n" * expected, seconds=0.5)  # type: ignore[misc]
    background.close()


def read_slowly(path: Path, amount: int) -> bytes:
    """Return ``amount`` bytes of a pipe, or fewer if no more come for a long time."""
    with open(path, "rb", opener=lambda name, _: os.open(name, os.O_RDONLY | os.O_NONBLOCK)) as reader:
        received, deadline = b"", time.monotonic() + 20
        while len(received) < amount and time.monotonic() < deadline:
            received += reader.read(amount) or b""
            gevent.sleep(0.005)
    return received


def test_a_pipe_without_a_reader_delays_no_session_and_the_loss_is_reported(
    pipe: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_HELD", 1_000_000)
    background = Background(opened(pipe), make_line)
    line, count, slowest = b"x" * 99 + b"\n", 20_000, 0.0
    for number in range(count):
        before = time.monotonic()
        background.put("info", line)
        slowest = max(slowest, time.monotonic() - before)
        if number % 1000 == 0:
            gevent.sleep(0.01)
    assert slowest < 1
    held = count - background.lost_lines
    assert 4000 < held < 8000  # what the pipe and MOST_HELD hold

    received = read_slowly(pipe, held * len(line) + 1)
    until(lambda: background._losses_reported == background.lost_lines)
    background.put("info", b"after\n")
    received += read_slowly(pipe, 6)
    background.close()
    assert received.count(line) == held
    loss = b"[error] log: %d lines were lost: the target did not take them" % background.lost_lines
    assert received.replace(line, b"").splitlines() == [loss, b"after"]


def test_the_end_does_not_wait_for_a_pipe_without_a_reader(
    pipe: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_PATIENCE", 0.2)
    background = Background(opened(pipe), make_line)
    for _ in range(2000):
        background.put("info", b"x" * 99 + b"\n")
    before = time.monotonic()
    background.close()
    assert 0.15 < time.monotonic() - before < 1
    read_slowly(pipe, 200_000)  # the thread must not outlive the test


def test_failed_lines_are_counted_once_and_reported_when_the_target_works_again(
    tmp_path: Path, opened: Opened, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    background = Background(opened(path), make_line)
    for number in range(3):
        for _ in range(5):
            background.put("info", b"lost\n")
        until(lambda expected=5 * (number + 1): background.lost_lines == expected)  # type: ignore[misc]
    path.unlink()
    background.reopen()
    background.put("info", b"after\n")
    background.close()
    assert path.read_bytes() == b"[error] log: 15 lines were lost: the target did not take them\nafter\n"
    assert capfd.readouterr().err == f"geomail: cannot write the log to {path}: No space left on device\n"


@pytest.mark.parametrize("make", [Direct, Background])
def test_a_failure_to_open_the_file_again_is_reported_in_the_old_one(
    tmp_path: Path, make: Callable[[File, LineMaker], Direct | Background]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    log = make(File(str(folder / "log"), None), make_line)
    folder.rename(tmp_path / "moved")
    log.reopen()
    log.put("info", b"after\n")
    until(lambda: b"after" in (tmp_path / "moved" / "log").read_bytes())
    log.close()
    assert (tmp_path / "moved" / "log").read_bytes() == (
        b"[error] log: cannot open the target again (No such file or directory): the old one stays in use\n"
        b"after\n"
    )


def test_the_direct_writer_does_not_wait_either(pipe: Path, opened: Opened) -> None:
    direct = Direct(opened(pipe), make_line)
    line = b"x" * 99 + b"\n"
    for _ in range(2000):
        direct.put("info", line)
    kept = 2000 - direct.lost_lines
    assert 10 < kept < 2000
    assert read_slowly(pipe, kept * len(line)) == line * kept
    direct.put("info", b"after\n")
    last = b"[error] log: %d lines were lost: the target did not take them\nafter\n" % (2000 - kept)
    assert read_slowly(pipe, len(last)) == last
