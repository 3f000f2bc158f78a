"""Which sessions are meant: by user, client, server, protocol, backend, id and outcome.

Masks are those of ``doveadm who``: ``*`` is any text, ``?`` any character, and
case does not matter. A client is also named by its address or network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from geomail.errors import GeomailError

#: What sessions and their events can be chosen by: names of their fields.
FIELDS = ("user", "client", "server", "protocol", "backend", "session", "outcome")
#: Masks in one selection; ids that ``kick`` names one by one are many.
MOST_MASKS = 1000
LONGEST_MASK = 1000

Test = Callable[[str], object]


class BadSelection(GeomailError):
    """A selection cannot be understood; the text says why."""


class Selection:
    """For each field that is named, one of its masks must match; with no field named it is everything.

    Raises BadSelection.
    """

    def __init__(self, masks: Mapping[str, Iterable[str]]) -> None:
        self._tests: list[tuple[str, Test]] = []
        for field, given in masks.items():
            if field not in FIELDS:
                raise BadSelection(f"sessions cannot be chosen by {field!r}; possible: {', '.join(FIELDS)}")
            self._tests.append((field, _test(field, list(given))))

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self._tests)

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Whether a session, or an event of one, is meant; a field that it lacks matches nothing."""
        return all(field in fields and test(fields[field]) for field, test in self._tests)


def selection_from(value: object) -> Selection:
    """The selection in a request: an object of fields and masks, one text or several. Raises BadSelection."""
    if not isinstance(value, dict):
        raise BadSelection('a selection is an object: {"user": ["jane*"]}')
    masks = {field: [given] if isinstance(given, str) else given for field, given in value.items()}
    for field, given in masks.items():
        if not isinstance(given, list) or not all(isinstance(mask, str) for mask in given):
            raise BadSelection(f"{field}: a text or an array of texts is wanted")
    return Selection(masks)


def _test(field: str, masks: list[str]) -> Test:
    if len(masks) > MOST_MASKS or any(len(mask) > LONGEST_MASK for mask in masks):
        raise BadSelection(f"{field}: at most {MOST_MASKS} masks of {LONGEST_MASK} characters each")
    if field == "client":
        return _any_of([_client_test(mask) for mask in masks])
    if field == "session" and not any(_is_mask(mask) for mask in masks):
        return frozenset(masks).__contains__
    test = _any_of([_mask_test(mask) for mask in masks])
    return test if field != "backend" else lambda label: any(map(test, _names_of(label)))


def _any_of(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)


def _is_mask(text: str) -> bool:
    return "*" in text or "?" in text


def _mask_test(mask: str) -> Test:
    # Groups that never give back what they took keep a long name from costing more than it is long.
    return re.compile(translate(mask.replace("[", "[[]")), re.IGNORECASE).match


def _client_test(mask: str) -> Test:
    if _is_mask(mask) or mask.startswith("unix:"):
        return _mask_test(mask)
    try:
        network = ip_network(mask, strict=False)
    except ValueError:
        raise BadSelection(f"client: {mask!r} is no address, network or mask") from None
    return lambda client: _within(client, network)


def _within(client: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        address = ip_address(client)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address) in network


def _names_of(label: str) -> tuple[str, ...]:
    """What a backend may be called by: ``192.0.2.1:143 (dc)`` as a whole, its address, and its name."""
    address, _, name = label.partition(" (")
    return (label, address, name.removesuffix(")")) if name else (label,)
