"""What the dialogues of the three protocols have in common."""

import pytest

from geomail.errors import TooManyErrors
from tests.protocols.support import talk


@pytest.mark.parametrize(
    ("protocol", "line", "told"),
    [
        ("smtp", b"DATA", "DATA (4 bytes)"),
        ("smtp", b"xclient NAME=a ADDR=b", "XCLIENT (21 bytes)"),
        ("smtp", b"NOOP" + b" secret" * 12, "NOOP (88 bytes)"),
        ("smtp", b"secret", "unknown (6 bytes)"),
        ("smtp", b"c2VjcmV0 secret", "unknown (15 bytes)"),
        ("smtp", b"", ""),
        ("imap", b"a SELECT secret", "SELECT (15 bytes)"),
        ("imap", b"a LOGIN user secret secret secret", "LOGIN (33 bytes)"),
        ("imap", b"a secret", "unknown (8 bytes)"),
        ("imap", b"secret", "unknown (6 bytes)"),
        ("pop3", b"retr 1", "RETR (6 bytes)"),
        ("pop3", b"APOP secret secret secret secret", "APOP (32 bytes)"),
        ("pop3", b"secret", "unknown (6 bytes)"),
    ],
)
def test_of_a_refused_line_the_log_gets_its_verb_and_length(protocol: str, line: bytes, told: str) -> None:
    ended = talk(protocol, line, max_errors=1).ended

    assert isinstance(ended, TooManyErrors)
    assert str(ended) == f"invalid commands: 1{'; the last: ' if told else ''}{told}"
