"""A configuration written back as TOML: complete servers, masked secrets, the origin of each value."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator

from geomail.config.lines import KeyPath
from geomail.config.schema import Config, Options, Process, Server, Table, list_keys
from geomail.config.source import Source
from geomail.config.toml_text import write_toml_key, write_toml_value

_COMMENT_COLUMN = 56
_OWN_KEYS = tuple(key for key in Server.model_fields if key not in Options.model_fields)


def dump(config: Config, source: Source) -> str:
    """Write the effective configuration as a file with the same meaning, except for its secrets.

    The comment after a value tells the line that it comes from; a value
    without one is the default. A comment names each option that is not set.
    """
    return "\n".join(_write_lines(config, source)) + "\n"


def _write_lines(config: Config, source: Source) -> Iterator[str]:
    yield f"# effective configuration of {json.dumps(source.file)}"
    yield "# the comment after a value is its line in that file; a value without one is the default"
    yield ""
    yield from _write_table(config, list_keys(Process), source, _make_finder(source, ()))
    for name, table in (("log", config.log), ("control", config.control), ("metrics", config.metrics)):
        yield f"\n[{name}]"
        yield from _write_table(table, list_keys(type(table)), source, _make_finder(source, (name,)))
    for index, server in enumerate(config.servers):
        yield "\n[[mail.server]]"
        yield from _write_table(
            server, (*_OWN_KEYS, *Options.model_fields), source, _make_server_finder(source, index)
        )
    yield from _write_auth("passthrough", config.passthrough, ("domains", "users"), source)
    yield from _write_auth("users", config.users, ("domains",), source)
    for name, backend in config.backends.items():
        yield f"\n[backends.{write_toml_key(name)}]"
        yield from _write_table(
            backend, list_keys(type(backend)), source, _make_finder(source, ("backends", name))
        )


def _write_auth(name: str, table: Table, inner: Collection[str], source: Source) -> Iterator[str]:
    """Write the table of an auth source; ``inner`` are its keys that are tables themselves."""
    base: KeyPath = ("auth", name)
    if not source.has(base):
        return
    yield f"\n[auth.{name}]"
    own = [key for key in list_keys(type(table)) if key not in inner]
    yield from _write_table(table, own, source, _make_finder(source, base))
    for key in inner:
        targets = getattr(table, key)
        if targets:
            yield f"\n[auth.{name}.{key}]"
            yield from (
                f"{write_toml_key(route)} = {write_toml_value(backend)}" for route, backend in targets.items()
            )


FindOrigin = Callable[[str], KeyPath | None]


def _make_server_finder(source: Source, index: int) -> FindOrigin:
    return lambda key: source.find_origin(index, key)


def _make_finder(source: Source, base: KeyPath) -> FindOrigin:
    return lambda key: (*base, key) if source.has((*base, key)) else None


def _write_table(table: Table, keys: Collection[str], source: Source, origin: FindOrigin) -> Iterator[str]:
    values = table.model_dump(include=set(keys))
    for key in keys:
        if values[key] is None:
            yield f"# {key} is not set: {type(table).model_fields[key].description}"
            continue
        line = f"{key} = {write_toml_value(values[key])}"
        path = origin(key)
        yield f"{line:<{_COMMENT_COLUMN}}  # line {source.find_line(path)}" if path else line
