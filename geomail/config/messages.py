"""What the validation found, in an operator's words: what was found, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

from geomail.config.lines import KeyPath
from geomail.config.schema import TABLES, list_keys
from geomail.config.source import format_header
from geomail.config.units import show

_QUOTES = 'no value of TOML; words, times, sizes and addresses go in quotes: "on", "24h", "8k", "[::]:25"'
_WANTED = {
    "string_type": 'text in quotes is wanted: "…"',
    "string_too_short": "text that is not empty is wanted",
    "greater_than": "more than 0 is wanted",
    "dict_type": "a table is wanted",
    "model_type": "a table is wanted",
    "model_attributes_type": "a table is wanted",
    "tuple_type": "an array is wanted: [ … ]",
}
_FEW = 12
#: What the TOML reader says, and what that most likely means.
_SYNTAX = {
    "Invalid value": _QUOTES,
    "Expected newline or end of document": _QUOTES,
    "Invalid initial character for a key part": "a key is letters, digits, _ and -; any other goes in quotes",
    "Expected '=' after a key": 'key = value is wanted: timeout = "60s"',
    "Cannot overwrite a value": "is given twice in this table",
    "Cannot declare": "this table is declared twice; several servers are written [[mail.server]] each",
    "Illegal character '\\n'": "a text does not end on its line: a quote is missing",
    'Expected "\'"': "a text does not end: a quote is missing",
    "Unterminated string": "a text does not end: the closing quotes are missing",
    "Unescaped '\\'": "a backslash in a text is written \\\\, or the text goes in single quotes: 'a\\b'",
}


def describe(error: ErrorDetails) -> str:
    """The message for one error of pydantic's."""
    kind, path, context = error["type"], error["loc"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return _describe_unknown_key(path)
    if kind == "missing":
        return "is missing"
    found = "the value" if _is_secret(path) else show(error["input"])
    if kind == "literal_error":
        return f"{found} is unknown; {_list_allowed(error['input'], context['expected'])}"
    return f"{found}: {_WANTED.get(kind, error['msg'])}"


def describe_syntax(message: str) -> str:
    """The message for one error of the TOML reader's."""
    meaning = next((meaning for start, meaning in _SYNTAX.items() if message.startswith(start)), None)
    return meaning or message


def guess_word(word: str, known: Iterable[str]) -> str | None:
    """The known word that the given one is most likely meant to be."""
    return next(iter(difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.7)), None)


def describe_unknown_backend(name: str, known: Iterable[str]) -> str:
    """The message about a name that no backend has."""
    names = list(known)
    guess = guess_word(name, names)
    if guess:
        return f"{show(name)} is no backend; did you mean {guess}?"
    defined = f"defined: {', '.join(names)}" if names else f"add [backends.{name}]"
    return f"{show(name)} is no backend; {defined}"


def guess_key(path: KeyPath) -> str | None:
    """The key that an unknown one at this path is most likely meant to be."""
    return guess_word(str(path[-1]), list_keys(TABLES[format_header(path[:-1])]))


def _list_allowed(found: Any, expected: str) -> str:
    words = expected.replace("'", "").replace(" or ", ", ").split(", ")
    guess = guess_word(found, words) if isinstance(found, str) else None
    return f"allowed: {', '.join(words)}" + (f"; did you mean {guess}?" if guess else "")


def _describe_unknown_key(path: KeyPath) -> str:
    key, table = str(path[-1]), format_header(path[:-1])
    homes = [_name_table(home) for home, model in TABLES.items() if key in list_keys(model)]
    if homes:
        return f"does not belong {_name_table(table)}; it belongs {' or '.join(homes)}"
    guess = guess_key(path)
    if guess:
        return f"unknown key; did you mean {guess}?"
    known = sorted(list_keys(TABLES[table]))
    return "unknown key" + (f"; allowed: {', '.join(known)}" if len(known) <= _FEW else "")


def _name_table(table: str) -> str:
    return f"in {table}" if table else "at the top of the file"


def _is_secret(path: KeyPath) -> bool:
    """Whether the value at this path must not be shown."""
    for length in range(len(path)):
        model = TABLES.get(format_header(path[:length]))
        option = model.model_fields.get(str(path[length])) if model else None
        if option is not None and not option.repr:
            return True
    return False
