"""The server that a check examines, and the list of checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from geomail.config.lines import KeyPath
from geomail.config.schema import Config, Server
from geomail.config.source import Source
from geomail.errors import Problem
from geomail.protocols.facts import FACTS

#: Ports on which clients expect TLS from the start.
IMPLICIT_TLS_PORTS = frozenset(port for facts in FACTS.values() for port in facts.implicit_tls_ports)
#: A key that means the option with the login methods of the server's protocol.
METHODS = "methods"


@dataclass(frozen=True)
class Subject:
    """The server that a check examines, in its configuration."""

    server: Server
    index: int
    source: Source
    config: Config

    def make_error(self, key: str, text: str) -> Problem:
        """Return an error in an option, or in the server itself if the file does not set the option."""
        return self.source.make_problem(self._find_place(key), text)

    def make_warning(self, key: str, text: str) -> Problem:
        """Return a warning, at the same place as an error."""
        return self.source.make_problem(self._find_place(key), text, "warning")

    @property
    def methods(self) -> tuple[str, ...]:
        """The login methods of the server; none while its protocol is unknown."""
        return self.server.methods if self.server.protocol in FACTS else ()

    @property
    def methods_option(self) -> str:
        """The option that decides about :attr:`methods`."""
        return self.server.methods_option if self.server.protocol in FACTS else "protocol"

    def is_sound(self, key: str) -> bool:
        """Tell whether the option's value is valid, in the server or in ``[mail]``."""
        key = self.methods_option if key == METHODS else key
        own: KeyPath = ("mail", "server", self.index, key)
        return self.source.is_sound(own) and (self.source.has(own) or self.source.is_sound(("mail", key)))

    def _find_place(self, key: str) -> KeyPath:
        return self.source.find_origin(self.index, key) or ("mail", "server", self.index)


Check = Callable[[Subject], Iterator[Problem]]


class Checks(list[tuple[Check, tuple[str, ...]]]):
    """The checks of a server, each with the options that it reads."""

    def register(self, *keys: str) -> Callable[[Check], Check]:
        """Add a check that reads these options. It does not run if one of them is wrong."""

        def add(function: Check) -> Check:
            self.append((function, keys))
            return function

        return add

    def find_problems(self, subject: Subject) -> Iterator[Problem]:
        """Run the checks on a server."""
        for function, keys in self:
            if all(subject.is_sound(key) for key in keys):
                yield from function(subject)
