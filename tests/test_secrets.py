"""Secrets that a peer sends back are masked in every spelling; all other text is shown."""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geomail.secrets import as_text, conceal, fold, make_mask

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
    mask = make_mask([SECRET])

    assert mask(b"535 no, " + spellings(SECRET)[name] + b", no") == b"535 no, " + MASK + b", no"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"\0alice@example.org\0", b"a long way before it"])
@pytest.mark.parametrize("after", [b"", b"x", b"xy", b" and after it"])
def test_base64_is_hidden_as_a_whole(encode: Callable[[bytes], bytes], before: bytes, after: bytes) -> None:
    line = b"535 " + encode(before + SECRET + after) + b" no"

    assert make_mask([SECRET])(line) == b"535 " + MASK + b" no"


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
    assert make_mask([secret])(line) == shown


def test_several_secrets() -> None:
    mask = make_mask([b"first one", b"first", b""])

    assert mask(b"first, first one") == b"********, ********"


def test_without_a_secret_nothing_is_hidden() -> None:
    assert make_mask([b"", b""])(b"250 ok") == b"250 ok"


def test_what_is_no_text_is_found_too() -> None:
    assert make_mask([b"\xff\xfe\x00\x80"])(b"x \xff\xfe\x00\x80 %FF%FE%00%80") == b"x ******** ********"


@given(st.binary(max_size=200), st.text(min_size=4, max_size=20))
def test_it_is_found_anywhere_in_a_text(around: bytes, secret: str) -> None:
    raw = secret.encode()
    shown = make_mask([raw])(around + raw + around)

    assert raw not in shown or raw in around + MASK + around


@pytest.mark.parametrize("piece", [b"a", b"YWFh", b"\\", b"&#000", b"%61", b"\\0000"])
def test_a_hostile_line_takes_no_time(piece: bytes) -> None:
    mask = make_mask([b"aaaa", b"a" * 200])
    began = time.process_time()
    mask(piece * 20000)

    assert time.process_time() - began < 2


def test_text_cannot_steer_a_terminal() -> None:
    assert as_text("a\x1b[2J\u202e\xad\r\n".encode() + b"\xff") == r"a\x1b[2J\u202e\xad\r\n\xff"


@pytest.mark.parametrize("secret", [b"correct-horse", b"abc", "päss-wörd".encode(), b"a+b/c==d"])
def test_concealed_finds_the_same_secrets(secret: bytes) -> None:
    encoded = [base64.b64encode(b"\0u\0" + secret), base64.b64encode(secret)]
    for said in (secret, secret.upper(), secret.hex().encode(), *encoded):
        text = f"NO {said.decode()} is wrong"
        assert conceal(text, secret) == make_mask((secret,))(text.encode()).decode()
        assert conceal(text, secret) != text


def test_concealed_leaves_other_words_alone() -> None:
    text = "a1 NO [AUTHENTICATIONFAILED] Authentication failed."
    assert conceal(text, b"correct-horse") is text
    assert conceal(text, b"") is text


def test_a_long_secret_is_hidden_alone() -> None:
    assert conceal("NO " + "x" * 200, b"x" * 200) == "NO ********"
    assert conceal("NO such user", b"x" * 200) == "NO such user"


# -- mixtures -------------------------------------------------------------------------------------

BY_BYTE = ("%%%02x", "%%%02X", "+%02X", "=%02X", "\\x%02x", "\\%03o")
BY_CODE = ("\\u%04x", "&#%d;", "&#x%x;", "&#0%d;", "&#X0%X;")


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a secret, and a spelling of it that may escape each character in a different way."""
    secret = draw(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=4, max_size=30))
    return secret, "".join(draw(st.sampled_from(list(ways_to_spell(one)))) for one in secret)


def ways_to_spell(character: str) -> Iterator[str]:
    if character not in "%+=\\&":
        yield character
    if character in "%+=\\&\"'":
        yield "\\" + character
    for way in BY_BYTE:
        yield "".join(way % byte for byte in character.encode())
    for way in BY_CODE:
        if not (way.startswith("\\u") and ord(character) > 0xFFFF):
            yield way % ord(character)
    yield json.dumps(character)[1:-1]


@given(mixtures())
def test_a_mixture_of_spellings_is_found(spelt: tuple[str, str]) -> None:
    secret, said = spelt

    assert conceal(f"535 <{said}> no", secret.encode()) == "535 <********> no"


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("a&#65;ä%41 z", "a&#65;&#228;%41 z"),
        ("a&#65;ä%41 z", "a&#65;ä%41%20z"),
        ("=41abcä", "41=41abc&#228;"),
        ("41abcä", "=41abc&#228;"),
        ("a+b\\nc", "a+b\\\\nc"),
        ("tab\tin it", "tab\\tin%20it"),
        ("never in it", "\\n\\ever \\in \\it"),
        ("straße µ", "STRAßE \u039c"),
        ("ΟΔΟΣ ΟΔΟΣ", "οδος οδοσ"),
        ("İi \u017fs", "iI Ss"),
        ("Ã¤Ã¤", "\\xc3\\xa4\\xc3\\xa4"),
        ("deadbeef", "6465616462656566"),
        ("deadbeef", "x6465616462656566"),
    ],
)
def test_what_looks_like_an_escape_may_be_meant_as_it_is(secret: str, said: str) -> None:
    shown = conceal(f"<{said}>", secret.encode())

    assert shown.endswith("********>")
    assert len(shown) <= len("<41=********>")


def test_all_letters_with_several_lower_cases_are_known() -> None:
    for code in (code for code in range(0x110000) if not 0xD800 <= code < 0xE000):
        character = chr(code)
        assert len(fold(character)) == 1
        if len(character.upper()) == 1 and len(character.upper().lower()) == 1:
            assert fold(character.upper()) == fold(character), hex(code)


# -- what it costs ----------------------------------------------------------------------------------

COSTLY = (
    *("a", "%", "\\", "&#", "&#000", "%61", "+41", "=41", "\\x61", "\\141", "\\1", "\\n", "\\a", "\\u0061"),
    *("&#97;", "0123456789abcdef", "61", "ä", "€", "%C3%A4", "YWFh", "\u017f"),
)


@pytest.mark.parametrize("piece", COSTLY)
def test_no_text_and_no_secret_make_a_refusal_expensive(piece: str) -> None:
    """Allow far more than the 0.5 ms that a text costs, and far less than a regular expression's 30 ms."""
    text = (piece * 480).encode()[:470].decode("utf-8", "ignore") + "ab%41\\n&#1;"
    secrets = [piece.encode() * 4, (piece * 480).encode()[:460], (piece * 4096).encode()[:4096]]
    secrets += [bytes(range(1, 256)) * 16, b"correct-horse", b"a" * 480]

    for secret in secrets:
        cost = min(thread_seconds(conceal, text, secret) for _ in range(25))
        assert cost < 0.005, secret[:20]


def thread_seconds(call: Callable[[str, bytes], object], *arguments: Any) -> float:
    began = time.thread_time()
    call(*arguments)
    return time.thread_time() - began


def test_no_pattern_is_made_of_a_secret() -> None:
    known = len(vars(re)["_cache"])
    for number in range(20):
        secret = f"correct-horse-{number}".encode()
        assert conceal(f"NO %41 {quote(secret)}", secret) == "NO %41 ********"
        assert make_mask([secret, b"other"])(b"NO %41 " + secret) == b"NO %41 ********"

    assert len(vars(re)["_cache"]) == known
