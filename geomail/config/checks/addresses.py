"""Conflicts between servers (addresses, caches of different sizes), and words that a list has twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from geomail.config.address import Address, choose_wildcard, is_literal, is_public, normalize_address
from geomail.config.lines import KeyPath
from geomail.config.listen import Listen
from geomail.config.schema import Config
from geomail.config.source import Source
from geomail.config.units import parse_size, show
from geomail.errors import Problem
from geomail.protocols.facts import FACTS

_WORD_LISTS = (
    *(facts.methods_option for facts in FACTS.values() if facts.methods_option),
    *(facts.capabilities_option for facts in FACTS.values() if facts.capabilities_option),
    "ssl_protocols",
)


#: Each address, with the path and the ``listen`` that has it first.
_First = Mapping[str, tuple[KeyPath, Listen]]


def check_addresses(config: Config, source: Source) -> Iterator[Problem]:
    """Report addresses that servers have twice, and settings that a wildcard makes useless."""
    listens = list(_list_single_listens(config))
    first = {normalize_address(listen): (path, listen) for path, listen in reversed(listens)}
    for path, listen in listens:
        there, _ = first[normalize_address(listen)]
        if there != path:
            text = f"{listen.label} is given twice; the first is in line {source.find_line(there)}"
            yield source.make_problem(path, f"{text}; remove one")
        else:
            yield from _check_double_stack(path, listen, first, source)
            yield from _check_settings(path, listen, first, source)


def _check_double_stack(path: KeyPath, listen: Listen, first: _First, source: Source) -> Iterator[Problem]:
    """Report an IPv4 address that an IPv6 wildcard with ``ipv6only=off`` takes too."""
    there, both = first.get(normalize_address(Address("::", listen.port)), (path, listen))
    # An address beside a wildcard of its own family has no socket, so it cannot be in the way.
    alone = listen.host == "0.0.0.0" or normalize_address(Address("0.0.0.0", listen.port)) not in first
    is_ipv4 = is_literal(listen.host) and ":" not in listen.host
    if is_ipv4 and alone and there != path and not both.ipv6only:
        text = f"is taken: {both.label} in line {source.find_line(there)} also listens on all IPv4 addresses"
        yield source.make_problem(path, f"{listen.label} {text}; remove one, or write ipv6only=on there")


def _check_settings(path: KeyPath, listen: Listen, first: _First, source: Source) -> Iterator[Problem]:
    """Warn of settings of an address whose connections come in by a wildcard's socket."""
    wildcard = choose_wildcard(listen.host)
    there, _ = first.get(normalize_address(Address(wildcard, listen.port)), (path, listen))
    if there != path and listen.changed_settings:
        settings = f"{', '.join(listen.changed_settings)} of {listen.label}"
        text = f"no effect, as its clients come in by {wildcard} in line {source.find_line(there)}"
        yield source.make_problem(path, f"{settings}: {text}; set it there", "warning")


def _list_single_listens(config: Config) -> Iterator[tuple[KeyPath, Listen]]:
    for index, server in enumerate(config.servers):
        for position, listen in enumerate(server.listen):
            for single in listen.split_ports():
                if single.path or single.port:
                    yield ("mail", "server", index, "listen", position), single


def check_caches(config: Config, source: Source) -> Iterator[Problem]:
    """Report a shared session cache that has different sizes."""
    first: dict[str, tuple[KeyPath, int]] = {}
    for path in _list_places("ssl_session_cache", config, source):
        value = source.get_value(path)
        for word in value.split() if isinstance(value, str) else value:
            kind, _, rest = word.partition(":")
            name, _, size = rest.partition(":")
            if kind == "shared":
                there, known = first.setdefault(name, (path, parse_size(size)))
                if parse_size(size) != known:
                    text = (
                        f"the cache {show(name)} has another size in line {source.find_line(there)}; "
                        "give both the same size"
                    )
                    yield source.make_problem(path, text)


def _list_places(key: str, config: Config, source: Source) -> Iterator[KeyPath]:
    """List every path at which the file sets an option of servers."""
    tables: list[KeyPath] = [("mail",), *(("mail", "server", index) for index in range(len(config.servers)))]
    for table in tables:
        if source.is_sound((*table, key)) and source.has((*table, key)):
            yield (*table, key)


def check_repeated_words(config: Config, source: Source) -> Iterator[Problem]:
    """Report words that a list has twice."""
    for key in _WORD_LISTS:
        for path in _list_places(key, config, source):
            value = source.get_value(path)
            words = [word.lower() for word in (value.split() if isinstance(value, str) else value)]
            for word in sorted({word for word in words if words.count(word) > 1}):
                yield source.make_problem(path, f"{show(word)} is given twice; remove one", "warning")


def check_metrics(config: Config, source: Source) -> Iterator[Problem]:
    """Report metrics that everyone can read."""
    listen = config.metrics.listen
    if listen is not None and not listen.path and is_public(listen.host):
        text = (
            f"{listen.label} can be reached from outside, so anyone can read how busy your servers are; "
            "use an address such as 127.0.0.1"
        )
        yield source.make_problem(("metrics", "listen"), text, "warning")
