"""Find, read and check a configuration file; all problems at once.

TOML is read, each table is validated by its model, every server gets what it
inherits, and the checks look at the whole. A value that is wrong is left out
and the rest goes on, so that one mistake does not hide another.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from geomail.config.checks import check
from geomail.config.lines import KeyPath, scan
from geomail.config.messages import describe, meant_key
from geomail.config.schema import Config, Document, Mail, Options, Server
from geomail.config.source import Source
from geomail.errors import ConfigError, Problem

DEFAULT_PATH = Path("/etc/geomail/geomail.toml")
#: pydantic's word for an option whose default depends on a value that is itself wrong.
_FOLLOWS_FROM_ANOTHER = "default_factory_not_called"
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def find_config(option: Path | None) -> Path:
    """The file to read: the option ``-c``, else ``GEOMAIL_CONFIG``, else the default path."""
    if option is not None:
        return option
    return Path(os.environ.get("GEOMAIL_CONFIG") or DEFAULT_PATH)


def load(path: Path) -> Config:
    """The complete configuration in a file. Raises ConfigError with every problem."""
    config, problems = examine(path)
    if config is None:
        raise ConfigError(problems)
    return config


def examine(path: Path) -> tuple[Config | None, list[Problem]]:
    """The configuration in a file, None if it has an error, and all errors and warnings."""
    found = inspect(path)
    return found.config, list(found.problems)


@dataclass(frozen=True)
class Inspection:
    """What came of reading a file; ``source`` tells where in it things stand."""

    config: Config | None
    problems: tuple[Problem, ...]
    source: Source


def inspect(path: Path) -> Inspection:
    """Read and check a file, as :func:`examine` does, and keep what it said."""
    try:
        text = path.read_bytes().decode()
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return _unreadable(str(path), error)
    source = Source(str(path), content, scan(text))
    document, problems = _validate(source, path.parent)
    config = _complete(document)
    problems += check(config, source)
    problems = sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
    failed = any(problem.severity == "error" for problem in problems)
    return Inspection(None if failed else config, tuple(problems), source)


def _unreadable(file: str, error: Exception) -> Inspection:
    line, text = 0, str(error)
    if isinstance(error, OSError):
        text = f"cannot be read: {error.strerror}"
    elif isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        text = "this line is not valid UTF-8"
    elif place := _TOML_PLACE.search(text):
        line, text = int(place[1] or 0), text[: place.start()]
    return Inspection(None, (Problem(file, line, "", text),), Source(file, {}, {}))


def _validate(source: Source, folder: Path) -> tuple[Document, list[Problem]]:
    """The document without the values that are wrong, and what is wrong with those."""
    problems: list[Problem] = []
    content: Any = source.content
    while True:
        try:
            document = Document.model_validate(content, context={"folder": str(folder.absolute())})
        except ValidationError as failed:
            for error in failed.errors(include_url=False):
                if error["type"] == _FOLLOWS_FROM_ANOTHER:
                    continue
                problems.append(source.problem(error["loc"], describe(error)))
                part = _broken_part(source, error)
                source.broken.add(part)
                content = _without(content, part)
        else:
            return document, problems


def _broken_part(source: Source, error: ErrorDetails) -> KeyPath:
    """What to leave out: the key whose value is wrong, or the table that lacks a key."""
    path = error["loc"]
    if error["type"] == "missing":
        return path[:-1]
    if error["type"] == "extra_forbidden" and (meant := meant_key(path)):
        source.broken.add((*path[:-1], meant))
    in_tables = [length for length in range(len(path)) if isinstance(source.value(path[:length]), dict)]
    return path[: in_tables[-1] + 1]


def _without(value: Any, path: KeyPath) -> Any:
    """A copy of nested tables and arrays that lacks what stands at the path."""
    step, rest = path[0], path[1:]
    if isinstance(value, dict) and step in value:
        return {
            key: _without(kept, rest) if key == step else kept
            for key, kept in value.items()
            if rest or key != step
        }
    if isinstance(value, list):
        return [_without(kept, rest) if index == step else kept for index, kept in enumerate(value)]
    return value


def _complete(document: Document) -> Config:
    """The configuration with the inheritance resolved."""
    servers = tuple(_inherit(document.mail, server) for server in document.mail.server)
    return Config(servers=servers, backends=document.backends, passthrough=document.auth.passthrough)


def _inherit(mail: Mail, server: Server) -> Server:
    """The server with what it does not set itself taken from ``[mail]``; lists are taken whole."""
    inherited = (mail.model_fields_set & set(Options.model_fields)) - server.model_fields_set
    values = {key: getattr(mail, key) for key in inherited}
    values["auth"] = _auth_of(server) or _auth_of(mail) or server.auth
    if values["auth"] == "passthrough":
        values["auth_http"] = None
    return server.model_copy(update=values)


def _auth_of(level: Options) -> str | None:
    """The auth source that this level chooses; auth_http alone chooses http."""
    if "auth" in level.model_fields_set:
        return level.auth
    return "http" if "auth_http" in level.model_fields_set else None
