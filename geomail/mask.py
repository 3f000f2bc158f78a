"""Secrets out of what a peer says: it may say them back, in whatever spelling.

Where geomail itself says a secret, the line is masked as it is made (see
``conversation``). This is for the answers, wherever they are shown.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterable, Iterator

from geomail.config.units import printable
from geomail.conversation import SECRET, Mask

#: Shorter secrets are looked for as words of their own: inside others they would be found by chance.
SHORTEST = 4
#: Longer ones are dear to look for.
LONGEST = 128
#: What the spellings that are not plain or base64 have in them.
_ESCAPING = re.compile(rb"[%\\&]|[+=][0-9A-Fa-f]{2}|[0-9A-Fa-f]{8}|[^\x00-\x7f]")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_")
_BASE64_WORD = re.compile(rb"[A-Za-z0-9+/_-]{2,}={0,2}")
#: How one byte may be escaped: URLs, xtext, quoted-printable, C and Python, HTML, hexadecimal.
_ESCAPES = ("%%%02x", r"\+%02x", "=%02x", r"\\x%02x", r"\\0*%o", "&#0*%d;", "&#x0*%x;", "%02x")
#: Those with a letter of their own behind a backslash.
_LETTERS = {0: b"0", 7: b"a", 8: b"b", 9: b"t", 10: b"n", 11: b"v", 12: b"f", 13: b"r", 27: b"e"}


def as_text(line: bytes) -> str:
    """A line from the network as text that cannot steer a terminal."""
    return printable(line.decode("utf-8", "backslashreplace"))


def masking(secrets: Iterable[bytes]) -> Mask:
    """A mask for the lines of a peer that knows these secrets.

    Found in any mixture of plain text, quoting and escapes, and in base64
    wherever they stand in what was encoded.
    """
    known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    if not known:
        return bytes
    spelt = re.compile(b"|".join(map(_spelling, known)), re.IGNORECASE)
    long = [secret for secret in known if len(secret) >= SHORTEST]
    short = [secret for secret in known if len(secret) < SHORTEST]
    cores = re.compile(b"|".join(core for secret in long for core in _base64_cores(secret)))

    def mask(line: bytes) -> bytes:
        if long:
            line = _without_runs(cores, line)
        if short:
            line = _BASE64_WORD.sub(lambda word: SECRET if _encodes(word[0], short) else word[0], line)
        return spelt.sub(SECRET, line)

    return mask


def concealed(text: str, secret: bytes) -> str:
    """What a peer said that knows the secret, without it; cheap where nothing looks like it."""
    line = text.encode("utf-8", "backslashreplace")
    if not secret or not _may_hold(line, secret):
        return text
    if len(secret) > LONGEST:
        return SECRET.decode()
    return masking((secret,))(line).decode("utf-8", "backslashreplace")


def _may_hold(line: bytes, secret: bytes) -> bool:
    if len(secret) < SHORTEST or _ESCAPING.search(line) or secret.lower() in line.lower():
        return True
    standard = line.translate(bytes.maketrans(b"-_", b"+/"))
    return any(core in standard for core in _cores(secret))


# -- plain text and escapes -----------------------------------------------------------------------


def _spelling(secret: bytes) -> bytes:
    """A pattern for the secret, each character in any of its spellings."""
    try:
        pattern = b"".join(map(_character, secret.decode()))
    except UnicodeDecodeError:
        pattern = b"".join(map(_byte, secret))
    return pattern if len(secret) >= SHORTEST else rb"(?<![^\W_])%b(?![^\W_])" % pattern


def _character(character: str) -> bytes:
    if character.isascii():
        return _byte(ord(character))
    cases = {one for one in (character, character.lower(), character.upper()) if len(one) == 1}
    return b"(?:%b)" % b"|".join(spelling for one in sorted(cases) for spelling in _beyond_ascii(one))


def _beyond_ascii(character: str) -> Iterator[bytes]:
    code = ord(character)
    yield b"".join(map(_byte, character.encode()))
    yield from (rb"\\u%04x" % code, rb"\\U%08x" % code, b"&#0*%d;" % code, b"&#x0*%x;" % code)
    if code < 0x100:
        yield _byte(code)


def _byte(code: int) -> bytes:
    escapes = [(escape % code).encode() for escape in (*_ESCAPES, r"\\u%04x")]
    if code in _LETTERS:
        escapes.append(rb"\\" + _LETTERS[code])
    return b"(?:%b)" % b"|".join((rb"\\?" + re.escape(bytes((code,))), *escapes))


# -- base64 ---------------------------------------------------------------------------------------


def _base64_cores(secret: bytes) -> Iterator[bytes]:
    """The letters that base64 makes of the secret alone, for the three places where it may begin."""
    for core in _cores(secret):
        yield re.escape(core).replace(rb"\+", rb"[+-]").replace(b"/", b"[/_]")


def _cores(secret: bytes) -> Iterator[bytes]:
    for offset in range(3):
        first, end = -(-offset * 8 // 6), (offset + len(secret)) * 8 // 6
        yield b64encode(bytes(offset) + secret)[first:end]


def _without_runs(cores: re.Pattern[bytes], line: bytes) -> bytes:
    """The line without the words in base64 that hold a core: their other letters would tell of the secret."""
    shown, position = b"", 0
    while found := cores.search(line, position):
        start, end = found.span()
        while start > position and line[start - 1] in _BASE64:
            start -= 1
        while end < len(line) and line[end] in _BASE64:
            end += 1
        shown, position = shown + line[position:start] + SECRET, end
    return shown + line[position:]


def _encodes(word: bytes, secrets: Iterable[bytes]) -> bool:
    """Whether a word is the base64 of a secret, alone or behind a NUL as in SASL PLAIN."""
    digits = word.rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_"))
    if len(digits) % 4 == 1:
        return False
    text = urlsafe_b64decode(digits + b"=" * (-len(digits) % 4))
    return any(text.rpartition(b"\0")[2] == secret for secret in secrets)
