"""Find, read and check a configuration file, and report all problems at once.

geomail reads the TOML, validates each table by its model, lets every server
inherit from ``[mail]``, and runs the checks. It leaves a wrong value out and
goes on, so that one mistake does not hide another.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from geomail.config.checks import check
from geomail.config.lines import KeyPath, scan
from geomail.config.messages import describe, describe_syntax, guess_key
from geomail.config.schema import Config, Document, Mail, Options, Process, Server
from geomail.config.source import Source
from geomail.config.units import escape_unprintable
from geomail.errors import ConfigError, Problem

DEFAULT_PATH = Path("/etc/geomail/geomail.toml")
#: The kind of pydantic's error about a default that depends on a wrong value.
_FOLLOWS = "default_factory_not_called"
_KEY_AT_START = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=", re.ASCII)
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def find_config(option: Path | None) -> Path:
    """Return the file to read: the option ``-c``, else ``GEOMAIL_CONFIG``, else the default path."""
    if option is not None:
        return option
    return Path(os.environ.get("GEOMAIL_CONFIG") or DEFAULT_PATH)


def load(path: Path) -> Config:
    """Return the complete configuration in a file. Raises ConfigError with every problem."""
    config, problems = examine(path)
    if config is None:
        raise ConfigError(problems)
    return config


def examine(path: Path) -> tuple[Config | None, list[Problem]]:
    """Return the configuration in a file, None if it has an error, with all errors and warnings."""
    found = inspect(path)
    return found.config, list(found.problems)


@dataclass(frozen=True)
class Inspection:
    """The result of reading a file.

    ``draft`` is the configuration without the values that are wrong, None if
    the file is not TOML. ``source`` is the file's content with its lines.
    """

    draft: Config | None
    problems: tuple[Problem, ...]
    source: Source

    @property
    def config(self) -> Config | None:
        """The configuration; None if it has an error."""
        return None if any(problem.severity == "error" for problem in self.problems) else self.draft


def inspect(path: Path) -> Inspection:
    """Read and check a file as :func:`examine` does, and keep its content."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return _fail(path, *_explain_read_error(error))
    return inspect_text(text, path)


def inspect_text(text: str, path: Path) -> Inspection:
    """Check a text as if the file at ``path`` held it."""
    try:
        source = Source(str(path), tomllib.loads(text), scan(text))
    except (ValueError, RecursionError) as error:
        return _fail(path, *_explain_syntax_error(text, str(error)))
    document, problems = _validate(source, path.parent)
    draft = _complete(document)
    problems += check(draft, source)
    return Inspection(draft, sort_problems(problems), source)


def sort_problems(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems in the order of their file (of each file, if there are several), each once."""
    unique = list(dict.fromkeys(problems))
    files = list(dict.fromkeys(problem.file for problem in unique))
    return tuple(sorted(unique, key=lambda problem: (files.index(problem.file), problem.line)))


def _fail(path: Path, line: int, key: str, text: str) -> Inspection:
    return Inspection(
        None, (Problem(str(path), line, key, escape_unprintable(text)),), Source(str(path), {}, {})
    )


def _explain_read_error(error: OSError | UnicodeDecodeError) -> tuple[int, str, str]:
    if isinstance(error, OSError):
        return 0, "", f"cannot be read: {error.strerror}"
    return (
        error.object.count(b"\n", 0, error.start) + 1,
        "",
        "this line is not valid UTF-8; save the file as UTF-8",
    )


def _explain_syntax_error(text: str, message: str) -> tuple[int, str, str]:
    """Return the line, key and meaning of a syntax error, without the line's text: it may hold a secret."""
    lines = text.split("\n")
    place = _TOML_PLACE.search(message)
    line = int(place[1]) if place and place[1] else max(1, len(lines) - 1)
    key = _KEY_AT_START.match(lines[line - 1])
    return line, key[1] if key else "", describe_syntax(_TOML_PLACE.sub("", message))


def _validate(source: Source, folder: Path) -> tuple[Document, list[Problem]]:
    """Return the document without its wrong values, and the problems with these values."""
    problems: list[Problem] = []
    content: Any = source.content
    while True:
        try:
            document = Document.model_validate(content, context={"folder": str(folder.absolute())})
        except ValidationError as failed:
            errors = [error for error in failed.errors(include_url=False) if error["type"] != _FOLLOWS]
            source.broken.update(_guess_keys(errors))
            for error in errors:
                if error["type"] != "missing" or error["loc"] not in source.broken:
                    problems.append(source.make_problem(error["loc"], describe(error)))
                part = _find_broken_part(source, error)
                source.broken.add(part)
                content = _remove(content, part)
        else:
            return document, problems


def _guess_keys(errors: Iterable[ErrorDetails]) -> Iterator[KeyPath]:
    """Return the known keys that unknown keys resemble: they are misspelt, not missing."""
    for error in errors:
        if error["type"] == "extra_forbidden" and (meant := guess_key(error["loc"])):
            yield (*error["loc"][:-1], meant)


def _find_broken_part(source: Source, error: ErrorDetails) -> KeyPath:
    """Return the path to leave out: the key whose value is wrong, or the table that lacks a key."""
    path = error["loc"]
    if error["type"] == "missing":
        return path[:-1]
    in_tables = [length for length in range(len(path)) if isinstance(source.get_value(path[:length]), dict)]
    return path[: in_tables[-1] + 1]


def _remove(value: Any, path: KeyPath) -> Any:
    """Copy nested tables and arrays without the value at the path."""
    step, rest = path[0], path[1:]
    if isinstance(value, dict) and step in value:
        return {
            key: _remove(kept, rest) if key == step else kept
            for key, kept in value.items()
            if rest or key != step
        }
    if isinstance(value, list):
        return [_remove(kept, rest) if index == step else kept for index, kept in enumerate(value)]
    return value


def _complete(document: Document) -> Config:
    """Build the configuration, in which each server has what it inherits."""
    servers = tuple(_inherit(document.mail, server) for server in document.mail.server)
    process = {key: getattr(document, key) for key in Process.model_fields}
    return Config(
        **process,
        servers=servers,
        log=document.log,
        control=document.control,
        metrics=document.metrics,
        backends=document.backends,
        passthrough=document.auth.passthrough,
        users=document.auth.users,
    )


def _inherit(mail: Mail, server: Server) -> Server:
    """Return the server with each option that it does not set taken from ``[mail]``; lists are not merged."""
    inherited = (mail.model_fields_set & set(Options.model_fields)) - server.model_fields_set
    values = {key: getattr(mail, key) for key in inherited}
    values["auth"] = _choose_auth(server) or _choose_auth(mail) or server.auth
    if values["auth"] != "http":
        values["auth_http"] = None
    return server.model_copy(update=values)


def _choose_auth(level: Options) -> str | None:
    """Return the auth source that this level chooses; auth_http alone chooses http."""
    if "auth" in level.model_fields_set:
        return level.auth
    return "http" if "auth_http" in level.model_fields_set else None
