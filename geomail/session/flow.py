"""The flow of one client from accept to the relay, the same for all protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

from geomail.auth.base import Accepted, Refused
from geomail.errors import (
    BackendGarbage,
    BackendRefused,
    Farewell,
    LoginDenied,
    PeerTimeout,
    TooManyErrors,
)
from geomail.events import LoginRefused, RelayStarted, SessionOpened
from geomail.net.relay import Relay
from geomail.net.timing import TimeLimit, now
from geomail.protocols.base import pass_on
from geomail.secrets import conceal
from geomail.session.preface import run_preface

if TYPE_CHECKING:
    from geomail.net.tls import TlsChannel
    from geomail.parties import Login
    from geomail.protocols.base import Frontend
    from geomail.session.session import Session


def reach_relay(session: Session) -> Relay | None:
    """Take the client from accept to the relay, and return the relay; None if the client quits before."""
    service = session.service
    if service.events.wants(SessionOpened):
        service.events.emit(SessionOpened(*session.record.make_heading()))
    run_preface(session.wire, session.client, service, session.listen, session.remark, session.end)
    session.record.meet(session.client)
    if service.tracing.traces:
        session.begin_trace()
    session.frontend = frontend = service.protocol.frontend(session.wire, session.client)
    with _limit_login(session):
        frontend.greet()
        login = frontend.login()
    attempt = 0
    while login is not None:
        attempt += 1
        answer = _wait_for_answer(session, login, attempt)
        if not isinstance(answer, Refused):
            silence = "client does not read its welcome"
            with TimeLimit(session.service.server.timeout, blame="client", private=silence):
                frontend.accept(answer)
            return _start_relay(session)
        login = _ask_again(session, frontend, answer, attempt)
    session.record.end("quit", "client")
    return None


def _limit_login(session: Session) -> TimeLimit:
    late = "client did not log in within {seconds} s"
    return TimeLimit(session.service.server.timeout, blame="client", private=late)


def _wait_for_answer(session: Session, login: Login, attempt: int) -> tuple[bytes, ...] | Refused:
    """Return the backend's answer to a login, or the refusal after its wait.

    If the client leaves meanwhile, its session ends.
    """
    session.record.note_login(login)
    session.trace.learn(login.credentials.secret)
    lookout = session.service.lookout
    lookout.begin(session.wire, session.end)
    try:
        answer = _admit(session, login, attempt)
        if isinstance(answer, Refused) and answer.wait:
            gevent.sleep(answer.wait)
    finally:
        lookout.end(session.wire)
    return answer


def _admit(session: Session, login: Login, attempt: int) -> tuple[bytes, ...] | Refused:
    """Ask the auth source, and log in at the backend; return the backend's answer, or the refusal."""
    source, protocol = session.service.source, session.service.protocol.name
    if session.wire.channel is not None and session.client.tls is None:
        _note_tls(session, session.wire.channel)
    began = now()
    verdict = source.check(login, session.client, protocol, attempt)
    session.record.auth_time = now() - began
    if isinstance(verdict, Refused):
        reason = verdict.reason or _hide_password(login.credentials.secret, verdict.refusal.text)
        session.trace.note("the auth source refuses: %s", reason)
        _emit_refusal(session, reason, "auth")
        return verdict
    try:
        return _log_in(session, login, verdict)
    except BackendRefused as refused:
        _leave_backend(session)
        if refused.credentials:
            source.note_backend_refusal(login, session.client, protocol)
        if not (source.passthrough and refused.credentials):
            if login.rewrite(verdict.user, verdict.password) is not login:
                refused.farewell = Farewell.INTERNAL_ERROR  # these were not the client's own credentials
            raise
        _emit_refusal(session, str(refused), "backend")
        refusal = pass_on(refused, session.service.server.proxy_pass_error_message)
        return Refused(refusal, wait=0.0, close=False)


