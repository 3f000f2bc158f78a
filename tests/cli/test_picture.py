"""``make picture``: it shows what ``tail --top`` shows, and nothing of the machine that makes it."""

import html
import re
import socket
from pathlib import Path

import pytest

from tests.cli import picture

COMMITTED = Path(__file__).parents[1] / "benchmarks" / "figures" / "top.svg"


def words(svg: str) -> str:
    return html.unescape(" ".join(re.findall(r">([^<]*)</text>", svg))).replace("\xa0", " ")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    return picture.draw(picture.capture(tmp_path_factory.mktemp("picture")))


def test_it_shows_every_session_with_its_traffic(made: str) -> None:
    shown = words(made)

    assert "9 sessions" in shown
    assert all(address in shown for _, _, address in picture.CLIENTS)
    assert re.search(r"erin@example\.org.*\(north\).*[1-9]\S*/s", shown)


@pytest.mark.parametrize("source", ["made", "committed"])
def test_it_names_nothing_of_this_machine(source: str, made: str) -> None:
    svg = made if source == "made" else COMMITTED.read_text()

    assert set(re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", words(svg))) <= {
        "127.0.0.1",
        *(address for _, _, address in picture.CLIENTS),
    }
    assert "/home" not in svg
    assert "/tmp" not in svg
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", words(svg))
    assert re.findall(r"https?://\S+?(?=[\s\"'<])", svg) == [
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",
    ]
