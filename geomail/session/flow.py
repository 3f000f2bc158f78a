"""One client from accept to close: the flow that the three protocols share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeGuard

import gevent

from geomail.auth.base import Accepted, Refused
from geomail.backends.connect import connect
from geomail.errors import (
    BackendGarbage,
    BackendRefused,
    Farewell,
    GeomailError,
    LoginDenied,
    PeerTimeout,
    SessionError,
    TooManyErrors,
)
from geomail.events import LoginRefused, RelayStarted, Remark, SessionClosed, SessionOpened
from geomail.net.relay import Relay
from geomail.net.timing import TimeLimit, now
from geomail.parties import Client, Login
from geomail.protocols.base import passed_on
from geomail.secrets import concealed
from geomail.session.preface import preface
from geomail.session.tracing import Traced

if TYPE_CHECKING:
    from geomail.config.schema import Listen
    from geomail.net.crew import Job
    from geomail.net.tls import TlsChannel
    from geomail.net.wire import Wire
    from geomail.protocols.base import Frontend
    from geomail.session.service import Service

#: Seconds for the last words to a client that does not read them.
_FAREWELL = 5.0


class Interruption(BaseException):
    """Thrown into a session to end it with ``error``: nobody on its way takes it for an error of theirs."""

    def __init__(self, error: SessionError) -> None:
        super().__init__(str(error))
        self.error = error


class Session:
    """One client's session; :meth:`run` is its whole life, in one greenlet (two while it relays).

    ``listen`` is what the client came in by. ``job`` is what runs it, set by
    whoever started that, None while nothing does; ``is_parked`` tells, when
    that has ended, that the session has not.
    """

    __slots__ = (
        "_auth_time",
        "_backend",
        "_backend_label",
        "_client",
        "_connect_time",
        "_ending",
        "_frontend",
        "_listen",
        "_login_time",
        "_method",
        "_outcome",
        "_peer",
        "_reason",
        "_refusals",
        "_server",
        "_service",
        "_side",
        "_started",
        "_step",
        "_traced",
        "_user",
        "_wire",
        "id",
        "is_parked",
        "job",
        "relay",
    )

    def __init__(self, session_id: str, service: Service, listen: Listen, wire: Wire, client: Client) -> None:
        self.id = session_id
        self._service = service
        self._listen = listen
        self._server = service.server
        self._wire = wire
        self._client = client
        if self._server.pass_session_id:
            client.session = session_id.encode()
        self._backend: Wire | None = None
        self._backend_label = ""
        self._user = ""
        self._method = ""
        self._refusals = 0
        self._frontend: Frontend | None = None
        self.job: Job | None = None
        self.relay: Relay | None = None
        self.is_parked = False
        self._ending: Interruption | None = None
        self._traced: Traced | None = None
        self._started = now()
        self._auth_time: float | None = None
        self._connect_time: float | None = None
        self._login_time: float | None = None
        self._outcome, self._side, self._reason, self._step = "shutdown", "geomail", "", ""

    def run(self, ending: BaseException | None = None) -> None:
        """Serve the client until the end: both connections are closed, and that is told, whatever happens.

        If it ``is_parked`` then, it has not ended: run it again, with ``ending`` towards its end.
        The relay is run from here: what calls it lies on the stack that each switch saves.
        """
        self.is_parked = False
        try:
            if ending is not None:
                raise ending
            if self.relay is None:
                self._begin()
            if self.relay is not None:
                self._relay_on(self.relay)
        except SessionError as error:
            self._failed(error)
            self._say_farewell(error)
        except Interruption as interruption:
            self._failed(interruption.error)
            self._say_farewell(interruption.error)
        except Exception as bug:
            self._outcome, self._reason = "bug", f"{type(bug).__name__}: {bug}"
            self._say_farewell(SessionError("a bug"))
            raise
        finally:
            if not self.is_parked:
                self._wire.close()
                if self._backend is not None:
                    self._backend.close()
                self._closed()

    def _begin(self) -> None:
        self._opened()
        preface(self._wire, self._client, self._service, self._listen, self._remark, self.end)
        if self._service.tracing.traces:
            self.trace()
        self._frontend = self._service.protocol.frontend(self._wire, self._client)
        self._converse(self._frontend)

    def end(self, error: SessionError) -> None:
        """End it soon, from another greenlet. Once is enough.

        The client hears of it only where that cannot be taken for something
        else: before the relay, or in a silence between two lines.
        """
        if self._ending is not None:
            return
        self._ending = Interruption(error)
        released = self.relay is not None and self._service.parking.release(self.relay, self._ending)
        if not released and self.job is not None:
            self.job.stop(self._ending)

    def trace(self) -> None:
        """Show what it says from now on to the traces that mean it."""
        traced = self._traced or Traced(self._service.tracing, self.described)
        if self.relay is not None:
            traced.note(f"in relay to {self._backend_label}: {self._amounts}")
            traced.forget()
            self._traced = traced if traced.is_meant else None
            return
        self._traced = traced
        self._wire.tracer = self._traced.tracer("client")
        if self._backend is not None:
            self._backend.tracer = self._traced.tracer("backend")

    @property
    def _amounts(self) -> str:
        return f"{self._wire.received} bytes from the client, {self._wire.sent} to it"

    def described(self) -> dict[str, Any]:
        """What there is to tell of it now; names are those of SessionClosed where both have them.

        ``state`` is login, backend (logging in there) or relay; ``started``
        is of time.time(), ``idle`` the seconds since bytes were relayed.
        """
        client, relay = self._client, self.relay
        return {
            "session": self.id,
            "server": self._server.name,
            "protocol": self._service.protocol.name,
            "state": "relay" if relay else "backend" if self._backend else "login",
            "client": client.address,
            "client_port": client.port,
            "local": client.local_address,
            "local_port": client.local_port,
            "tls": " ".join(self._wire.tls_version_and_cipher or ()),
            "user": self._user,
            "method": self._method,
            "backend": self._backend_label,
            "started": time.time() - (now() - self._started),
            "idle": relay.idle if relay else None,
            "bytes_in": self._wire.received,
            "bytes_out": self._wire.sent,
        }

    # -- the dialogue -----------------------------------------------------------------------------

    def _converse(self, frontend: Frontend) -> None:
        with self._login_limit():
            frontend.greet()
            login = frontend.login()
        attempt = 0
        while login is not None:
            attempt += 1
            self._user, self._method = _text(login.user), login.method
            if self._traced is not None:
                self._traced.learn(login.password)
            self._service.lookout.begin(self._wire, self.end)
            try:
                admitted = self._admit(login, attempt)
                if isinstance(admitted, Refused) and admitted.wait:
                    gevent.sleep(admitted.wait)
            finally:
                self._service.lookout.end(self._wire)
            if not isinstance(admitted, Refused):
                silence = "client does not read its welcome"
                with TimeLimit(self._server.timeout, blame="client", private=silence):
                    frontend.accept(admitted)
                self._prepare_relay()
                return
            login = self._refuse(frontend, admitted, attempt)
        self._outcome, self._side = "quit", "client"

    def _login_limit(self) -> TimeLimit:
        late = "client did not log in within {seconds} s"
        return TimeLimit(self._server.timeout, blame="client", private=late)

    def _admit(self, login: Login, attempt: int) -> tuple[bytes, ...] | Refused:
        """Ask who the client is and bring the backend to where it is: its answer, or the refusal."""
        source = self._service.source
        if self._wire.channel is not None and self._client.tls is None:
            self._describe_tls(self._wire.channel)
        began = now()
        verdict = source.check(login, self._client, self._service.protocol.name, attempt)
        self._auth_time = now() - began
        if isinstance(verdict, Refused):
            reason = verdict.reason or _without(login.password, verdict.refusal.text)
            if self._traced is not None:
                self._traced.note(f"the auth source refuses: {reason}")
            self._refused(reason, "auth")
            return verdict
        try:
            return self._log_in(login, verdict)
        except BackendRefused as refused:
            self._leave_backend()
            if refused.credentials:
                source.refused_by_backend(login, self._client, self._service.protocol.name)
            if not (source.passthrough and refused.credentials):
                if login.rewritten(verdict.user, verdict.password) is not login:
                    refused.farewell = Farewell.INTERNAL_ERROR  # what is wrong is not what the client gave
                raise
            self._refused(str(refused), "backend")
            refusal = passed_on(refused, self._server.proxy_pass_error_message)
            return Refused(refusal, wait=0.0, close=False)

    def _describe_tls(self, channel: TlsChannel) -> None:
        client = self._client
        client.tls = channel.version_and_cipher
        if self._server.ssl_verify_client != "off":
            client.certificate = channel.client_certificate
        if self._server.proxy_protocol == "v2":
            client.tls_details = channel.details

    def _refuse(self, frontend: Frontend, refused: Refused, attempt: int) -> Login | None:
        """Tell the client of the refusal and let it try again; None: it said goodbye."""
        most = self._server.max_login_attempts
        with self._login_limit():
            frontend.refuse(refused.refusal)
            if refused.close:
                raise LoginDenied("login refused", blame="auth")
            if most and attempt >= most:
                raise TooManyErrors(f"{attempt} failed logins (max_login_attempts)", blame="client")
            return frontend.login()

    # -- the backend ------------------------------------------------------------------------------

    def _log_in(self, login: Login, verdict: Accepted) -> tuple[bytes, ...]:
        endpoint = verdict.backend
        self._backend_label = endpoint.described
        login = login.rewritten(verdict.user, verdict.password)
        self._user = _text(login.user)
        if self._traced is not None:
            self._traced.learn(login.password)
            self._traced.note(f"the auth source accepts: to {self._backend_label}")
        began = now()
        try:
            late = "backend did not answer within {seconds} s"
            with TimeLimit(self._server.timeout, blame="backend", private=late):
                backend = self._backend = connect(endpoint, self._service.resolver)
                connected = now()
                self._connect_time = connected - began
                if self._traced is not None:
                    backend.tracer = self._traced.tracer("backend")
                options = self._service.options[endpoint.tls]
                answer = self._service.protocol.handshake(backend, login, self._client, options)
                self._login_time = now() - connected
        except PeerTimeout as silence:
            silence.step = self._backend.step if self._backend else "connect"
            raise
        except (BackendGarbage, BackendRefused) as error:  # its words may hold the password
            error.args = (concealed(str(error), login.password),)
            raise
        finally:
            self._tell_remarks()
        return answer

    def _tell_remarks(self) -> None:
        """Log what the handshake remarked on its backend, if that was reached at all."""
        for remark in self._backend.remarks if self._backend is not None else ():
            self._remark(remark)

    def _leave_backend(self) -> None:
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _prepare_relay(self) -> None:
        assert self._backend is not None
        events = self._service.events
        if events.wants(RelayStarted):
            events.emit(
                RelayStarted(
                    *self._whose(),
                    self._user,
                    self._method,
                    self._backend_label,
                    self._auth_time,
                    self._connect_time,
                    self._login_time,
                )
            )
        if self._traced is not None:
            self._traced.note("relay begins: what is said from here on is not shown")
            self._traced.forget()
            self._traced = self._traced if self._traced.is_meant else None
            self._wire.tracer = self._backend.tracer = None
        self.relay = Relay(
            self._wire,
            self._backend,
            self._service.crew,
            self._service.pipes,
            self._service.parking,
            buffer=self._server.proxy_buffer,
            idle=self._server.proxy_timeout,
        )
        self._frontend = None  # it has no more to say, and a session is mostly this from here on

    def _relay_on(self, relay: Relay) -> None:
        ended_by = relay.run()
        if ended_by is None and self._ending is not None:
            raise self._ending  # which came when nobody could be told any more
        self.is_parked = ended_by is None
        if ended_by is not None:
            self._outcome, self._side = "done", ended_by

    # -- the end, and what is told of it ----------------------------------------------------------

    def _failed(self, error: SessionError) -> None:
        self._outcome, self._side = error.outcome, error.blame
        self._reason = f"{error}; {error.hint}" if error.hint else str(error)
        self._step = error.step

    def _say_farewell(self, error: SessionError) -> None:
        """Say the last words to a client that was greeted, or must know why it is not."""
        greeted = self._frontend is not None or self.relay is not None
        if not self._may_speak() or (error.farewell is Farewell.GOODBYE and not greeted):
            return
        frontend = self._frontend or self._service.protocol.frontend(self._wire, self._client)
        words = error.reply if self._passes_on(error) else ()
        try:
            with TimeLimit(_FAREWELL, blame="client", private="client does not read"):
                frontend.farewell(error, words)
        except (GeomailError, Interruption):
            pass  # it has gone already, or does not listen

    def _may_speak(self) -> bool:
        """Whether the client takes words of geomail's own for what they are, wherever it was interrupted."""
        return not self._wire.half_said and (self.relay is None or self.relay.is_quiet)

    def _passes_on(self, error: SessionError) -> TypeGuard[BackendRefused]:
        """Whether the client gets the backend's own words, as ``proxy_pass_error_message`` wants."""
        return (
            self._server.proxy_pass_error_message and isinstance(error, BackendRefused) and bool(error.reply)
        )

    def _opened(self) -> None:
        if self._service.events.wants(SessionOpened):
            self._service.events.emit(SessionOpened(*self._whose()))

    def _whose(self) -> tuple[float, str, str, str, str]:
        """What all events begin with: when, and whose they are."""
        return time.time(), self.id, self._server.name, self._service.protocol.name, self._client.address

    def _remark(self, text: str) -> None:
        self._service.events.emit(Remark(*self._whose(), self._user, text))

    def _refused(self, reason: str, by: str) -> None:
        self._refusals += 1
        self._service.events.emit(
            LoginRefused(
                *self._whose(),
                self._user,
                self._method,
                self._backend_label if by == "backend" else "",
                reason,
                by,
            )
        )

    def _closed(self) -> None:
        client, wire = self._client, self._wire
        if self._traced is not None:
            why = f": {self._reason}" if self._reason else ""
            self._traced.note(f"session ends, {self._outcome}, by {self._side}{why}; {self._amounts}")
            self._traced.forget()
        self._service.events.emit(
            # by position: names would cost more than all that is counted of it
            SessionClosed(
                *self._whose(),
                client.port,
                client.local_address,
                client.local_port,
                self._listen.label,
                " ".join(wire.tls_version_and_cipher or ()),
                wire.channel.server_name if wire.channel is not None else "",
                self._user,
                self._method,
                self._backend_label,
                self._outcome,
                self._side,
                self._reason,
                self._step,
                self.relay is not None,
                self._refusals,
                now() - self._started,
                self._auth_time,
                self._connect_time,
                self._login_time,
                wire.received,
                wire.sent,
                client.client_id,
            )
        )


def _without(password: bytes, told: bytes) -> str:
    """The words of an auth service, which may hold the password, but for the blanks that end a header.

    Geomail's own words are shown as they are: a star in "wrong password" would give "wrong" away.
    """
    return concealed(told.decode("utf-8", "replace"), password.strip(b" \t"))


def _text(raw: bytes) -> str:
    """A name from the network as text; bytes that are no UTF-8 stay visible as escapes."""
    return raw.decode("utf-8", "backslashreplace")
