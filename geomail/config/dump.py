"""A configuration back to TOML: every server complete, secrets masked, origins beside the values."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator

from geomail.config.lines import KeyPath
from geomail.config.schema import Config, Options, Process, Server, Table, keys_of
from geomail.config.source import Source
from geomail.config.toml_text import toml_key, toml_value

_COMMENT_COLUMN = 56
_OWN_KEYS = tuple(key for key in Server.model_fields if key not in Options.model_fields)


def dump(config: Config, source: Source) -> str:
    """The effective configuration, as a file that means the same but for its secrets.

    The comment behind a value tells the line that it comes from; a value
    without one is the default. An option that is not set stands in a comment.
    """
    return "\n".join(_lines(config, source)) + "\n"


def _lines(config: Config, source: Source) -> Iterator[str]:
    yield f"# effective configuration of {json.dumps(source.file)}"
    yield "# behind a value: the line it comes from, in that file; nothing: it is the default"
    yield ""
    yield from _table(config, keys_of(Process), source, _origin_in(source, ()))
    for name, table in (("log", config.log), ("control", config.control), ("metrics", config.metrics)):
        yield f"\n[{name}]"
        yield from _table(table, keys_of(type(table)), source, _origin_in(source, (name,)))
    for index, server in enumerate(config.servers):
        yield "\n[[mail.server]]"
        yield from _table(server, (*_OWN_KEYS, *Options.model_fields), source, _server_origin(source, index))
    yield from _auth("passthrough", config.passthrough, ("domains", "users"), source)
    yield from _auth("users", config.users, ("domains",), source)
    for name, backend in config.backends.items():
        yield f"\n[backends.{toml_key(name)}]"
        yield from _table(backend, keys_of(type(backend)), source, _origin_in(source, ("backends", name)))


def _auth(name: str, table: Table, inner: Collection[str], source: Source) -> Iterator[str]:
    """The table of an auth source; ``inner`` are its keys that are tables themselves."""
    base: KeyPath = ("auth", name)
    if not source.has(base):
        return
    yield f"\n[auth.{name}]"
    own = [key for key in keys_of(type(table)) if key not in inner]
    yield from _table(table, own, source, _origin_in(source, base))
    for key in inner:
        targets = getattr(table, key)
        if targets:
            yield f"\n[auth.{name}.{key}]"
            yield from (f"{toml_key(route)} = {toml_value(backend)}" for route, backend in targets.items())


Origin = Callable[[str], KeyPath | None]


def _server_origin(source: Source, index: int) -> Origin:
    return lambda key: source.origin(index, key)


def _origin_in(source: Source, base: KeyPath) -> Origin:
    return lambda key: (*base, key) if source.has((*base, key)) else None


def _table(table: Table, keys: Collection[str], source: Source, origin: Origin) -> Iterator[str]:
    values = table.model_dump(include=set(keys))
    for key in keys:
        if values[key] is None:
            yield f"# {key} is not set: {type(table).model_fields[key].description}"
            continue
        line = f"{key} = {toml_value(values[key])}"
        path = origin(key)
        yield f"{line:<{_COMMENT_COLUMN}}  # line {source.line(path)}" if path else line
