"""Golden transcripts: both nginx and geomail follow them."""

import socket

import pytest

from tests.servers.certificates import Certificates
from tests.servers.nginx import version as nginx_version
from tests.servers.support import LOOPBACK
from tests.together import together
from tests.twin.conftest import Proxies, Recorders
from tests.twin.proxies import NAMES, Name, Way
from tests.twin.recorders import PATIENCE
from tests.twin.transcripts import Transcript, play
from tests.twin.ways import GOLDEN

ROWS = [
    pytest.param(transcript, id=f"{file.removesuffix('.txt')}: {transcript.title}")
    for file, transcript in GOLDEN
]


@pytest.mark.parametrize("transcript", ROWS)
def test_both_follow_the_transcript(
    transcript: Transcript, proxies: Proxies, recorders: Recorders, certificates: Certificates
) -> None:
    def goes(name: Name) -> None:
        received, expected = play(transcript, proxies(name), *recorders[name], certificates)
        assert received == expected

    is_nginx_asked = not transcript.alone and nginx_version() >= transcript.since
    together(goes, [name for name in NAMES if name == "geomail" or is_nginx_asked])
    if not transcript.alone and not is_nginx_asked:
        pytest.skip(f"nginx does this from {'.'.join(map(str, transcript.since))} on; geomail does it")


@pytest.mark.parametrize(("name", "version"), [("nginx", "1.0"), ("geomail", "1.1")])
def test_how_the_auth_service_is_asked(
    name: Name, version: str, proxies: Proxies, recorders: Recorders
) -> None:
    """Show that geomail keeps the connection if the service does; transcripts have HTTP/1.x for both."""
    auth, _ = recorders[name]
    auth.tell([["Auth-Status: no"]])
    with socket.create_connection((LOOPBACK, proxies(name).ports[Way("imap")]), PATIENCE) as sock:
        sock.sendall(b"a LOGIN u p\r\n")
        while sock.recv(512):
            pass

    assert auth.settled()[0] == f"GET /auth HTTP/{version}"
