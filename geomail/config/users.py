"""The users file of ``auth = "users"``: a line for each user, as in a passwd-file of Dovecot's.

``name:hash`` or ``name:hash:words``, the words with spaces between them:
``backend=NAME``; ``user=NAME`` and ``password=TEXT``, said to the backend in
place of what the client gave; ``protocols=imap,pop3``; ``disabled``. ``%20``
in a value is a space. Empty lines and those that start with ``#`` say nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args

from geomail.config.messages import nearest, no_such_backend
from geomail.config.routes import domain_of
from geomail.config.schema import Users
from geomail.config.units import printable
from geomail.config.values import ProtocolName
from geomail.errors import ConfigError, Problem
from geomail.hashes import Hash, UnknownHash, recognise, weigh

#: Problems that are told one by one; a file of another kind has one in each line.
MOST_PROBLEMS = 100

_PROTOCOLS = frozenset(get_args(ProtocolName))
_OTHER_FIELDS = re.compile(r"\d*:\d*:")
_WORD = re.compile(r"[^\s%]+")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One user: a hash to verify, and what is said to which backend.

    ``user`` and ``password`` are None where the backend gets the client's own.
    """

    hash: Hash
    backend: str
    user: bytes | None = None
    password: bytes | None = field(default=None, repr=False)
    protocols: frozenset[str] = _PROTOCOLS
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class UsersFile:
    """All users, by their :func:`key_of`.

    ``costliest`` has of each scheme a hash that takes as long as any of it.
    """

    entries: dict[bytes, Entry]
    costliest: tuple[Hash, ...]


def key_of(user: bytes) -> bytes:
    """What a user is found by: the case of ASCII letters does not count."""
    return user.lower()


def read_users(options: Users, backends: Collection[str]) -> UsersFile:
    """Read the users file; ``backends`` names those that exist. Raises ConfigError with all its problems."""
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
    return UsersFile(reader.entries, _costliest(reader.entries.values()))


def entry_line(name: str, hashed: str, backend: str | None = None) -> str:
    """The line of a user. Raises ValueError where name or backend cannot stand in it."""
    if ":" in name or name.startswith("#"):
        raise ValueError("a user's name has no colon in it, and no # in front")
    if backend is not None and not _WORD.fullmatch(backend):
        raise ValueError("a backend's name has no spaces and no % in it")
    line = f"{name}:{hashed}" + (f":backend={backend}" if backend is not None else "")
    _fields(line)
    return line


def _costliest(entries: Collection[Entry]) -> tuple[Hash, ...]:
    found: dict[str, Hash] = {}
    for entry in entries:
        known = found.get(entry.hash.scheme)
        if known is None or (entry.hash.cost != known.cost and weigh(entry.hash) > weigh(known)):
            found[entry.hash.scheme] = entry.hash
    return tuple(found.values())


class _Reader:
    """Reads line by line, and goes on after one that is wrong."""

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
                name, hashed, words = _fields(text)
                self._add(number, name.encode(), recognise(hashed), _words(words))
        except UnicodeDecodeError:
            self._problem(number, name, "this line is not valid UTF-8")
        except (ValueError, UnknownHash) as error:
            self._problem(number, name, str(error))

    def _add(self, number: int, name: bytes, hashed: Hash, words: dict[str, Any]) -> None:
        key = key_of(name)
        if key in self._lines:
            raise ValueError(f"is given twice; the first is in line {self._lines[key]}")
        self._lines[key] = number
        backend = words.pop("backend", None) or self._by_domain(name)
        if backend not in self._backends:
            raise ValueError(no_such_backend(backend, self._backends))
        self.entries[key] = Entry(hashed, backend, **words)

    def _by_domain(self, name: bytes) -> str:
        backend = self._options.domains.get(domain_of(name).decode(), self._options.default)
        if backend is None:
            raise ValueError("has no backend: add backend=NAME here, or a default to [auth.users]")
        return backend

    def _problem(self, number: int, name: str, text: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(self._file, number, printable(name), printable(text)))
        elif len(self.problems) == MOST_PROBLEMS:
            self.problems.append(Problem(self._file, number, "", "and so on; later lines are not told"))


def _fields(line: str) -> tuple[str, str, str]:
    """Name, hash and words of a line. Nothing of it but the name is ever shown."""
    name, colon, rest = line.partition(":")
    if not colon:
        raise ValueError("name:hash is wanted, and there is no colon")
    if not name or name != name.strip() or not name.isprintable():
        raise ValueError("a name without spaces around it and without control characters is wanted")
    hashed, _, words = rest.partition(":")
    return name, hashed, words


def _words(text: str) -> dict[str, Any]:
    """What the words behind the hash say, by the fields of :class:`Entry`, and ``backend``."""
    found: dict[str, Any] = {}
    if _OTHER_FIELDS.match(text):
        raise ValueError("of Dovecot's fields only the first two are understood, name and hash")
    for number, word in enumerate(text.split(), 1):
        key, equals, value = word.partition("=")
        if key not in _READERS or bool(equals) != (key != "disabled"):
            raise ValueError(_unknown(number, key))
        if key in found:
            raise ValueError(f"{key} is given twice")
        try:
            found[key] = _READERS[key](value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return found


def _unknown(number: int, key: str) -> str:
    # The word may be a part of a password: only what it was most likely meant to be is shown.
    guess = nearest(key, _READERS)
    hint = f"did you mean {guess}?" if guess else f"allowed: {_FORMS}; a space in a value is %20"
    return f"word {number} behind the hash is not understood; {hint}"


def _value(text: str) -> bytes:
    """A value with its escapes resolved: ``%`` and two digits stand for a byte."""
    value = _ESCAPE.sub(_unescaped, text.encode())
    if not value:
        raise ValueError("a value is wanted")
    if any(byte in value for byte in b"\r\n\0"):
        raise ValueError("CR, LF and NUL are not allowed")
    return value


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        raise ValueError("% and two hexadecimal digits are wanted; % itself is %25")
    return bytes.fromhex(match[1].decode())


@cache
def _protocols(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    if not names <= _PROTOCOLS:
        raise ValueError(f"only {', '.join(sorted(_PROTOCOLS))} are wanted, with commas between them")
    return names


_READERS: dict[str, Callable[[str], Any]] = {
    "backend": lambda text: sys.intern(_value(text).decode("utf-8", "replace")),
    "user": _value,
    "password": _value,
    "protocols": _protocols,
    "disabled": lambda _: True,
}
_FORMS = "backend=NAME, user=NAME, password=TEXT, protocols=imap,pop3, disabled"
