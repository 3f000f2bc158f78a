"""Selections of sessions: by user, client, server, protocol, backend, id and outcome.

Patterns are like in ``doveadm who``: ``*`` is any text, ``?`` any character,
and case does not matter. A client can also be named by its address or network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from geomail.errors import GeomailError

#: The fields by which sessions and their events can be selected.
FIELDS = ("user", "client", "server", "protocol", "backend", "session", "outcome")
#: Patterns for one field: ``kick`` may name many session ids one by one.
MOST_PATTERNS = 1000
LONGEST_PATTERN = 1000

Test = Callable[[str], object]


class BadSelection(GeomailError):
    """A selection that cannot be understood; the text says why."""


class Selection:
    """Patterns by field: a session must match one pattern of each. Without fields, every session matches.

    Raises BadSelection.
    """

    def __init__(self, patterns: Mapping[str, Iterable[str]]) -> None:
        self._tests: list[tuple[str, Test]] = []
        for field, given in patterns.items():
            if field not in FIELDS:
                raise BadSelection(
                    f"sessions cannot be selected by {field!r}; use one of {', '.join(FIELDS)}"
                )
            self._tests.append((field, _make_test(field, list(given))))

    def __bool__(self) -> bool:
        """Tell whether the selection leaves any session out."""
        return bool(self._tests)

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Tell whether a session, or an event of one, is selected; a missing field matches no pattern."""
        return all(field in fields and test(fields[field]) for field, test in self._tests)


def parse_selection(value: object) -> Selection:
    """Read the selection in a request: an object of fields, each with one pattern or an array of them.

    Raises BadSelection.
    """
    if not isinstance(value, dict):
        raise BadSelection('select: must be an object, like {"user": ["jane*"]}')
    patterns = {field: [given] if isinstance(given, str) else given for field, given in value.items()}
    for field, given in patterns.items():
        if not isinstance(given, list) or not all(isinstance(pattern, str) for pattern in given):
            raise BadSelection(f"{field}: must be a text or an array of texts")
    return Selection(patterns)


def _make_test(field: str, patterns: list[str]) -> Test:
    if len(patterns) > MOST_PATTERNS or any(len(pattern) > LONGEST_PATTERN for pattern in patterns):
        raise BadSelection(f"{field}: at most {MOST_PATTERNS} patterns of {LONGEST_PATTERN} characters each")
    if field == "client":
        return _match_any([_make_client_test(pattern) for pattern in patterns])
    if field == "session" and not any(_has_wildcards(pattern) for pattern in patterns):
        return frozenset(patterns).__contains__
    test = _match_any([_make_pattern_test(pattern) for pattern in patterns])
    return test if field != "backend" else lambda label: any(map(test, _split_label(label)))


def _match_any(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)


def _has_wildcards(text: str) -> bool:
    return "*" in text or "?" in text


def _make_pattern_test(pattern: str) -> Test:
    # ``translate`` makes atomic groups, which never backtrack: the time grows only with the length of a name.
    return re.compile(translate(pattern.replace("[", "[[]")), re.IGNORECASE).match


def _make_client_test(pattern: str) -> Test:
    if _has_wildcards(pattern) or pattern.startswith("unix:"):
        return _make_pattern_test(pattern)
    try:
        network = ip_network(pattern, strict=False)
    except ValueError:
        text = f"client: {pattern!r} is not an address, network or pattern"
        raise BadSelection(f"{text}: use 192.0.2.7, 192.0.2.0/24 or 192.0.2.*") from None
    return lambda client: _is_within(client, network)


def _is_within(client: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address) in network


def _split_label(label: str) -> tuple[str, ...]:
    """Return the names of a backend ``192.0.2.1:143 (dc)``: the whole label, its address, and its name."""
    address, _, name = label.partition(" (")
    return (label, address, name.removesuffix(")")) if name else (label,)
