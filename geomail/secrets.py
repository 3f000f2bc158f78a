"""Secrets out of what a peer says: it may say them back, in whatever spelling.

Where geomail itself says a secret, the line is masked as it is made (see
``conversation``). This is for the answers, wherever they are shown.

No regular expression is ever made of a secret: making one costs more than a
whole session does, and the module ``re`` would keep it. Instead the text is
decoded once in each way, and what comes out is searched.
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

#: Shorter secrets are looked for as words of their own: inside others they would be found by chance.
SHORTEST = 4
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_")
_BASE64_WORD = re.compile(rb"[A-Za-z0-9+/_-]{2,}={0,2}")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")

#: Where a secret is in a text: start and end.
Span = tuple[int, int]


def as_text(line: bytes) -> str:
    """A line from the network as text that cannot steer a terminal."""
    return escape_unprintable(line.decode("utf-8", "backslashreplace"))


def masking(secrets: Iterable[bytes]) -> Mask:
    """A mask for the lines of a peer that knows these secrets.

    Found in any mixture of plain text, quoting and escapes, and in base64
    wherever they are in what was encoded. The time that a line takes grows
    with its length alone; nothing is kept but the secrets.
    """
    known = tuple(_Secret(secret) for secret in set(secrets) if secret)
    if not known:
        return bytes

    def mask(line: bytes) -> bytes:
        return _without(line, _spans(line, known))

    return mask


def concealed(text: str, secret: bytes) -> str:
    """Return the words of a peer that knows the secret without it; the text itself if it is not in it."""
    if not secret:
        return text
    line = text.encode("utf-8", "backslashreplace")
    spans = _spans(line, (_Secret(secret),))
    return _without(line, spans).decode("utf-8", "backslashreplace") if spans else text


def _spans(line: bytes, secrets: Iterable[_Secret]) -> list[Span]:
    """Find where the line holds one of the secrets, in no order; they may overlap."""
    spans: list[Span] = []
    readings: list[_Reading] = []
    for secret in secrets:
        if secret.characters > len(line):
            continue  # no spelling has fewer bytes than the secret has characters
        readings = readings or _readings(line)
        found = (span for reading in readings for span in reading.spans(secret))
        if len(secret.raw) >= SHORTEST:
            spans += found
            spans += _encoded(line, secret.raw)
        else:
            spans += (span for span in found if _is_word(line, *span))
            spans += _encoded_words(line, secret.raw)
    return spans


def _is_word(line: bytes, start: int, end: int) -> bool:
    return not (line[max(0, start - 1) : start].isalnum() or line[end : end + 1].isalnum())


def _without(line: bytes, spans: list[Span]) -> bytes:
    """The line with one mask in place of each stretch that the spans cover."""
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
#: What C, Python and JSON have letters for, behind a backslash.
_LETTERS = dict(zip(b"abtnvfreABTNVFRE", (7, 8, 9, 10, 11, 12, 13, 27) * 2, strict=True))


def _escapes(*spellings: bytes) -> re.Pattern[bytes]:
    return re.compile(b"(%b)" % b"|".join(spellings), re.DOTALL)


class _Meanings(dict[bytes, bytes]):
    """The meanings of escapes; ``letters`` tells what letters do behind a backslash, which others quote.

    Those of single bytes are there from the beginning, as looking up is several times faster than a call.
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
            return _encoded_code(int(number[1:], 16) if number[:1] == b"x" else int(number), escape)
        if kind == rb"\u":
            return _encoded_code(_code(number), escape)
        if kind == rb"\x":
            return bytes.fromhex(number.decode())
        return bytes((int(escape[1:], 8 if kind[0] == _BACKSLASH else 16) & 0xFF,))


def _code(digits: bytes) -> int:
    """The number of a character behind ``\\u``, or of two surrogates."""
    if len(digits) < 10:
        return int(digits, 16)
    return ord(bytes.fromhex((digits[:4] + digits[6:]).decode()).decode("utf-16-be"))


def _encoded_code(code: int, escape: bytes) -> bytes:
    return chr(code).encode("utf-8", "replace") if code <= 0x10FFFF else escape


class _Way(NamedTuple):
    """A way to decode a text. ``is_exact``: where an escape begins and ends is certain."""

    escapes: re.Pattern[bytes]
    decoded: Callable[[bytes], bytes]
    is_exact: bool = True

    def pieces(self, text: bytes) -> list[bytes]:
        """The text in pieces, of which every second is an escape."""
        return self.escapes.split(text)

    def meant(self, pieces: list[bytes]) -> list[bytes]:
        """Decode the pieces of a text, one by one."""
        meant = pieces.copy()
        meant[1::2] = map(self.decoded, pieces[1::2])
        return meant


_MEANING, _QUOTING = _Meanings(_LETTERS), _Meanings({})
_ALL = _escapes(_URL, _XTEXT, _QUOTED_PRINTABLE, _C, _HTML)
_RUN = _escapes(_HEX + b"{8,}")
#: All kinds of escapes together; each alone, as what looks like another may be plain text; runs of digits.
_WAYS = (
    _Way(_ALL, _MEANING.__getitem__),
    _Way(_ALL, _QUOTING.__getitem__),
    *(_Way(_escapes(kind), _MEANING.__getitem__) for kind in (_URL, _XTEXT, _QUOTED_PRINTABLE, _C, _HTML)),
    _Way(_RUN, lambda run: unhexlify(run[: len(run) & ~1]), is_exact=False),
    _Way(_RUN, lambda run: unhexlify(run[1 : len(run) - 1 | 1]), is_exact=False),
)
#: What every text has in it that one of these ways makes something else of.
_ESCAPING = re.compile(rb"[%\\&]|[+=][0-9A-Fa-f]{2}|[0-9A-Fa-f]{8}")


