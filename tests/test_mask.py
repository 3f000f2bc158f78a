"""Secrets that a peer says back are not shown, in no spelling; everything else is."""

import base64
import json
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geomail.mask import as_text, concealed, masking

SECRET = 'q"uo\\te {3+} pä€'.encode()
MASK = b"********"


def spellings(secret: bytes) -> dict[str, bytes]:
    text = secret.decode()
    return {
        "plain": secret,
        "quoted": secret.replace(b"\\", b"\\\\").replace(b'"', b'\\"'),
        "upper case": text.upper().encode(),
        "latin-1": text.encode("latin-1", "replace").replace(b"?", "€".encode()),
        "percent": quote(text, "").encode(),
        "percent, lower case": quote(text, "").lower().encode(),
        "nginx": secret.replace(b" ", b"%20"),
        "xtext": b"".join(b"+%02X" % byte for byte in secret),
        "quoted-printable": b"".join(b"=%02X" % byte for byte in secret),
        "hexadecimal": secret.hex().encode(),
        "octal": b"".join(rb"\%03o" % byte for byte in secret),
        "C": b"".join(rb"\x%02x" % byte for byte in secret),
        "JSON": json.dumps(text)[1:-1].encode(),
        "Python": repr(secret)[2:-1].encode(),
        "HTML": text.encode("ascii", "xmlcharrefreplace"),
    }


@pytest.mark.parametrize("name", spellings(SECRET))
def test_every_spelling_is_found(name: str) -> None:
    mask = masking([SECRET])

    assert mask(b"535 no, " + spellings(SECRET)[name] + b", no") == b"535 no, " + MASK + b", no"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"\0alice@example.org\0", b"a long way before it"])
@pytest.mark.parametrize("after", [b"", b"x", b"xy", b" and after it"])
def test_base64_is_hidden_as_a_whole(encode: Callable[[bytes], bytes], before: bytes, after: bytes) -> None:
    line = b"535 " + encode(before + SECRET + after) + b" no"

    assert masking([SECRET])(line) == b"535 " + MASK + b" no"


@pytest.mark.parametrize(
    ("secret", "line", "shown"),
    [
        (b"p", b"535 p no", b"535 ******** no"),
        (b"p", b"Auth-Port: p", b"Auth-Port: ********"),
        (b"p", b"x=p;", b"x=********;"),
        (b"pw", b"535 PW", b"535 ********"),
        (b"pw", b"535 cHc=", b"535 ********"),
        (b"pw", base64.b64encode(b"\0u\0pw"), MASK),
        (b"pw", b"250 pwned", b"250 pwned"),
        (b"250", b"250-AUTH 1250", b"********-AUTH 1250"),
    ],
)
def test_a_short_secret_is_a_word_of_its_own(secret: bytes, line: bytes, shown: bytes) -> None:
    assert masking([secret])(line) == shown


def test_several_secrets() -> None:
    mask = masking([b"first one", b"first", b""])

    assert mask(b"first, first one") == b"********, ********"


def test_without_a_secret_nothing_is_hidden() -> None:
    assert masking([b"", b""])(b"250 ok") == b"250 ok"


def test_what_is_no_text_is_found_too() -> None:
    assert masking([b"\xff\xfe\x00\x80"])(b"x \xff\xfe\x00\x80 %FF%FE%00%80") == b"x ******** ********"


@given(st.binary(max_size=200), st.text(min_size=4, max_size=20))
def test_it_is_found_wherever_it_stands(around: bytes, secret: str) -> None:
    raw = secret.encode()
    shown = masking([raw])(around + raw + around)

    assert raw not in shown or raw in around + MASK + around


@pytest.mark.parametrize("piece", [b"a", b"YWFh", b"\\", b"&#000", b"%61", b"\\0000"])
def test_a_hostile_line_takes_no_time(piece: bytes) -> None:
    mask = masking([b"aaaa", b"a" * 200])
    began = time.process_time()
    mask(piece * 20000)

    assert time.process_time() - began < 2


def test_text_cannot_steer_a_terminal() -> None:
    assert as_text("a\x1b[2J\u202e\xad\r\n".encode() + b"\xff") == r"a\x1b[2J\u202e\xad\r\n\xff"


@pytest.mark.parametrize("secret", [b"correct-horse", b"abc", "päss-wörd".encode(), b"a+b/c==d"])
def test_concealed_finds_what_a_mask_finds(secret: bytes) -> None:
    encoded = [base64.b64encode(b"\0u\0" + secret), base64.b64encode(secret)]
    for said in (secret, secret.upper(), secret.hex().encode(), *encoded):
        text = f"NO {said.decode()} is wrong"
        assert concealed(text, secret) == masking((secret,))(text.encode()).decode()
        assert concealed(text, secret) != text


def test_concealed_leaves_other_words_alone() -> None:
    text = "a1 NO [AUTHENTICATIONFAILED] Authentication failed."
    assert concealed(text, b"correct-horse") is text
    assert concealed(text, b"") is text


def test_concealed_hides_all_where_a_secret_is_dear_to_look_for() -> None:
    assert concealed("NO " + "x" * 200, b"x" * 200) == "********"
    assert concealed("NO such user", b"x" * 200) == "NO such user"
