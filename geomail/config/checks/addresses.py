"""What is wrong between servers: addresses taken twice, caches of two sizes; and words given twice."""

from __future__ import annotations

from collections.abc import Iterator

from geomail.config.address import Address, choose_wildcard, is_literal, is_public, normalize_address
from geomail.config.lines import KeyPath
from geomail.config.listen import Listen
from geomail.config.schema import Config
from geomail.config.source import Source
from geomail.config.units import parse_size, show
from geomail.errors import Problem

_WORD_LISTS = (
    "smtp_auth",
    "imap_auth",
    "pop3_auth",
    "smtp_capabilities",
    "imap_capabilities",
    "pop3_capabilities",
    "ssl_protocols",
)


def check_addresses(config: Config, source: Source) -> Iterator[Problem]:
    """The same address and port twice, on one server or on two; and what a wildcard makes meaningless."""
    listens = list(_list_single_listens(config))
    first = {normalize_address(listen): (path, listen) for path, listen in reversed(listens)}
    for path, listen in listens:
        there, _ = first[normalize_address(listen)]
        if there != path:
            text = f"{listen.label} is given twice; the first is in line {source.find_line(there)}"
            yield source.make_problem(path, text)
            continue
        there, both = first.get(normalize_address(Address("::", listen.port)), (path, listen))
        # beside a wildcard of its own family an address has no socket, which could be in the way
        alone = listen.host == "0.0.0.0" or normalize_address(Address("0.0.0.0", listen.port)) not in first
        if (
            is_literal(listen.host)
            and ":" not in listen.host
            and alone
            and there != path
            and not both.ipv6only
        ):
            text = f"is taken: {both.label} in line {source.find_line(there)} is on all IPv4 addresses too"
            yield source.make_problem(path, f"{listen.label} {text}")
        there, _ = first.get(
            normalize_address(Address(choose_wildcard(listen.host), listen.port)), (path, listen)
        )
        if there != path and listen.changed_settings:
            text = f"its clients come in by {choose_wildcard(listen.host)}, in line {source.find_line(there)}"
            yield source.make_problem(
                path, f"{', '.join(listen.changed_settings)} of {listen.label}: no effect, {text}", "warning"
            )


def _list_single_listens(config: Config) -> Iterator[tuple[KeyPath, Listen]]:
    for index, server in enumerate(config.servers):
        for position, listen in enumerate(server.listen):
            for single in listen.split_ports():
                if single.path or single.port:
                    yield ("mail", "server", index, "listen", position), single


def check_caches(config: Config, source: Source) -> Iterator[Problem]:
    """A shared session cache that has one size here, another there."""
    first: dict[str, tuple[KeyPath, int]] = {}
    for path in _list_places("ssl_session_cache", config, source):
        value = source.get_value(path)
        for word in value.split() if isinstance(value, str) else value:
            kind, _, rest = word.partition(":")
            name, _, size = rest.partition(":")
            if kind == "shared":
                there, known = first.setdefault(name, (path, parse_size(size)))
                if parse_size(size) != known:
                    text = f"the cache {show(name)} has another size in line {source.find_line(there)}"
                    yield source.make_problem(path, text)


def _list_places(key: str, config: Config, source: Source) -> Iterator[KeyPath]:
    """Wherever the file has a value for an option of servers."""
    tables: list[KeyPath] = [("mail",), *(("mail", "server", index) for index in range(len(config.servers)))]
    for table in tables:
        if source.is_sound((*table, key)) and source.has((*table, key)):
            yield (*table, key)


def check_repeated_words(config: Config, source: Source) -> Iterator[Problem]:
    """Words that stand twice in one list."""
    for key in _WORD_LISTS:
        for path in _list_places(key, config, source):
            value = source.get_value(path)
            words = [word.lower() for word in (value.split() if isinstance(value, str) else value)]
            for word in sorted({word for word in words if words.count(word) > 1}):
                yield source.make_problem(path, f"{show(word)} is given twice; once is enough", "warning")


def check_metrics(config: Config, source: Source) -> Iterator[Problem]:
    """Metrics that everybody can read."""
    listen = config.metrics.listen
    if listen is not None and not listen.path and is_public(listen.host):
        text = f"{listen.label} is reached from outside: whoever can, reads how busy which servers are"
        yield source.make_problem(("metrics", "listen"), text, "warning")
