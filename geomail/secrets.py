"""Masks for the secrets in a peer's answers: a peer may repeat them in any spelling.

Lines in which geomail itself sends a secret are masked where they are made (see
``conversation``). This module masks the answers, wherever they are shown.

No secret becomes a regular expression: to compile one costs more than a whole
session, and the module ``re`` would keep it. Instead the text is decoded once in
each way, and the results are searched.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64decode
from binascii import unhexlify
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final, NamedTuple

from geomail.config.units import escape_unprintable
from geomail.conversation import SECRET, Mask

#: Shorter secrets are only found as whole words: inside other words they would be found by chance.
SHORTEST = 4
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_")
_BASE64_WORD = re.compile(rb"[A-Za-z0-9+/_-]{2,}={0,2}")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")

#: The start and end of a secret in a text.
Span = tuple[int, int]


def as_text(line: bytes) -> str:
    """Decode a line from the network, and escape all that could control a terminal."""
    return escape_unprintable(line.decode("utf-8", "backslashreplace"))


def make_mask(secrets: Iterable[bytes]) -> Mask:
    """Make a mask for the lines of a peer that knows these secrets.

    It finds them in any mixture of plain text, quoting and escapes, and
    anywhere in encoded base64. The time for a line depends on its length alone.
    Nothing is kept but the secrets.
    """
    known = tuple(_Secret(secret) for secret in set(secrets) if secret)
    if not known:
        return bytes

    def mask(line: bytes) -> bytes:
        return _cover(line, _find_spans(line, known))

    return mask


def conceal(text: str, secret: bytes) -> str:
    """Mask the secret in the words of a peer that knows it; return ``text`` itself if it is not there."""
    if not secret:
        return text
    line = text.encode("utf-8", "backslashreplace")
    spans = _find_spans(line, (_Secret(secret),))
    return _cover(line, spans).decode("utf-8", "backslashreplace") if spans else text


def _find_spans(line: bytes, secrets: Iterable[_Secret]) -> list[Span]:
    """Find all places of the secrets in a line, in no order; places may overlap."""
    spans: list[Span] = []
    readings: list[_Reading] = []
    for secret in secrets:
        if secret.characters > len(line):
            continue  # no spelling has fewer bytes than the secret has characters
        readings = readings or _read(line)
        found = (span for reading in readings for span in reading.spans(secret))
        if len(secret.raw) >= SHORTEST:
            spans += found
            spans += _find_base64(line, secret.raw)
        else:
            spans += (span for span in found if _is_word(line, *span))
            spans += _find_base64_words(line, secret.raw)
    return spans


def _is_word(line: bytes, start: int, end: int) -> bool:
    return not (line[max(0, start - 1) : start].isalnum() or line[end : end + 1].isalnum())


def _cover(line: bytes, spans: list[Span]) -> bytes:
    """Replace each stretch that the spans cover by one mask."""
    shown: list[bytes] = []
    position = 0
    for start, end in sorted(spans):
        if start >= position:
            shown += (line[position:start], SECRET)
        position = max(position, end)
    return b"".join((*shown, line[position:]))


# -- plain text and escapes -----------------------------------------------------------------------

_HEX = rb"[0-9A-Fa-f]"
_BACKSLASH: Final = ord("\\")
_C = (
    rb"\\[Xx]%b{2}|\\[Uu][Dd][89ABab]%b{2}\\[Uu][Dd][C-Fc-f]%b{2}|\\U%b{8}|\\[Uu]%b{4}|\\0*[0-7]{1,3}|\\."
).replace(b"%b", _HEX)
_HTML = rb"&#(?:[Xx]0*%b{1,6}|0*[0-9]{1,7});".replace(b"%b", _HEX)
_URL, _XTEXT, _QUOTED_PRINTABLE = (mark + _HEX + b"{2}" for mark in (b"%", rb"\+", b"="))
#: The bytes that C, Python and JSON write as a backslash and a letter.
_LETTERS = dict(zip(b"abtnvfreABTNVFRE", (7, 8, 9, 10, 11, 12, 13, 27) * 2, strict=True))


def _compile(*spellings: bytes) -> re.Pattern[bytes]:
    return re.compile(b"(%b)" % b"|".join(spellings), re.DOTALL)


class _Meanings(dict[bytes, bytes]):
    """The meanings of escapes; ``letters`` are those after a backslash that do not mean themselves.

    Escapes for single bytes are there from the beginning: to look one up is several times faster than a call.
    """

    def __init__(self, letters: dict[int, int]) -> None:
        super().__init__()
        for code in range(256):
            self[b"\\" + bytes((code,))] = bytes((letters.get(code, code),))
            for spelling in ("%%%02x", "+%02x", "=%02x", "%%%02X", "+%02X", "=%02X", "\\x%02x", "\\%03o"):
                self[(spelling % code).encode()] = bytes((code,))
        for digit in range(8):
            self[b"\\%d" % digit] = bytes((digit,))

    def __missing__(self, escape: bytes) -> bytes:
        kind, number = escape[:2].lower(), escape[2:].lower()
        if kind == b"&#":
            number = number[:-1]
            return _encode_code(int(number[1:], 16) if number[:1] == b"x" else int(number), escape)
        if kind == rb"\u":
            return _encode_code(_parse_code(number), escape)
        if kind == rb"\x":
            return bytes.fromhex(number.decode())
        return bytes((int(escape[1:], 8 if kind[0] == _BACKSLASH else 16) & 0xFF,))


def _parse_code(digits: bytes) -> int:
    """Return the number of the character behind ``\\u``, or of two surrogates."""
    if len(digits) < 10:
        return int(digits, 16)
    return ord(bytes.fromhex((digits[:4] + digits[6:]).decode()).decode("utf-16-be"))


def _encode_code(code: int, escape: bytes) -> bytes:
    return chr(code).encode("utf-8", "replace") if code <= 0x10FFFF else escape


class _Way(NamedTuple):
    """A way to decode a text; ``is_exact``: the start and end of an escape are certain."""

    escapes: re.Pattern[bytes]
    decode: Callable[[bytes], bytes]
    is_exact: bool = True

    def split(self, text: bytes) -> list[bytes]:
        """Split a text into pieces; every second piece is an escape."""
        return self.escapes.split(text)

    def decode_pieces(self, pieces: list[bytes]) -> list[bytes]:
        """Decode the pieces of a text, one by one."""
        decoded = pieces.copy()
        decoded[1::2] = map(self.decode, pieces[1::2])
        return decoded


_MEANING, _QUOTING = _Meanings(_LETTERS), _Meanings({})
_ALL = _compile(_URL, _XTEXT, _QUOTED_PRINTABLE, _C, _HTML)
_RUN = _compile(_HEX + b"{8,}")
#: All kinds of escapes together; each kind alone, as the others may be plain text; runs of digits.
_WAYS = (
    _Way(_ALL, _MEANING.__getitem__),
    _Way(_ALL, _QUOTING.__getitem__),
    *(_Way(_compile(kind), _MEANING.__getitem__) for kind in (_URL, _XTEXT, _QUOTED_PRINTABLE, _C, _HTML)),
    _Way(_RUN, lambda run: unhexlify(run[: len(run) & ~1]), is_exact=False),
    _Way(_RUN, lambda run: unhexlify(run[1 : len(run) - 1 | 1]), is_exact=False),
)
#: Every text that one of these ways changes matches this.
_ESCAPING = re.compile(rb"[%\\&]|[+=][0-9A-Fa-f]{2}|[0-9A-Fa-f]{8}")


#: Small letters with a capital that has another small letter.
_FORMS: Final = dict(
    zip(
        "\xb5\u0131\u017f\u0345\u03c2\u03d0\u03d1\u03d5\u03d6\u03f0\u03f1\u03f5"
        "\u1c80\u1c81\u1c82\u1c83\u1c84\u1c85\u1c86\u1c87\u1c88\u1e9b\u1fbe",
        "\u03bcis\u03b9\u03c3\u03b2\u03b8\u03c6\u03c0\u03ba\u03c1\u03b5"
        "\u0432\u0434\u043e\u0441\u0442\u0442\u044a\u0463\ua64b\u1e61\u03b9",
        strict=True,
    )
)
_BEYOND_LATIN: Final = re.compile("([\u0100-\ud7ff\ue000-\U0010ffff]+)")
#: The one letter whose small form is two characters.
_DOTTED_I: Final = "\u0130"


def fold(text: str) -> str:
    """Replace all forms of each letter by one; the number of characters stays the same."""
    if text.isascii():
        return text.lower()
    text = text.replace(_DOTTED_I, "i").lower()
    for letter in _FORMS.keys() & set(text):
        text = text.replace(letter, _FORMS[letter])
    return text


class _Secret:
    """A secret, with its forms to search for in texts that are read in each way."""

    def __init__(self, secret: bytes) -> None:
        self.raw = secret
        self.characters = len(_decode(secret))
        self._forms: dict[_Way | None, list[_Form]] = {}

    def forms(self, way: _Way | None) -> list[_Form]:
        """Return the secret as it is, and also decoded if something in it looks like an escape."""
        if way not in self._forms:
            self._forms[way] = [_make_form(self.raw)]
            if way is not None and way.is_exact and len(pieces := way.split(self.raw)) > 1:
                decoded = b"".join(way.decode_pieces(pieces))
                if len(decoded) >= SHORTEST:
                    self._forms[way].append(_make_form(decoded))
        return self._forms[way]


class _Form(NamedTuple):
    """The texts to search for: in UTF-8, which may hold bytes of Latin-1, and in Latin-1."""

    utf8: frozenset[str]
    latin: frozenset[str]


def _make_form(secret: bytes) -> _Form:
    text = fold(_decode(secret))
    if secret.isascii():
        return _Form(frozenset((text,)), frozenset())
    latin = frozenset((text, fold(secret.decode("latin-1"))))
    try:
        pieces = enumerate(_BEYOND_LATIN.split(secret.decode()))
    except UnicodeDecodeError:
        return _Form(frozenset((text,)), latin)
    # a service that writes Latin-1 may keep UTF-8 for letters that Latin-1 lacks
    mixed = b"".join(piece.encode("utf-8" if number % 2 else "latin-1") for number, piece in pieces)
    return _Form(frozenset((text, fold(_decode(mixed)))), latin)


class _Reading:
    """A text that is read in one way; None: as it is."""

    def __init__(self, pieces: list[bytes], decoded: list[bytes], way: _Way | None) -> None:
        self.pieces = pieces
        self.decoded = decoded
        self.way = way
        text = b"".join(decoded)
        self._mixed = _decode(text)
        self._folded = fold(self._mixed)
        self._latin = "" if text.isascii() else fold(text.decode("latin-1"))

    def spans(self, secret: _Secret) -> Iterator[Span]:
        """Find the places of the secret in the text."""
        for form in secret.forms(self.way):
            for one in form.utf8:
                yield from self._place(self._to_bytes(_find(one, self._folded)))
            if self._latin:
                for one in form.latin:
                    yield from self._place(_find(one, self._latin))

    def _to_bytes(self, found: Iterator[Span]) -> Iterator[Span]:
        """Translate places among the decoded characters into places among the decoded bytes."""
        character = byte = 0
        for start, end in found:
            byte += _count_bytes(self._mixed[character:start])
            yield byte, byte + _count_bytes(self._mixed[start:end])
            character = start

    def _place(self, found: Iterator[Span]) -> Iterator[Span]:
        """Translate places in the decoded text into places in the text itself."""
        ends: list[int] = []
        places: list[int] = []
        for start, end in found:
            if not ends:
                ends = list(accumulate(map(len, self.decoded)))
                places = list(accumulate(map(len, self.pieces)))
            first, last = bisect_right(ends, start), bisect_right(ends, end - 1)
            yield (
                places[first] - (len(self.pieces[first]) if first % 2 else ends[first] - start),
                places[last] - (0 if last % 2 else ends[last] - end),
            )


def _find(sought: str, text: str) -> Iterator[Span]:
    """Find the places of one text in another; long ones directly after each other are one place."""
    is_long = len(sought) >= SHORTEST
    start = text.find(sought)
    while start >= 0:
        end = start + len(sought)
        after = text.find(sought, end if is_long else start + 1)
        while is_long and after == end:
            end += len(sought)
            after = text.find(sought, end)
        yield start, end
        start = after


def _count_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _read(line: bytes) -> list[_Reading]:
    """Read the line as it is, and in each way that changes something in it."""
    readings = [_Reading([line], [line], None)]
    if _ESCAPING.search(line):
        for way in _WAYS:
            pieces = way.split(line)
            if len(pieces) > 1 and not any(
                way.decode == known.way.decode and pieces == known.pieces for known in readings if known.way
            ):
                decoded = way.decode_pieces(pieces)
                if all(decoded != known.decoded for known in readings):
                    readings.append(_Reading(pieces, decoded, way))
    return readings


# -- base64 ---------------------------------------------------------------------------------------


def _find_base64(line: bytes, secret: bytes) -> Iterator[Span]:
    """Find words in base64 that hold the secret; their other letters would tell a part of it."""
    standard = line.translate(_STANDARD)
    for core in _make_cores(secret):
        start = standard.find(core)
        while start >= 0:
            end = start + len(core)
            while start > 0 and line[start - 1] in _BASE64:
                start -= 1
            while end < len(line) and line[end] in _BASE64:
                end += 1
            yield start, end
            start = standard.find(core, end)


def _make_cores(secret: bytes) -> Iterator[bytes]:
    """Return the letters that base64 makes of the secret alone, for the three places where it may begin."""
    for offset in range(3):
        first, end = -(-offset * 8 // 6), (offset + len(secret)) * 8 // 6
        yield b64encode(bytes(offset) + secret)[first:end]


def _find_base64_words(line: bytes, secret: bytes) -> Iterator[Span]:
    """Find words that are the whole secret in hexadecimal or base64, alone or behind a NUL (SASL PLAIN)."""
    for word in _BASE64_WORD.finditer(line):
        digits = word[0].rstrip(b"=").translate(_URL_SAFE)
        text = urlsafe_b64decode(digits + b"=" * (-len(digits) % 4)) if len(digits) % 4 != 1 else b""
        if text.rpartition(b"\0")[2] == secret or word[0].lower() == secret.hex().encode():
            yield word.span()
