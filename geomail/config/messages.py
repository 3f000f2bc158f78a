"""Messages for operators about what the validation found: what is wrong, and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

from geomail.config.lines import KeyPath
from geomail.config.schema import TABLES, list_keys
from geomail.config.source import format_header
from geomail.config.units import show

_QUOTES = (
    'is not a value of TOML; put words, times, sizes and addresses in quotes: "on", "24h", "8k", "[::]:25"'
)
#: What a value must be, by the kind of pydantic's error.
_REQUIRED = {
    "string_type": "must be text in quotes",
    "string_too_short": "must have at least one character",
    "greater_than": "must be more than 0",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "tuple_type": "must be an array [ … ]",
}
_FEW = 12
#: The meaning of the TOML reader's messages, by their first words.
_SYNTAX = {
    "Invalid value": _QUOTES,
    "Expected newline or end of document": _QUOTES,
    "Invalid initial character for a key part": "a key has letters, digits, _ and -; put others in quotes",
    "Expected '=' after a key": 'must be key = value, such as timeout = "60s"',
    "Cannot overwrite a value": "is given twice in this table; remove one of the two",
    "Cannot declare": (
        "this table is declared twice; put all its keys under one header, "
        "and start each server with [[mail.server]]"
    ),
    "Illegal character '\\n'": "a text must end on its line; add the missing quote",
    'Expected "\'"': "a text does not end; add the missing quote",
    "Unterminated string": "a text does not end; add the closing quotes",
    "Unescaped '\\'": "write a backslash in a text as \\\\, or put the text in single quotes: 'a\\b'",
}


def describe(error: ErrorDetails) -> str:
    """Return the message for one of pydantic's errors."""
    kind, path, context = error["type"], error["loc"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return _describe_unknown_key(path)
    if kind == "missing":
        return "is missing; add it"
    found = "" if _is_secret(path) else f", not {show(error['input'])}"
    if kind == "literal_error":
        return _describe_choice(error["input"], context["expected"])
    return f"{_REQUIRED.get(kind, error['msg'])}{found}"


def describe_syntax(message: str) -> str:
    """Return the message for one of the TOML reader's errors."""
    meaning = next((meaning for start, meaning in _SYNTAX.items() if message.startswith(start)), None)
    return meaning or message


def guess_word(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most similar to the given one, None if none is similar."""
    return next(iter(difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.7)), None)


def describe_unknown_backend(name: str, known: Iterable[str]) -> str:
    """Return the message about a name that no backend has."""
    names = list(known)
    guess = guess_word(name, names)
    if guess:
        return f"there is no backend {show(name)}; did you mean {guess}?"
    defined = f", or use one of these: {', '.join(names)}" if names else ""
    return f"there is no backend {show(name)}; add [backends.{name}]{defined}"


def guess_key(path: KeyPath) -> str | None:
    """Return the known key that is most similar to the unknown one at this path."""
    return guess_word(str(path[-1]), list_keys(TABLES[format_header(path[:-1])]))


def _describe_choice(found: Any, expected: str) -> str:
    """Return the message about a value that is not one of the words in ``'a', 'b' or 'c'``."""
    allowed = expected.replace("'", "")
    guess = guess_word(found, allowed.replace(" or ", ", ").split(", ")) if isinstance(found, str) else None
    return f"must be {allowed}, not {show(found)}" + (f"; did you mean {guess}?" if guess else "")


def _describe_unknown_key(path: KeyPath) -> str:
    key, table = str(path[-1]), format_header(path[:-1])
    homes = [_name_table(home) for home, model in TABLES.items() if key in list_keys(model)]
    if homes:
        return (
            f"does not belong {'in' if table else 'at'} {_name_table(table)}; move it to {' or '.join(homes)}"
        )
    guess = guess_key(path)
    if guess:
        return f"unknown key; did you mean {guess}?"
    known = sorted(list_keys(TABLES[table]))
    return "unknown key" + (f"; allowed: {', '.join(known)}" if len(known) <= _FEW else "")


def _name_table(table: str) -> str:
    return table or "the top of the file"


def _is_secret(path: KeyPath) -> bool:
    """Tell whether messages must not show the value at this path."""
    for length in range(len(path)):
        model = TABLES.get(format_header(path[:length]))
        option = model.model_fields.get(str(path[length])) if model else None
        if option is not None and not option.repr:
            return True
    return False
