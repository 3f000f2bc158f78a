"""All ways in that the tests of this folder ask for: both proxies are started with these, once."""

from tests.twin.pipelines import WAYS
from tests.twin.proxies import Way
from tests.twin.transcripts import CORPUS, transcripts

FILES = tuple(sorted(path.name for path in CORPUS.glob("*.txt")))
GOLDEN = [(file, transcript) for file in FILES for transcript in transcripts(file)]
ALL_WAYS: set[Way] = {transcript.way for _, transcript in GOLDEN} | {
    way for ways in WAYS.values() for way in ways
}
