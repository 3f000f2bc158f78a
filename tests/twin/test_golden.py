"""Golden transcripts: nginx does what they say, and so does geomail."""

import socket

import pytest

from tests.servers.certificates import Certificates
from tests.servers.nginx import version as nginx_version
from tests.servers.support import LOOPBACK
from tests.twin.conftest import Proxies
from tests.twin.proxies import NAMES, Name, Way
from tests.twin.recorders import PATIENCE, AuthRecorder, BackendRecorder
from tests.twin.transcripts import Transcript, play
from tests.twin.ways import GOLDEN

ROWS = [
    pytest.param(transcript, name, id=f"{file.removesuffix('.txt')}: {transcript.title}-{name}")
    for file, transcript in GOLDEN
    for name in NAMES
    if name == "geomail" or not transcript.alone
]


@pytest.mark.parametrize(("transcript", "name"), ROWS)
def test_it_goes_as_the_transcript_says(
    transcript: Transcript,
    name: Name,
    proxies: Proxies,
    recorders: tuple[AuthRecorder, BackendRecorder],
    certificates: Certificates,
) -> None:
    if name == "nginx" and nginx_version() < transcript.since:
        pytest.skip(f"nginx does this from {'.'.join(map(str, transcript.since))} on")
    heard, expected = play(transcript, proxies(name), *recorders, certificates)

    assert heard == expected


@pytest.mark.parametrize(("name", "version"), [("nginx", "1.0"), ("geomail", "1.1")])
def test_how_the_auth_service_is_asked(
    name: Name, version: str, proxies: Proxies, recorders: tuple[AuthRecorder, BackendRecorder]
) -> None:
    """geomail keeps the connection, if the service does; transcripts say HTTP/1.x for both."""
    auth, _ = recorders
    auth.tell([["Auth-Status: no"]])
    with socket.create_connection((LOOPBACK, proxies(name).ports[Way("imap")]), PATIENCE) as sock:
        sock.sendall(b"a LOGIN u p\r\n")
        while sock.recv(512):
            pass

    assert auth.settled()[0] == f"GET /auth HTTP/{version}"
