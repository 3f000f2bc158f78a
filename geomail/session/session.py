"""A client's session: its connections, its record, and its life from accept to close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geomail.errors import SessionError
from geomail.events import Remark
from geomail.parties import Client
from geomail.session.farewell import Interruption, say_farewell
from geomail.session.flow import reach_relay
from geomail.session.record import SessionRecord
from geomail.session.tracing import UNTRACED, NoTrace, SessionTrace

if TYPE_CHECKING:
    from geomail.config.schema import Listen
    from geomail.net.crew import Job
    from geomail.net.relay import Relay
    from geomail.net.wire import Wire
    from geomail.protocols.base import Frontend
    from geomail.session.service import Service


class Session:
    """One client's session; :meth:`run` serves it, in one greenlet (two in the relay).

    ``listen`` is the ``listen`` that the client connected to, and ``wire`` the
    client's connection. ``backend`` is the connection to the backend, or None.
    ``trace`` shows the dialogues to the traces that select the session. ``job``
    is the running call of :meth:`run`, None while the relay is parked; the caller
    sets it.
    """

    __slots__ = (
        "_client",
        "_ending",
        "_relay",
        "backend",
        "frontend",
        "job",
        "listen",
        "record",
        "service",
        "trace",
        "wire",
    )

    def __init__(self, session_id: str, service: Service, listen: Listen, wire: Wire, client: Client) -> None:
        self.record = SessionRecord(session_id, service.server.name, service.protocol.name, listen.label)
        self.record.meet(client)
        if service.server.pass_session_id:
            client.session = session_id.encode()
        self.service = service
        self.listen = listen
        self.wire = wire
        self._client: Client | None = client
        self.backend: Wire | None = None
        self.frontend: Frontend | None = None
        self.trace: SessionTrace | NoTrace = UNTRACED
        self.job: Job | None = None
        self._relay: Relay | None = None
        self._ending: Interruption | None = None

    def run(self, ending: BaseException | None = None) -> Relay | None:
        """Serve the client to the end, and return None; or return its relay, to be parked.

        To continue a parked session, call run() again; ``ending`` is raised in it.
        At the end, whatever happened, both connections are closed and the record
        is emitted. The relay runs directly under this function, because each
        switch of greenlets saves the stack below it.
        """
        parked: Relay | None = None
        try:
            if ending is not None:
                raise ending
            if self._relay is None:
                self._relay = reach_relay(self)
            if self._relay is not None:
                parked = self._park_or_end(self._relay, self._relay.run())
        except SessionError as error:
            self._fail(error)
        except Interruption as interruption:
            self._fail(interruption.error)
        except Exception as bug:
            self._fail(SessionError("a bug"))
            self.record.outcome, self.record.reason = "bug", f"{type(bug).__name__}: {bug}"
            raise
        finally:
            if parked is None:
                self._close()
        return parked

    def _park_or_end(self, relay: Relay, ended_by: str | None) -> Relay | None:
        """Return a relay that is to be parked; note the end of one that a side ended."""
        if ended_by is None:
            if self._ending is not None:
                raise self._ending  # it came too late to interrupt the relay
            return relay
        self.record.end("done", ended_by)
        return None

    def end(self, error: SessionError) -> None:
        """End the session soon, from another greenlet; a second call changes nothing.

        The client gets a farewell only where it cannot misunderstand it: before
        the relay, or in a silence between two lines.
        """
        if self._ending is not None:
            return
        self._ending = Interruption(error)
        released = self._relay is not None and self.service.parking.release(self._relay, self._ending)
        if not released and self.job is not None:
            self.job.stop(self._ending)

    def begin_trace(self) -> None:
        """Show the lines of the session to the traces that select it, from now on."""
        trace = self.trace
        if not isinstance(trace, SessionTrace):
            trace = SessionTrace(self.service.tracing, self.describe)
        if self._relay is not None:
            trace.note("in relay to %s: %s", self.record.backend, self._amounts)
            self.trace = trace.forget()
            return
        self.trace = trace
        self.wire.tracer = trace.make_tracer("client")
        if self.backend is not None:
            self.backend.tracer = trace.make_tracer("backend")

    @property
    def client(self) -> Client:
        """The client's facts; after :meth:`forget_client`, only its addresses."""
        return self._client if self._client is not None else self.record.make_client()

    def forget_client(self) -> None:
        """Free the facts that only the login needs: most sessions of a server are past it."""
        self.record.client_id = self.client.client_id
        self._client = None

    @property
    def _amounts(self) -> str:
        return f"{self.wire.received} bytes from the client, {self.wire.sent} to it"

    def describe(self) -> dict[str, Any]:
        """Return the row that ``who`` shows for the session now."""
        self.record.count(self.wire)
        return self.record.make_row(self._relay.idle if self._relay is not None else None)

    def _fail(self, error: SessionError) -> None:
        self.record.fail(error)
        say_farewell(error, self.service, self.wire, self.client, self.frontend, self._relay)

    def _close(self) -> None:
        if self._client is not None:
            self.forget_client()
        self.wire.close()
        if self.backend is not None:
            self.backend.close()
        record = self.record
        record.close(self.wire)
        why = f": {record.reason}" if record.reason else ""
        self.trace.note("session ends, %s, by %s%s; %s", record.outcome, record.side, why, self._amounts)
        self.trace.forget()
        self.service.events.emit(record)

    def remark(self, text: str) -> None:
        """Emit a remark: a text for the operator that does not end the session."""
        self.service.events.emit(Remark(*self.record.make_heading(), self.record.user, text))
