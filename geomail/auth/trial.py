"""One question to an auth service about a login, with its request, its answer and the findings."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from geomail.auth.base import Accepted
from geomail.auth.judge import Exchange, Finding, Judge
from geomail.errors import SessionError

if TYPE_CHECKING:
    from geomail.auth.base import Verdict
    from geomail.auth.http import HttpSource
    from geomail.backends import Backends
    from geomail.net.http import Answer
    from geomail.net.resolver import Resolver
    from geomail.parties import Client, Login


@dataclass(frozen=True)
class Trial:
    """A request, its answer, and the findings about the answer; secrets are not masked.

    ``verdict`` is None for WAIT, and if there is a ``problem``.
    ``backend`` is the address to which an accepted login goes.
    """

    request: tuple[bytes, ...] = field(repr=False)
    head: tuple[bytes, ...] = field(repr=False)
    verdict: Verdict | None
    backend: str
    problem: str
    findings: tuple[Finding, ...]
    seconds: float


_INTERIM = re.compile(rb"HTTP/\S* 1\d\d")


class _Head:
    """A tracer that keeps the lines before the blank line of an answer, and skips interim answers."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._ended = False

    def __call__(self, direction: str, line: bytes, because: str) -> None:
        if direction == ">" or self._ended:
            return
        self.lines = [one.removesuffix(b"\r") for one in line.split(b"\n")]
        while self.lines and not self.lines[-1]:
            self.lines.pop()
        self._ended = _INTERIM.match(line) is None


def run_trial(
    source: HttpSource,
    login: Login,
    client: Client,
    protocol: str,
    backends: Backends,
    resolver: Resolver,
    *,
    needs_password: bool,
) -> Trial:
    """Ask the auth service about a login once, as ``serve`` does first, and judge its answer.

    ``needs_password``: the backend gets a password. Raises AuthUnavailable if
    geomail cannot put the login into a request.
    """
    source.client.tracer = tracer = _Head()
    request = source.make_question(login, client, protocol, 1)
    started = time.monotonic()
    answer, verdict, problem = _ask(source, request, login, protocol)
    try:
        backend = _find_backend(verdict, protocol, backends, resolver)
    except SessionError as error:
        verdict, backend, problem = None, "", str(error)
    seconds = time.monotonic() - started
    kept, unasked = source.client.pool.idle > 0, not source.client.pool.keeps
    exchange = Exchange(login, protocol, tracer.lines, answer, kept, unasked, needs_password)
    findings = tuple(Judge(exchange, backends).find())
    lines = tuple(request.split(b"\r\n")[:-2])
    return Trial(lines, tuple(tracer.lines), verdict, backend, problem, findings, seconds)


def _find_backend(verdict: Verdict | None, protocol: str, backends: Backends, resolver: Resolver) -> str:
    """Return the address to which an accepted login goes, else empty. Raises SessionError."""
    if not isinstance(verdict, Accepted):
        return ""
    return backends.find_candidates(verdict.route, protocol, resolver)[0].full_label


def _ask(
    source: HttpSource, request: bytes, login: Login, protocol: str
) -> tuple[Answer | None, Verdict | None, str]:
    """Return the answer and its verdict, each None if there is none, and the problem, if any."""
    answer: Answer | None = None
    try:
        answer = source.ask(request)
        return answer, source.read_verdict(answer, login, protocol), ""
    except SessionError as error:
        return answer, None, str(error)
