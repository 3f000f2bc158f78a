"""Traces keep a bounded number of bytes, and show how many lines they dropped."""

from typing import Any

import pytest
from gevent import socket

from geomail.config.schema import Config
from geomail.events import EventStream, TraceLine
from geomail.net.crew import Crew
from geomail.net.parking import Parking
from geomail.net.tls_contexts import make_client_context
from geomail.net.wire import Wire
from geomail.session.service import Surroundings, make_services
from geomail.session.session import Session
from geomail.session.tracing import (
    MOST_SECRETS,
    PRELUDE,
    PRELUDE_BYTES,
    PRELUDES_BYTES,
    SessionTrace,
    Tracing,
)
from tests.net.support import raw
from tests.protocols.support import client_at, server


class Traces:
    """One trace of one user, and the row of a session that it may select."""

    def __init__(self, users: str = "jane") -> None:
        self.shown: list[TraceLine] = []
        self.tracing = Tracing(self.shown.append)
        self.tracing.start(1, {"user": [users]})
        self.session: dict[str, Any] = {
            "session": "s-1", "server": "imap", "protocol": "imap", "client": "192.0.2.7", "user": "",
        }  # fmt: skip

    def traced(self) -> SessionTrace:
        return SessionTrace(self.tracing, lambda: self.session)

    @property
    def lines(self) -> list[str]:
        return [line.line for line in self.shown]


def say(traced: SessionTrace, line: bytes, times: int = 1) -> None:
    tracer = traced.make_tracer("client")
    assert tracer is not None
    for _ in range(times):
        tracer("<", line, "")


def test_a_trace_keeps_a_bounded_number_of_bytes_of_a_session() -> None:
    traces = Traces()
    traced = traces.traced()
    say(traced, b"x" * 4000, times=PRELUDE)

    assert 0 < traces.tracing.kept <= PRELUDE_BYTES
    traces.session["user"] = "jane"
    say(traced, b"logged in")
    kept = sum(len(line) > 2000 for line in traces.lines)
    assert kept == PRELUDE_BYTES // 4320
    assert traces.lines[0] == f"{PRELUDE - kept} earlier lines were not kept"
    assert traces.lines[-1] == "logged in"


def test_a_trace_of_any_user_waits_for_the_name_of_the_user() -> None:
    traces = Traces("*")
    traced = traces.traced()
    say(traced, b"before")
    assert traces.lines == []
    traces.session["user"] = "jane"
    say(traced, b"logged in")

    assert traces.lines == ["before", "logged in"]


def test_empty_lines_count_too() -> None:
    traces = Traces()
    traced = traces.traced()
    say(traced, b"", times=PRELUDE + 50)
    traces.session["user"] = "jane"
    say(traced, b"logged in")

    assert traces.lines[0] == "50 earlier lines were not kept"
    assert len(traces.lines) == 1 + PRELUDE + 1


def test_a_line_may_be_longer_than_the_limit() -> None:
    traces = Traces()
    traced = traces.traced()
    say(traced, b"x" * (PRELUDE_BYTES + 1))
    assert traces.tracing.kept == 0
    traces.session["user"] = "jane"
    say(traced, b"logged in")

    assert traces.lines == ["1 earlier lines were not kept", "logged in"]


def test_a_trace_keeps_a_bounded_number_of_bytes_of_all_sessions() -> None:
    traces = Traces()
    sessions = [traces.traced() for _ in range(PRELUDES_BYTES // PRELUDE_BYTES + 50)]
    for traced in sessions:
        say(traced, b"x" * 8000, times=10)

    assert PRELUDES_BYTES * 0.9 < traces.tracing.kept <= PRELUDES_BYTES
    for traced in sessions:
        traced.forget()
    assert traces.tracing.kept == 0


def test_without_a_running_trace_no_line_is_kept() -> None:
    traces = Traces()
    traced = traces.traced()
    say(traced, b"x" * 100, times=10)
    traces.tracing.stop(1)
    say(traced, b"x")

    assert traces.tracing.kept == 0


@pytest.mark.parametrize(
    "secrets", [[b"s" * 129], [b"secret-%d" % number for number in range(MOST_SECRETS + 1)]]
)
def test_with_too_many_secrets_no_secret_is_kept_and_every_line_is_masked(secrets: list[bytes]) -> None:
    traces = Traces()
    traced = traces.traced()
    for secret in secrets:
        traced.learn(secret)
    traced.learn(b"another one")
    traces.session["user"] = "jane"
    say(traced, b"anything")

    assert traced._secrets == set()
    assert traces.lines == ["********"]


def test_a_session_that_has_ended_keeps_nothing() -> None:
    traces = Traces()
    configured = server("pop3", auth_http="127.0.0.1:9", max_errors=100)
    parking: Parking[int] = Parking(lambda *_: None)
    surroundings = Surroundings(
        *(EventStream(), Crew(), parking, traces.tracing), tell=lambda *_: None, note=lambda *_: None
    )
    (service,) = make_services(Config(servers=(configured,)), surroundings, make_client_context)
    near, far = socket.socketpair()
    with far:
        far.sendall(b"NOOP\r\n" * 20 + b"CAPA\r\nQUIT\r\n")
        session = Session("s-1", service, configured.listen[0], Wire(raw(near), "client", None), client_at())
        session.run()
        assert b"+OK" in far.recv(100_000)
        assert isinstance(session.trace, SessionTrace)
    assert traces.tracing.kept == 0