def _note_tls(session: Session, channel: TlsChannel) -> None:
    client = session.client
    client.tls = channel.version_and_cipher
    if session.service.server.ssl_verify_client != "off":
        client.certificate = channel.client_certificate
    if session.service.server.proxy_protocol == "v2":
        client.tls_details = channel.details


def _ask_again(session: Session, frontend: Frontend, refused: Refused, attempt: int) -> Login | None:
    """Refuse the login, and return the client's next one; None if the client quits."""
    most = session.service.server.max_login_attempts
    with _limit_login(session):
        frontend.refuse(refused.refusal)
        if refused.close:
            raise LoginDenied("login refused", blame="auth")
        if most and attempt >= most:
            raise TooManyErrors(f"{attempt} failed logins (max_login_attempts)", blame="client")
        return frontend.login()


def _log_in(session: Session, login: Login, verdict: Accepted) -> tuple[bytes, ...]:
    """Log in at the backend as the auth source says; return the answer for the client."""
    login = login.rewrite(verdict.user, verdict.password)
    session.record.note_login(login)
    session.trace.learn(login.credentials.secret)
    try:
        late = "backend did not answer within {seconds} s"
        with TimeLimit(session.service.server.timeout, blame="backend", private=late):
            return _dial(session, login, verdict)
    except PeerTimeout as silence:
        silence.step = session.backend.step if session.backend is not None else "connect"
        raise
    except (BackendGarbage, BackendRefused) as error:  # the backend may have repeated the password
        error.args = (conceal(str(error), login.credentials.secret),)
        raise
    finally:
        for remark in session.backend.remarks if session.backend is not None else ():
            session.remark(remark)


def _dial(session: Session, login: Login, verdict: Accepted) -> tuple[bytes, ...]:
    service, record = session.service, session.record
    began = now()
    for attempt in service.backends.dial(verdict.route, service.protocol.name, service.resolver):
        record.backend, record.state = attempt.endpoint.full_label, "backend"
        session.trace.note("the auth source accepts: to %s", record.backend)
        with attempt as backend:
            session.backend = backend
            connected = now()
            record.connect_time = connected - began
            backend.tracer = session.trace.make_tracer("backend")
            options = service.options[attempt.endpoint.tls]
            answer = service.protocol.handshake(backend, login, session.client, options)
            record.login_time = now() - connected
            return answer
    raise AssertionError("a route has at least one candidate")


def _leave_backend(session: Session) -> None:
    session.record.state = "login"
    if session.backend is not None:
        session.backend.close()
        session.backend = None


def _start_relay(session: Session) -> Relay:
    assert session.backend is not None
    service, record = session.service, session.record
    record.state, record.relayed = "relay", True
    if service.events.wants(RelayStarted):
        times = (record.auth_time, record.connect_time, record.login_time)
        login = (record.user, record.method, record.backend)
        service.events.emit(RelayStarted(*session.record.make_heading(), *login, *times))
    session.trace.note("relay begins: what is said from here on is not shown")
    session.trace = session.trace.forget()
    session.wire.tracer = session.backend.tracer = None
    session.frontend = None  # the relay does not need it, and most sessions are relays
    session.forget_client()
    return Relay(
        *(session.wire, session.backend, service.crew, service.pipes, service.parking),
        buffer=session.service.server.proxy_buffer,
        idle=session.service.server.proxy_timeout,
    )


def _emit_refusal(session: Session, reason: str, by: str) -> None:
    record = session.record
    record.refusals += 1
    backend = record.backend if by == "backend" else ""
    heading = (*record.make_heading(), record.user, record.method)
    session.service.events.emit(LoginRefused(*heading, backend, reason, by))


def _hide_password(password: bytes, words: bytes) -> str:
    """Hide the password in the words of an auth service; blanks at the end of a header are not part of it.

    Never use this on geomail's own words: a star in "wrong password" would reveal "wrong".
    """
    return conceal(words.decode("utf-8", "replace"), password.strip(b" \t"))
