"""One question to an auth service, with what it said kept: for those who write one."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from geomail.auth.base import Accepted
from geomail.auth.judge import Finding, Judge
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
    """What was asked and answered, unmasked.

    ``verdict`` is None for WAIT, and where ``problem`` says why there is none.
    ``backend`` is the address that an accepted login goes to.
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
    """A tracer that keeps the head of an answer as lines, without the blank one; interim answers left out."""

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


def put_to(
    source: HttpSource,
    login: Login,
    client: Client,
    protocol: str,
    backends: Backends,
    resolver: Resolver,
    *,
    needs_password: bool,
) -> Trial:
    """Ask about a login as ``serve`` would the first time, and judge the answer.

    ``needs_password``: the backend is told one. Raises AuthUnavailable if the
    question cannot be put.
    """
    source.client.tracer = heard = _Head()
    request = source.make_question(login, client, protocol, 1)
    answer: Answer | None = None
    verdict: Verdict | None = None
    backend = problem = ""
    began = time.monotonic()
    try:
        answer = source.ask(request)
        verdict = source.read_verdict(answer, login, protocol)
        if isinstance(verdict, Accepted):
            backend = backends.candidates(verdict.route, protocol, resolver)[0].described
    except SessionError as error:
        verdict, problem = None, str(error)
    seconds = time.monotonic() - began
    judge = Judge(
        heard.lines,
        answer,
        login,
        protocol,
        backends,
        kept=source.client.pool.idle > 0,
        unasked=not source.client.pool.keeps,
        needs_password=needs_password,
    )
    return Trial(
        tuple(request.split(b"\r\n")[:-2]),
        tuple(heard.lines),
        verdict,
        backend,
        problem,
        tuple(judge.findings()),
        seconds,
    )
