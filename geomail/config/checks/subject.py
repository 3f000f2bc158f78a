"""A server under examination, and the checks that are made of each."""

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
#: Stands for the option that lists the login methods of the server's protocol.
METHODS = "methods"


@dataclass(frozen=True)
class Subject:
    """A server under examination."""

    server: Server
    index: int
    source: Source
    config: Config

    def error(self, key: str, text: str) -> Problem:
        """An error in an option, or in the server as such if the option stands nowhere."""
        return self.source.problem(self._place(key), text)

    def warning(self, key: str, text: str) -> Problem:
        """A warning; the place is found as for an error."""
        return self.source.problem(self._place(key), text, "warning")

    @property
    def methods(self) -> tuple[str, ...]:
        """The login methods of the server; none while its protocol is unknown."""
        return self.server.methods if self.server.protocol in FACTS else ()

    @property
    def methods_option(self) -> str:
        """The option that decides about :attr:`methods`."""
        return self.server.methods_option if self.server.protocol in FACTS else "protocol"

    def is_sound(self, key: str) -> bool:
        """Whether the option's value can be relied upon, wherever it comes from."""
        key = self.methods_option if key == METHODS else key
        own: KeyPath = ("mail", "server", self.index, key)
        return self.source.is_sound(own) and (self.source.has(own) or self.source.is_sound(("mail", key)))

    def _place(self, key: str) -> KeyPath:
        return self.source.origin(self.index, key) or ("mail", "server", self.index)


Check = Callable[[Subject], Iterator[Problem]]


class Checks(list[tuple[Check, tuple[str, ...]]]):
    """Checks of single servers, each with the options that it reads."""

    def reads(self, *keys: str) -> Callable[[Check], Check]:
        """Add a check that reads these options: one that is broken silences it."""

        def add(function: Check) -> Check:
            self.append((function, keys))
            return function

        return add

    def problems(self, subject: Subject) -> Iterator[Problem]:
        """What the checks find."""
        for function, keys in self:
            if all(subject.is_sound(key) for key in keys):
                yield from function(subject)
