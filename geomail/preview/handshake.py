"""The handshake that ``serve`` runs, with an imagined backend or with the real one, every line told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from geomail.auth import source_for
from geomail.auth.base import Accepted, Refused
from geomail.backends import Backends, Endpoint
from geomail.backends.connect import connect, resolver_for
from geomail.config.address import parse_address
from geomail.errors import BackendGarbage, BackendRefused, PeerGone, SessionError, TlsFailed
from geomail.net.timing import TimeLimit
from geomail.parties import Client, Login, Method, told_name
from geomail.preview.client import Unusable
from geomail.protocols import PROTOCOLS
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.dialogue import REPLY_LINE
from geomail.secrets import as_text

if TYPE_CHECKING:
    from geomail.config.schema import Config, Server
    from geomail.conversation import Conversation, Mask
    from geomail.net.wire import Wire

#: What ends a session that goes no further; ``%b`` is the client's tag.
_GOODBYES = {"smtp": b"QUIT", "imap": b"%b LOGOUT", "pop3": b"QUIT"}
#: Lines and seconds that a backend may take to say goodbye.
_LAST_LINES, _LAST_SECONDS = 10, 3.0


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the handshake as it may be shown, and the option or rule behind it."""

    sender: Literal["geomail", "backend"]
    line: str
    because: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How a handshake ended.

    ``outcome`` is ``ok``, or what the log would call the session's; ``step``
    and ``reason`` say where and why it failed. ``answer`` is what the client
    gets if it did not.
    """

    outcome: str
    step: str = ""
    reason: str = ""
    answer: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


class Recorder:
    """A tracer that tells the steps; a reply is told when it is known what geomail makes of it."""

    def __init__(self, watch: Callable[[Step], None], mask: Mask) -> None:
        self._watch = watch
        self._mask = mask
        self._reply: list[tuple[bytes, str]] = []

    def __call__(self, direction: Literal[">", "<"], line: bytes, because: str) -> None:
        if direction == "<":
            self._reply.append((line, because))
            return
        self.settle()
        self._watch(Step("geomail", as_text(line), because))

    def settle(self, then: str = "goes on") -> None:
        """Tell the reply that is still held back."""
        for line, wanted in self._reply:
            self._watch(Step("backend", self.shown(line), f"{wanted} expected; {then}" if wanted else ""))
        self._reply.clear()

    def shown(self, line: bytes) -> str:
        """What may be shown of something that a peer said."""
        return as_text(self._mask(line))


@dataclass(frozen=True)
class Scene:
    """Who logs in, as what the auth source made of it, and where to; no endpoint: it is not known."""

    login: Login
    client: Client
    endpoint: Endpoint | None


class Stage:
    """What sessions of one server share, made as ``serve`` makes it.

    Raises OSError where a file of the configuration cannot be used.
    """

    def __init__(self, config: Config, server: Server) -> None:
        self.server = server
        self._users_file = config.users.file
        self.protocol = PROTOCOLS[server.protocol](server)
        self.resolver = resolver_for(server)
        self.backends = Backends(config.backends, server.protocol)
        self.source = source_for(server, config, self.backends, self.resolver)

    def close(self) -> None:
        """Give up what is held between logins."""
        self.source.close()

    @property
    def asked(self) -> str:
        """Who decides about logins."""
        if self.server.auth_http is not None:
            return f"the auth service {self.server.auth_http.label}"
        if self.server.auth == "users":
            return f"the users file {self._users_file}"
        return f'auth = "{self.server.auth}"'

    @property
    def tells_password(self) -> bool:
        """Whether a backend is told the password of a login."""
        options = HandshakeOptions.of(self.server, "off", self.source.passthrough)
        return self.server.protocol != "smtp" or options.authenticate

    def name_client(self, client: Client) -> None:
        """Look up the client's name, as is done when it connects."""
        found = self.resolver.find_client_name(client.address, self.server.timeout)
        client.name = told_name(found.name, found.temporary)

    def admit(self, login: Login, client: Client) -> Scene | Refused:
        """Ask the auth source. Raises AuthUnavailable, PeerTimeout."""
        verdict = self.source.check(login, client, self.protocol.name, 1)
        if isinstance(verdict, Accepted):
            return Scene(login.rewritten(verdict.user, verdict.password), client, verdict.backend)
        return verdict

    def backend(self, wanted: str) -> Endpoint:
        """The backend of this name or at this address. Raises Unusable."""
        try:
            return self.backends.named(wanted)
        except KeyError:
            pass
        try:
            address = parse_address(wanted)
        except ValueError as error:
            raise Unusable(f"--backend names no [backends] table, nor an address: {error}") from None
        if address.path:
            return Endpoint("", "", 0, address.path)
        try:
            return self.backends.at(address.host, address.port, self.resolver.find_addresses)
        except OSError as error:
            raise Unusable(f"--backend: {error.strerror or error}") from None

    def run(self, backend: Conversation, scene: Scene, recorder: Recorder) -> Ending:
        """Run the handshake on a conversation whose tracer the recorder becomes."""
        backend.tracer = recorder
        tls = scene.endpoint.tls if scene.endpoint else "off"
        options = HandshakeOptions.of(self.server, tls, self.source.passthrough)
        try:
            answer = self.protocol.handshake(backend, scene.login, scene.client, options)
        except SessionError as error:
            recorder.settle("stops")
            return failed(error, recorder, backend, self._hints(error, scene, backend))
        recorder.settle()
        notes = list(backend.remarks)
        if scene.login.method == "none" and not answer[0].startswith(b"2"):
            notes.append("the backend refuses the recipient; the client is told so, and may go on")
        return Ending("ok", answer=tuple(map(recorder.shown, answer)), notes=tuple(notes))

    def perform(self, scene: Scene, recorder: Recorder) -> Ending:
        """Run the handshake with the real backend, and say goodbye to that."""
        assert scene.endpoint is not None, "a backend must be known to be spoken to"
        seconds = self.server.timeout
        wire: Wire | None = None
        try:
            with TimeLimit(seconds, blame="backend", private="no answer within {seconds} s (timeout)"):
                wire = connect(scene.endpoint, self.resolver)
                ending = self.run(wire, scene, recorder)
            if ending.outcome in ("ok", BackendRefused.outcome):
                self._part(wire, scene, recorder)
            return ending
        except SessionError as error:  # it cannot be reached, or there was no time left
            error.step = error.step or (wire.step if wire else "connect")
            recorder.settle("stops")
            return failed(error, recorder, wire, self._hints(error, scene, wire))
        finally:
            if wire is not None:
                wire.close()

    def _hints(self, error: SessionError, scene: Scene, backend: Conversation | None) -> Iterator[str]:
        """What the operator may do about an error."""
        if error.hint:
            yield error.hint
        if isinstance(error, BackendRefused) and error.step == "XCLIENT" and error.reply:
            yield from self._xclient_hints(getattr(backend, "local_address", ""), scene.login.method)
        elif isinstance(error, TlsFailed):
            yield "tls_ca and tls_name of its [backends] table say whom to trust, and by which name"
        elif isinstance(error, (BackendGarbage, PeerGone)) and error.step == "greeting":
            yield 'perhaps it expects TLS from the start (tls = "implicit"), or a PROXY header'

    def _xclient_hints(self, own_address: str, method: Method) -> Iterator[str]:
        if self.server.proxy_protocol != "off":
            yield 'the PROXY header tells the backend who the client is: with it, xclient = "off" will do'
        else:
            address = own_address or "the address that geomail connects from"
            yield f"the backend must allow it: in Postfix, smtpd_authorized_xclient_hosts names {address}"
        if method != "none":
            yield 'for a backend that does not know XCLIENT, xclient = "off"; "auto" uses it if it is offered'
        elif self.server.proxy_protocol == "off":
            yield "a backend that does not know XCLIENT can hear of the client by proxy_protocol"

    def _part(self, wire: Wire, scene: Scene, recorder: Recorder) -> None:
        goodbye = _GOODBYES[self.server.protocol].replace(b"%b", scene.login.tag)
        try:
            with TimeLimit(_LAST_SECONDS, blame="backend", private="no goodbye"):
                wire.send_line(goodbye, because="the preview ends here")
                for _ in range(_LAST_LINES):
                    line = wire.read_line(REPLY_LINE)
                    if not (line.startswith(b"* ") or line[3:4] == b"-"):
                        break
        except SessionError:
            pass  # it has said what it had to say
        recorder.settle()


def failed(
    error: SessionError,
    recorder: Recorder,
    backend: Conversation | None = None,
    hints: Iterable[str] = (),
) -> Ending:
    """The ending that an error makes; nothing that a peer said is in it unmasked."""
    if isinstance(error, BackendRefused) and error.reply:
        reason = "the backend refuses it"
    elif isinstance(error, BackendGarbage):
        reason = "the backend's answer is not understood"
    else:
        reason = recorder.shown(str(error).encode())
    notes = () if backend is None else backend.remarks
    return Ending(error.outcome, error.step, reason, notes=notes, hints=tuple(hints))
