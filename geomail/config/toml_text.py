"""Values and keys as TOML 1.0: the only module that uses the package ``toml``.

Each result is one line without a character that could steer a terminal, and
``tomllib`` reads it back as the value that was given. The package writes some
values wrongly: a text with a backslash before x, a table, bytes, None. This
module writes such texts itself, and refuses the other three.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import toml

from geomail.errors import GeomailError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SHORT = {"\b": r"\b", "\t": r"\t", "\n": r"\n", "\f": r"\f", "\r": r"\r", '"': r"\"", "\\": r"\\"}


class NotUtf8(GeomailError):
    """A text, such as the name of a file, holds bytes that are not UTF-8."""


def write_toml_value(value: object) -> str:
    """Write a text, number, flag, or array of these. Raises TypeError for anything else, NotUtf8."""
    return str(_ENCODER.dump_value(_simplify(value)))


def write_toml_key(key: str) -> str:
    """Write one key, with quotes if it needs them. Raises NotUtf8."""
    return key if _BARE_KEY.fullmatch(key) else _write_text(key)


def _simplify(value: object) -> Any:
    """Return the value in its basic type, as the package ignores subclasses."""
    if isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, (list, tuple)):
        return list(map(_simplify, value))
    raise TypeError(f"{type(value).__name__} cannot be written as TOML")


def _write_array(items: Iterable[Any]) -> str:
    return f"[{', '.join(str(_ENCODER.dump_value(item)) for item in items)}]"


def _write_text(text: str) -> str:
    return f'"{"".join(map(_write_character, text))}"'


def _write_character(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xD800 <= code < 0xE000:
        raise NotUtf8(f"a name is not valid UTF-8 (byte {code & 0xFF:02X}), but TOML must be; rename it")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_ENCODER: toml.TomlEncoder[dict[str, Any]] = toml.TomlEncoder()
_ENCODER.dump_funcs[str] = _write_text
_ENCODER.dump_funcs[list] = _write_array
