"""Unix sockets in folders where another user may replace files: root changes only its own files."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from geomail.net.unix_sockets import UnixListener, bind_unix

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be lured")
NOBODY = 65534


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder that the attacker owns."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, -1)
    return folder


@pytest.fixture(params=["file", "socket"])
def precious(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file that root owns, which must not change."""
    file = tmp_path / "precious"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(file)) if request.param == "socket" else file.write_text("root's")
        file.chmod(0o600)
        held = os.open(file, os.O_PATH)
        yield file
    status = os.stat(held)  # noqa: PTH116  # whatever its name is now
    os.close(held)
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), os.getegid(), 0o600)


def put_in_place(path: Path, how: str, precious: Path) -> None:
    """The acts of a user that can write to the folder of a socket."""
    if how == "replace":
        precious.replace(path)
    else:
        getattr(path, how)(precious)


def facts(path: Path) -> tuple[int, int]:
    """Return mode and group of a file, or of a link itself."""
    status = path.lstat()
    return stat.S_IMODE(status.st_mode), status.st_gid


@as_root
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_file_is_made_with_its_mode_and_group(theirs: Path, mode: int) -> None:
    path = theirs / "socket"
    with closing(bind_unix(str(path), 5, mode, NOBODY)):
        assert facts(path) == (mode, NOBODY)


def test_a_file_never_has_a_wider_mode_than_its_own(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a later change of its mode, another user could connect."""
    path, seen, really = theirs / "socket", [], os.fstat

    def after_a_look(descriptor: int) -> os.stat_result:
        if path.exists():
            seen.append(facts(path)[0])
        return really(descriptor)

    monkeypatch.setattr(os, "fstat", after_a_look)
    with closing(bind_unix(str(path), 5, 0o600)):
        assert set(seen) == {0o600}


@pytest.mark.parametrize("how", ["symlink_to", "hardlink_to", "replace"])
def test_a_file_that_replaces_it_is_not_changed(theirs: Path, precious: Path, how: str) -> None:
    path = theirs / "socket"
    with closing(bind_unix(str(path), 5, 0o660)) as sock:
        path.unlink()
        put_in_place(path, how, precious)
        assert not sock.is_in_place()
        with pytest.raises(OSError, match=r"another file in its place|Too many levels"):
            sock.admit(0o666, NOBODY)
        sock.remove()
        assert path.exists(), "it is not ours"


@as_root
@pytest.mark.parametrize("how", ["symlink_to", "hardlink_to"])
def test_a_file_that_replaces_it_during_binding_is_not_changed(
    theirs: Path, precious: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bind = theirs / "socket", UnixListener.bind

    def and_replaced(sock: UnixListener, address: str) -> None:
        bind(sock, address)
        path.unlink()
        put_in_place(path, how, precious)

    monkeypatch.setattr(UnixListener, "bind", and_replaced)
    with pytest.raises(OSError, match=r"another file in its place|Too many levels"):
        bind_unix(str(path), 5, 0o666, NOBODY)


@as_root
def test_another_users_socket_in_its_place_is_not_ours(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, bind = theirs / "socket", UnixListener.bind

    def and_replaced(sock: UnixListener, address: str) -> None:
        bind(sock, address)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
        os.chown(path, NOBODY, NOBODY)

    monkeypatch.setattr(UnixListener, "bind", and_replaced)
    with pytest.raises(OSError, match="another file in its place"):
        bind_unix(str(path), 5, 0o666, 0)
    assert facts(path)[1] == NOBODY


@as_root
def test_mode_and_group_are_changed_at_a_reload(theirs: Path) -> None:
    path = theirs / "socket"
    with closing(bind_unix(str(path), 5, 0o660)) as sock:
        sock.admit(0o600, NOBODY)
        assert facts(path) == (0o600, NOBODY)
        sock.remove()
        assert not path.exists()


def test_a_file_of_the_next_server_is_not_removed(theirs: Path) -> None:
    path = theirs / "socket"
    with closing(bind_unix(str(path), 5)) as first:
        path.unlink()
        with closing(bind_unix(str(path), 5)) as second:
            first.remove()
            assert second.is_in_place()


def test_a_folder_that_is_gone(theirs: Path) -> None:
    with closing(bind_unix(str(theirs / "socket"), 5)) as sock:
        (theirs / "socket").unlink()
        theirs.rmdir()
        sock.remove()


def test_a_link_to_an_abandoned_socket_is_not_followed(theirs: Path, tmp_path: Path) -> None:
    old, path = tmp_path / "old", theirs / "socket"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(old))
    path.symlink_to(old)
    with pytest.raises(OSError, match="Address already in use"):
        bind_unix(str(path), 5)
    assert old.is_socket()
