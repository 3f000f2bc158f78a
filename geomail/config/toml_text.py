"""Values and keys as TOML 1.0 writes them: the only place that knows the package ``toml``.

Each comes as one line without a character that could steer a terminal, and
``tomllib`` reads back what was given. What the package would write wrongly is
written here, or refused: its own texts break at a backslash before x, and a
table, bytes or None become something else with it.
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
    """A text holds bytes that are no UTF-8: a file's name, say."""


def write_toml_value(value: object) -> str:
    """A text, number, flag, or array of these. Raises TypeError for anything else, NotUtf8."""
    return str(_ENCODER.dump_value(_simplify(value)))


def write_toml_key(key: str) -> str:
    """One key, quoted if it must be. Raises NotUtf8."""
    return key if _BARE_KEY.fullmatch(key) else _write_text(key)


def _simplify(value: object) -> Any:
    """The value in the types that the package goes by: it looks at no bases."""
    if isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, (list, tuple)):
        return list(map(_simplify, value))
    raise TypeError(f"{type(value).__name__} has no place in TOML")


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
        raise NotUtf8(f"a name in it is not valid UTF-8 (byte {code & 0xFF:02X}), which TOML has to be")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_ENCODER: toml.TomlEncoder[dict[str, Any]] = toml.TomlEncoder()
_ENCODER.dump_funcs[str] = _write_text
_ENCODER.dump_funcs[list] = _write_array
