"""Golden transcripts: nginx does what they say, and so does geomail."""

import pytest

from tests.servers.certificates import Certificates
from tests.servers.nginx import version
from tests.twin.conftest import Proxies
from tests.twin.proxies import NAMES, Name
from tests.twin.recorders import AuthRecorder, BackendRecorder
from tests.twin.transcripts import Transcript, play
from tests.twin.ways import GOLDEN


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "transcript", [pytest.param(t, id=f"{file.removesuffix('.txt')}: {t.title}") for file, t in GOLDEN]
)
def test_it_goes_as_the_transcript_says(
    transcript: Transcript,
    name: Name,
    proxies: Proxies,
    recorders: tuple[AuthRecorder, BackendRecorder],
    certificates: Certificates,
) -> None:
    if name == "nginx" and transcript.alone:
        pytest.skip(transcript.why)
    if name == "nginx" and version() < transcript.since:
        pytest.skip(f"nginx does this from {'.'.join(map(str, transcript.since))} on")
    heard, expected = play(transcript, proxies(name), *recorders, certificates)

    assert heard == expected
