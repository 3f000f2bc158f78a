"""The helpers of the tests of the auth sources."""

from collections.abc import Callable
from typing import Any

import gevent

from geomail.auth import make_source
from geomail.auth.base import Accepted, Source, Verdict
from geomail.backends import Backends
from geomail.backends.endpoint import Endpoint
from geomail.backends.resolvers import make_resolver
from geomail.config.schema import Backend, Config, Passthrough
from tests.protocols.support import server

BACKENDS = {
    name: Backend.model_validate({"name": name, "address": address})
    for name, address in {
        "one": "192.0.2.11:143",
        "two": "192.0.2.12:143",
        "three": "imap.example.test:143",
        "six": "[2001:db8::6]:143",
        "local": "unix:/run/mail",
    }.items()
}


RESOLVER = make_resolver(server("imap"))


def source(protocol: str, *, routes: dict[str, Any] | None = None, **options: Any) -> Source:
    """Make the source of a server with these options, as ``serve`` does."""
    configured = server(protocol, **options)
    config = Config(
        servers=(configured,), backends=BACKENDS, passthrough=Passthrough.model_validate(routes or {})
    )
    resolver = make_resolver(configured)
    return make_source(configured, config, Backends(config.backends), resolver)


def endpoint(verdict: Verdict, protocol: str = "imap") -> Endpoint:
    """Return the first candidate of an accepted login's route."""
    assert isinstance(verdict, Accepted)
    return Backends(BACKENDS).find_candidates(verdict.route, protocol, RESOLVER)[0]


def wait_until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    """Let other greenlets run until a condition is true."""
    with gevent.Timeout(seconds):
        while not is_so():
            gevent.sleep(0.002)
