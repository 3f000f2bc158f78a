"""All ways that the tests of this folder use: both proxies start once, with all of them."""

from tests.servers.support import LOOPBACK
from tests.twin.pipelines import WAYS
from tests.twin.proxies import Way
from tests.twin.transcripts import CORPUS, transcripts

FILES = tuple(sorted(path.name for path in CORPUS.glob("*.txt")))
GOLDEN = [(file, transcript) for file in FILES for transcript in transcripts(file)]
HASTY = Way("smtp", "timeout 1s;")
OFFERS_TLS = Way("smtp", "timeout 1s; starttls on;")
BUSY = Way("imap", "proxy_timeout 1s;")
#: The DNS server, which does not exist, gets more time than a login.
NAMELESS = Way("smtp", f"resolver {LOOPBACK}:1; resolver_timeout 2s; timeout 1s;", "proxy_protocol")
CHALLENGES = Way("imap", "imap_auth cram-md5;")
SILENT_AUTH = Way("imap", "auth_http_timeout 1s;")
ALL_WAYS: set[Way] = (
    {HASTY, OFFERS_TLS, BUSY, SILENT_AUTH, NAMELESS, CHALLENGES}
    | {transcript.way for _, transcript in GOLDEN}
    | {way for ways in WAYS.values() for way in ways}
)