#: Small letters that have a capital whose small letter is another one.
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


def folded(text: str) -> str:
    """The text with one form of each letter in place of all; as many characters."""
    if text.isascii():
        return text.lower()
    text = text.replace(_DOTTED_I, "i").lower()
    for letter in _FORMS.keys() & set(text):
        text = text.replace(letter, _FORMS[letter])
    return text


class _Secret:
    """A secret, with what is looked for in texts that are read in one way or the other."""

    def __init__(self, secret: bytes) -> None:
        self.raw = secret
        self.characters = len(_as_utf8(secret))
        self._forms: dict[_Way | None, list[_Form]] = {}

    def forms(self, way: _Way | None) -> list[_Form]:
        """The secret as it is, and with what looks like an escape in it decoded."""
        if way not in self._forms:
            self._forms[way] = [_form(self.raw)]
            if way is not None and way.is_exact and len(pieces := way.pieces(self.raw)) > 1:
                meant = b"".join(way.meant(pieces))
                if len(meant) >= SHORTEST:
                    self._forms[way].append(_form(meant))
        return self._forms[way]


class _Form(NamedTuple):
    """The texts that are looked for in UTF-8, which may have bytes of Latin-1 in it, and in Latin-1."""

    utf8: frozenset[str]
    latin: frozenset[str]


def _form(secret: bytes) -> _Form:
    text = folded(_as_utf8(secret))
    if secret.isascii():
        return _Form(frozenset((text,)), frozenset())
    latin = frozenset((text, folded(secret.decode("latin-1"))))
    try:
        pieces = enumerate(_BEYOND_LATIN.split(secret.decode()))
    except UnicodeDecodeError:
        return _Form(frozenset((text,)), latin)
    # a service that writes Latin-1 may leave as it is what Latin-1 has not
    mixed = b"".join(piece.encode("utf-8" if number % 2 else "latin-1") for number, piece in pieces)
    return _Form(frozenset((text, folded(_as_utf8(mixed)))), latin)


class _Reading:
    """A text read in one way; None: as it is."""

    def __init__(self, pieces: list[bytes], meant: list[bytes], way: _Way | None) -> None:
        self.pieces = pieces
        self.meant = meant
        self.way = way
        text = b"".join(meant)
        self._mixed = _as_utf8(text)
        self._folded = folded(self._mixed)
        self._latin = "" if text.isascii() else folded(text.decode("latin-1"))

    def spans(self, secret: _Secret) -> Iterator[Span]:
        """Find where the secret is in the text."""
        for form in secret.forms(self.way):
            for one in form.utf8:
                yield from self._placed(self._in_bytes(_found(one, self._folded)))
            if self._latin:
                for one in form.latin:
                    yield from self._placed(_found(one, self._latin))

    def _in_bytes(self, found: Iterator[Span]) -> Iterator[Span]:
        """Places among the characters of what is meant, as places among its bytes."""
        character = byte = 0
        for start, end in found:
            byte += _size(self._mixed[character:start])
            yield byte, byte + _size(self._mixed[start:end])
            character = start

    def _placed(self, found: Iterator[Span]) -> Iterator[Span]:
        """Places in what is meant, as places in the text."""
        ends: list[int] = []
        places: list[int] = []
        for start, end in found:
            if not ends:
                ends = list(accumulate(map(len, self.meant)))
                places = list(accumulate(map(len, self.pieces)))
            first, last = bisect_right(ends, start), bisect_right(ends, end - 1)
            yield (
                places[first] - (len(self.pieces[first]) if first % 2 else ends[first] - start),
                places[last] - (0 if last % 2 else ends[last] - end),
            )


def _found(sought: str, text: str) -> Iterator[Span]:
    """Find where a text holds another; long ones that follow each other directly are one."""
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


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _as_utf8(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _readings(line: bytes) -> list[_Reading]:
    """The line as it is, and decoded in each way that there is something for."""
    readings = [_Reading([line], [line], None)]
    if _ESCAPING.search(line):
        for way in _WAYS:
            pieces = way.pieces(line)
            if len(pieces) > 1 and not any(
                way.decoded == known.way.decoded and pieces == known.pieces for known in readings if known.way
            ):
                meant = way.meant(pieces)
                if all(meant != known.meant for known in readings):
                    readings.append(_Reading(pieces, meant, way))
    return readings


# -- base64 ---------------------------------------------------------------------------------------


def _encoded(line: bytes, secret: bytes) -> Iterator[Span]:
    """The words in base64 that hold what it makes of the secret: their other letters would tell of it."""
    standard = line.translate(_STANDARD)
    for core in _cores(secret):
        start = standard.find(core)
        while start >= 0:
            end = start + len(core)
            while start > 0 and line[start - 1] in _BASE64:
                start -= 1
            while end < len(line) and line[end] in _BASE64:
                end += 1
            yield start, end
            start = standard.find(core, end)


def _cores(secret: bytes) -> Iterator[bytes]:
    """The letters that base64 makes of the secret alone, for the three places where it may begin."""
    for offset in range(3):
        first, end = -(-offset * 8 // 6), (offset + len(secret)) * 8 // 6
        yield b64encode(bytes(offset) + secret)[first:end]


def _encoded_words(line: bytes, secret: bytes) -> Iterator[Span]:
    """The words that are all of the secret in digits or base64, alone or behind a NUL as in SASL PLAIN."""
    for word in _BASE64_WORD.finditer(line):
        digits = word[0].rstrip(b"=").translate(_URL_SAFE)
        text = urlsafe_b64decode(digits + b"=" * (-len(digits) % 4)) if len(digits) % 4 != 1 else b""
        if text.rpartition(b"\0")[2] == secret or word[0].lower() == secret.hex().encode():
            yield word.span()
