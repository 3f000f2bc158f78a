"""nginx and geomail give the same answers to all commands before a login."""

import socket
from collections.abc import Sequence

import pytest

from tests.servers.support import LOOPBACK
from tests.together import together
from tests.twin.conftest import Proxies, Recorders
from tests.twin.pipelines import COMMANDS, WAYS, in_any_order, in_nginx_words, said
from tests.twin.proxies import NAMES, Proxy, Way, normal
from tests.twin.recorders import PATIENCE, AuthRecorder

ORDERS = 300
REFUSED = [["Auth-Status: no", "Auth-Error-Code: 554 5.7.1"]]


def outcome(proxy: Proxy, way: Way, data: bytes, auth: AuthRecorder) -> tuple[list[str], list[str]]:
    """Return all answers until the end, and the questions to the auth service."""
    auth.tell(REFUSED)
    received = b""
    with socket.create_connection((LOOPBACK, proxy.ports[way]), PATIENCE) as sock:
        sock.sendall(data)
        try:
            while piece := sock.recv(65536):
                received += piece
        except ConnectionResetError:
            received += b"<reset>"
    asked = [line for line in auth.settled() if not line.startswith("GET ")]
    lines = in_nginx_words(received.decode("latin-1").split("\r\n"))
    return [normal(line, {}) for line in lines], [normal(line, {}) for line in asked]


def differences(
    scripts: Sequence[tuple[str, ...]], way: Way, proxies: Proxies, recorders: Recorders
) -> list[object]:
    found: list[object] = []
    for script in scripts:
        data = said(way.protocol, script)
        outcomes = together(lambda name: outcome(proxies(name), way, data, recorders[name][0]), NAMES)  # noqa: B023
        if outcomes[0] != outcomes[1]:
            found.append((script, dict(zip(NAMES, outcomes, strict=True))))
    return found


PLACES = [pytest.param(way, id=f"{way.protocol} {way.directives}") for ways in WAYS.values() for way in ways]


@pytest.mark.parametrize("way", PLACES)
def test_commands_one_by_one(way: Way, proxies: Proxies, recorders: Recorders) -> None:
    scripts = [(command,) for command in COMMANDS[way.protocol]]

    assert differences(scripts, way, proxies, recorders) == []


@pytest.mark.parametrize("way", PLACES)
def test_commands_in_any_order(way: Way, proxies: Proxies, recorders: Recorders) -> None:
    scripts = list(in_any_order(way.protocol, ORDERS, seed=1))

    assert differences(scripts, way, proxies, recorders) == []
