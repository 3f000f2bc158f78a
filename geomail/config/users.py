"""The users file of ``auth = "users"``: one line for each user, as in Dovecot's passwd-file.

A line is ``name:hash`` or ``name:hash:words``, with spaces between the words:
``backend=NAME``; ``user=NAME`` and ``password=TEXT``, which geomail sends to
the backend in place of the client's own; ``protocols=imap,pop3``; ``disabled``.
``%20`` in a value is a space. geomail ignores empty lines and lines that start
with ``#``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from geomail.config.messages import describe_unknown_backend, guess_word
from geomail.config.routes import get_domain
from geomail.config.schema import Users
from geomail.config.units import escape_unprintable
from geomail.errors import ConfigError, Problem
from geomail.hashes import Hash, UnknownHash, recognise, weigh
from geomail.protocols.facts import FACTS

#: The problems that geomail reports one by one: a file of another kind has one in each line.
MOST_PROBLEMS = 100

_PROTOCOLS = frozenset(FACTS)
_OTHER_FIELDS = re.compile(r"\d*:\d*:")
_WORD = re.compile(r"[^\s%]+")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One user: the hash, the backend, and the login that geomail sends to the backend.

    ``user`` and ``password`` are None if the backend gets the client's own.
    """

    hash: Hash
    backend: str
    user: bytes | None = None
    password: bytes | None = field(default=None, repr=False)
    protocols: frozenset[str] = _PROTOCOLS
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class UsersFile:
    """All users, by their :func:`make_key`.

    ``costliest`` has one hash of each scheme: one that takes the longest to verify.
    """

    entries: dict[bytes, Entry]
    costliest: tuple[Hash, ...]


def make_key(user: bytes) -> bytes:
    """Return the key of a user: the case of ASCII letters does not count."""
    return user.lower()


def read_users(options: Users, backends: Collection[str]) -> UsersFile:
    """Read the users file; ``backends`` are the names that exist. Raises ConfigError with all problems."""
    assert options.file is not None, "auth = users without a file"
    try:
        lines = Path(options.file).read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError([Problem(options.file, 0, "", f"cannot be read: {error.strerror}")]) from None
    reader = _Reader(options, backends)
    for number, line in enumerate(lines, 1):
        reader.read(number, line)
    if reader.problems:
        raise ConfigError(reader.problems)
    return UsersFile(reader.entries, _find_costliest(reader.entries.values()))


def format_entry(name: str, hashed: str, backend: str | None = None) -> str:
    """Return the line of a user. Raises ValueError if a line cannot hold the name or backend."""
    if ":" in name or name.startswith("#"):
        raise ValueError("a user's name must not hold a colon, and must not start with #")
    if backend is not None and not _WORD.fullmatch(backend):
        raise ValueError("a backend's name must not hold spaces or %")
    line = f"{name}:{hashed}" + (f":backend={backend}" if backend is not None else "")
    _split_line(line)
    return line


def _find_costliest(entries: Collection[Entry]) -> tuple[Hash, ...]:
    found: dict[str, Hash] = {}
    for entry in entries:
        known = found.get(entry.hash.scheme)
        if known is None or (entry.hash.cost != known.cost and weigh(entry.hash) > weigh(known)):
            found[entry.hash.scheme] = entry.hash
    return tuple(found.values())


class _Reader:
    """A reader of lines, which goes on after a line that is wrong."""

    def __init__(self, options: Users, backends: Collection[str]) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.problems: list[Problem] = []
        self._file = options.file or ""
        self._options = options
        self._backends = backends
        self._lines: dict[bytes, int] = {}

    def read(self, number: int, line: bytes) -> None:
        name = ""
        try:
            text = line.decode("utf-8").strip()
            if text and not text.startswith("#"):
                name, hashed, words = _split_line(text)
                self._add(number, name.encode(), recognise(hashed), _parse_words(words))
        except UnicodeDecodeError:
            self._add_problem(number, name, "this line is not valid UTF-8; save the file as UTF-8")
        except (ValueError, UnknownHash) as error:
            self._add_problem(number, name, str(error))

    def _add(self, number: int, name: bytes, hashed: Hash, words: dict[str, Any]) -> None:
        key = make_key(name)
        if key in self._lines:
            raise ValueError(f"is given twice; the first is in line {self._lines[key]}; remove one")
        self._lines[key] = number
        backend = words.pop("backend", None) or self._choose_backend(name)
        if backend not in self._backends:
            raise ValueError(describe_unknown_backend(backend, self._backends))
        self.entries[key] = Entry(hashed, backend, **words)

    def _choose_backend(self, name: bytes) -> str:
        backend = self._options.domains.get(get_domain(name).decode(), self._options.default)
        if backend is None:
            raise ValueError("has no backend; add backend=NAME here, or a default to [auth.users]")
        return backend

    def _add_problem(self, number: int, name: str, text: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(
                Problem(self._file, number, escape_unprintable(name), escape_unprintable(text))
            )
        elif len(self.problems) == MOST_PROBLEMS:
            self.problems.append(
                Problem(
                    self._file, number, "", "there are more problems from here on; correct those above first"
                )
            )


def _split_line(line: str) -> tuple[str, str, str]:
    """Return the name, hash and words of a line. A message may show only the name."""
    name, colon, rest = line.partition(":")
    if not colon:
        raise ValueError("must be name:hash, but there is no colon")
    if not name or name != name.strip() or not name.isprintable():
        raise ValueError("the name must not be empty, have spaces around it, or hold control characters")
    hashed, _, words = rest.partition(":")
    return name, hashed, words


def _parse_words(text: str) -> dict[str, Any]:
    """Read the words after the hash: the fields of :class:`Entry` that they set, and ``backend``."""
    found: dict[str, Any] = {}
    if _OTHER_FIELDS.match(text):
        raise ValueError(
            "geomail reads only the first two of Dovecot's fields, name and hash; remove the others"
        )
    for number, word in enumerate(text.split(), 1):
        key, equals, value = word.partition("=")
        if key not in _READERS or bool(equals) != (key != "disabled"):
            raise ValueError(_describe_unknown_word(number, key))
        if key in found:
            raise ValueError(f"{key} is given twice; remove one")
        try:
            found[key] = _READERS[key](value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return found


def _describe_unknown_word(number: int, key: str) -> str:
    # The word may be a part of a password, so the message shows only a similar known word.
    guess = guess_word(key, _READERS)
    hint = f"did you mean {guess}?" if guess else f"allowed: {_FORMS}; write a space in a value as %20"
    return f"word {number} after the hash is unknown; {hint}"


def _parse_value(text: str) -> bytes:
    """Decode a value: ``%`` and two digits mean a byte."""
    value = _ESCAPE.sub(_unescape, text.encode())
    if not value:
        raise ValueError("must have a value")
    if any(byte in value for byte in b"\r\n\0"):
        raise ValueError("must not hold CR, LF or NUL")
    return value


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        raise ValueError("two hexadecimal digits must follow %; write % itself as %25")
    return bytes.fromhex(match[1].decode())


@cache
def _parse_protocols(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    if not names <= _PROTOCOLS:
        raise ValueError(f"must be one or more of {', '.join(sorted(_PROTOCOLS))}, with commas between them")
    return names


_READERS: dict[str, Callable[[str], Any]] = {
    "backend": lambda text: sys.intern(_parse_value(text).decode("utf-8", "replace")),
    "user": _parse_value,
    "password": _parse_value,
    "protocols": _parse_protocols,
    "disabled": lambda _: True,
}
_FORMS = "backend=NAME, user=NAME, password=TEXT, protocols=imap,pop3, disabled"
