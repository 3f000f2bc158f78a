"""Checks of several options together: contradictions, and what is legal but unwise.

``subject``    the server that a check examines
``servers``    the options of one server
``tls``        the TLS options of one server
``addresses``  conflicts between servers
``routes``     backends, and the routes to them
"""

from __future__ import annotations

from collections.abc import Iterator

from geomail.config.checks import servers, tls
from geomail.config.checks.addresses import check_addresses, check_caches, check_metrics, check_repeated_words
from geomail.config.checks.routes import check_backend, check_routes
from geomail.config.checks.subject import Subject
from geomail.config.schema import Config
from geomail.config.source import Source
from geomail.errors import Problem


def check(config: Config, source: Source) -> Iterator[Problem]:
    """Report everything that is wrong or unwise in several values together."""
    if not config.servers and source.is_sound(("mail", "server")):
        yield source.make_problem(
            (), "no [[mail.server]] is defined, so geomail has nothing to serve; add one"
        )
    for index, server in enumerate(config.servers):
        subject = Subject(server, index, source, config)
        yield from servers.CHECKS.find_problems(subject)
        yield from tls.CHECKS.find_problems(subject)
    yield from check_addresses(config, source)
    yield from check_caches(config, source)
    yield from check_repeated_words(config, source)
    yield from check_metrics(config, source)
    yield from check_routes(config, source)
    for name, table in config.backends.items():
        yield from check_backend(name, table, source)
