"""What is wrong between servers: addresses taken twice, caches of two sizes; and words given twice."""

from __future__ import annotations

from collections.abc import Iterator

from geomail.config.address import Address, canonical, is_literal, is_public, wildcard_of
from geomail.config.lines import KeyPath
from geomail.config.listen import Listen
from geomail.config.schema import Config
from geomail.config.source import Source
from geomail.config.units import parse_size, shown
from geomail.errors import Problem
from geomail.protocols.facts import FACTS

_WORD_LISTS = (
    *(facts.methods_option for facts in FACTS.values() if facts.methods_option),
    *(facts.capabilities_option for facts in FACTS.values() if facts.capabilities_option),
    "ssl_protocols",
)


def taken_addresses(config: Config, source: Source) -> Iterator[Problem]:
    """The same address and port twice, on one server or on two; and what a wildcard makes meaningless."""
    listens = list(_single_listens(config))
    first = {canonical(listen): (path, listen) for path, listen in reversed(listens)}
    for path, listen in listens:
        there, _ = first[canonical(listen)]
        if there != path:
            text = f"{listen.label} is given twice; the first is in line {source.line(there)}"
            yield source.problem(path, text)
            continue
        there, both = first.get(canonical(Address("::", listen.port)), (path, listen))
        # beside a wildcard of its own family an address has no socket, which could be in the way
        alone = listen.host == "0.0.0.0" or canonical(Address("0.0.0.0", listen.port)) not in first
        if (
            is_literal(listen.host)
            and ":" not in listen.host
            and alone
            and there != path
            and not both.ipv6only
        ):
            text = f"is taken: {both.label} in line {source.line(there)} is on all IPv4 addresses too"
            yield source.problem(path, f"{listen.label} {text}")
        there, _ = first.get(canonical(Address(wildcard_of(listen.host), listen.port)), (path, listen))
        if there != path and listen.tuned:
            text = f"its clients come in by {wildcard_of(listen.host)}, in line {source.line(there)}"
            yield source.problem(
                path, f"{', '.join(listen.tuned)} of {listen.label}: no effect, {text}", "warning"
            )


def _single_listens(config: Config) -> Iterator[tuple[KeyPath, Listen]]:
    for index, server in enumerate(config.servers):
        for position, listen in enumerate(server.listen):
            for single in listen.each():
                if single.path or single.port:
                    yield ("mail", "server", index, "listen", position), single


def unequal_caches(config: Config, source: Source) -> Iterator[Problem]:
    """A shared session cache that has one size here, another there."""
    first: dict[str, tuple[KeyPath, int]] = {}
    for path in _places("ssl_session_cache", config, source):
        value = source.value(path)
        for word in value.split() if isinstance(value, str) else value:
            kind, _, rest = word.partition(":")
            name, _, size = rest.partition(":")
            if kind == "shared":
                there, known = first.setdefault(name, (path, parse_size(size)))
                if parse_size(size) != known:
                    text = f"the cache {shown(name)} has another size in line {source.line(there)}"
                    yield source.problem(path, text)


def _places(key: str, config: Config, source: Source) -> Iterator[KeyPath]:
    """Wherever the file has a value for an option of servers."""
    tables: list[KeyPath] = [("mail",), *(("mail", "server", index) for index in range(len(config.servers)))]
    for table in tables:
        if source.is_sound((*table, key)) and source.has((*table, key)):
            yield (*table, key)


def repeated_words(config: Config, source: Source) -> Iterator[Problem]:
    """Words that stand twice in one list."""
    for key in _WORD_LISTS:
        for path in _places(key, config, source):
            value = source.value(path)
            words = [word.lower() for word in (value.split() if isinstance(value, str) else value)]
            for word in sorted({word for word in words if words.count(word) > 1}):
                yield source.problem(path, f"{shown(word)} is given twice; once is enough", "warning")


def public_metrics(config: Config, source: Source) -> Iterator[Problem]:
    """Metrics that everybody can read."""
    listen = config.metrics.listen
    if listen is not None and not listen.path and is_public(listen.host):
        text = f"{listen.label} is reached from outside: whoever can, reads how busy which servers are"
        yield source.problem(("metrics", "listen"), text, "warning")
