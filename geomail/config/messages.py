"""What the validation found, in an operator's words: what was found, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

from geomail.config.lines import KeyPath
from geomail.config.schema import TABLES
from geomail.config.source import header
from geomail.config.units import shown

_WANTED = {
    "string_type": 'text in quotes is wanted: "…"',
    "string_too_short": "text that is not empty is wanted",
    "dict_type": "a table is wanted",
    "model_type": "a table is wanted",
    "model_attributes_type": "a table is wanted",
    "tuple_type": "an array is wanted: [ … ]",
}
_FEW = 12


def describe(error: ErrorDetails) -> str:
    """The message for one error of pydantic's."""
    kind, path, context = error["type"], error["loc"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return "is missing"
    found = "" if _is_secret(path) else f"{shown(error['input'])}: "
    if kind == "literal_error":
        return found + _allowed(error["input"], context["expected"])
    return found + _WANTED.get(kind, error["msg"])


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that the given one is most likely meant to be."""
    return next(iter(difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.7)), None)


def meant_key(path: KeyPath) -> str | None:
    """The key that an unknown one at this path is most likely meant to be."""
    return nearest(str(path[-1]), TABLES[header(path[:-1])].model_fields)


def or_list(words: Iterable[str]) -> str:
    """Words as a message lists what is allowed."""
    return ", ".join(words)


def _allowed(found: Any, expected: str) -> str:
    words = expected.replace("'", "").replace(" or ", ", ").split(", ")
    guess = nearest(found, words) if isinstance(found, str) else None
    return f"allowed: {', '.join(words)}" + (f"; did you mean {guess}?" if guess else "")


def _unknown_key(path: KeyPath) -> str:
    key, table = str(path[-1]), header(path[:-1])
    homes = [home or "the top of the file" for home, model in TABLES.items() if key in model.model_fields]
    if homes:
        return f"does not belong in {table or 'the top of the file'}; it belongs in {' or '.join(homes)}"
    guess = meant_key(path)
    if guess:
        return f"unknown key; did you mean {guess}?"
    known = sorted(TABLES[table].model_fields)
    return "unknown key" + (f"; allowed: {', '.join(known)}" if len(known) <= _FEW else "")


def _is_secret(path: KeyPath) -> bool:
    """Whether the value at this path must not be shown."""
    for length in range(len(path)):
        model = TABLES.get(header(path[:length]))
        option = model.model_fields.get(str(path[length])) if model else None
        if option is not None and not option.repr:
            return True
    return False
