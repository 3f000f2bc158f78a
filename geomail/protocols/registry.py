"""The class of each protocol in :data:`geomail.protocols.facts.FACTS`."""

from __future__ import annotations

from pkgutil import resolve_name

from geomail.protocols.base import Protocol
from geomail.protocols.facts import FACTS

#: By the value of the ``protocol`` option.
PROTOCOLS: dict[str, type[Protocol]] = {
    name: resolve_name(facts.implementation) for name, facts in FACTS.items()
}
