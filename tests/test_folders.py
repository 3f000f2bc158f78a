"""Folders on the way to our file, which other users may replace by links."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from geomail.folders import hold_folder_of
from geomail.net.unix_sockets import bind_unix
from geomail.sinks.target import open_target

NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to lose")


def held(path: Path) -> Path:
    with hold_folder_of(str(path)) as folder:
        return Path(f"/proc/self/fd/{folder}").readlink()


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder that ``nobody`` owns, with a link to root's folder, ``ours``."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "ours").mkdir()
    (folder / "link").symlink_to(tmp_path / "ours")
    os.chown(folder, NOBODY, NOBODY)
    return folder


@pytest.mark.parametrize("target", ["real", "../up/real", "{}/real"])
def test_our_own_links_are_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "up").mkdir()
    for name in ("real", "up/real"):
        (tmp_path / name).mkdir()
    (tmp_path / "up" / "link").symlink_to(target.format(tmp_path))

    found = held(tmp_path / "up" / "link" / "file")
    assert found == (tmp_path / "up" / "link").resolve()


def test_a_relative_path_and_a_circle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert held(Path("file")) == tmp_path
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        held(Path("a/file"))


@as_root
@pytest.mark.parametrize(
    "make",
    [lambda path: open_target(path, owner=NOBODY), lambda path: bind_unix(path, 1)],
    ids=["log", "socket"],
)
def test_another_users_link_is_not_followed(theirs: Path, make: Callable[[str], object]) -> None:
    with pytest.raises(PermissionError, match="is a link"):
        make(str(theirs / "link" / "file"))

    assert not any((theirs.parent / "ours").iterdir())
