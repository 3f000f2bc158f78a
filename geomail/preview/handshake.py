"""Run the handshake that ``serve`` runs, with an imagined or a real backend, and show each line of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from geomail.auth import make_source
from geomail.auth.base import Accepted, Refused
from geomail.backends import AddressRoute, Backends, NamedRoute, Route, SocketRoute
from geomail.backends.resolvers import make_resolver
from geomail.config.address import parse_address
from geomail.errors import BackendGarbage, BackendRefused, PeerGone, SessionError, TlsFailed
from geomail.net.timing import TimeLimit
from geomail.parties import Client, Credentials, Login, NoLogin, choose_name
from geomail.preview.client import Unusable
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.dialogue import REPLY_LINE
from geomail.protocols.registry import PROTOCOLS
from geomail.secrets import as_text

if TYPE_CHECKING:
    from geomail.backends.endpoint import Endpoint
    from geomail.config.schema import Config, Server
    from geomail.conversation import Conversation, Mask
    from geomail.net.wire import Wire

#: The most lines and seconds that a backend may take for its goodbye.
_LAST_LINES, _LAST_SECONDS = 10, 3.0


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the handshake, secrets masked, and the option or rule that causes it."""

    sender: Literal["geomail", "backend"]
    line: str
    because: str


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a handshake.

    ``outcome`` is ``ok``, or the outcome that the log would give the session.
    ``step`` and ``reason`` say where and why it failed. ``answer`` is what the
    client gets after a success.
    """

    outcome: str
    step: str = ""
    reason: str = ""
    answer: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


class Recorder:
    """A tracer that passes each step to ``watch``.

    It holds a reply back until geomail's next line, or the end, shows whether
    geomail went on after it.
    """

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
        """Pass on the reply that is still held back; ``then`` says what geomail does after it."""
        for line, expected in self._reply:
            self._watch(Step("backend", self.mask(line), f"{expected} expected; {then}" if expected else ""))
        self._reply.clear()

    def mask(self, line: bytes) -> str:
        """Return a peer's line as text, secrets masked."""
        return as_text(self._mask(line))


@dataclass(frozen=True)
class Scene:
    """The client, its login as the auth source rewrote it, and the candidates of its route.

    ``route`` is None, and there are no candidates, if the route is not known.
    """

    login: Login
    client: Client
    route: Route | None
    candidates: tuple[Endpoint, ...]

    @property
    def endpoint(self) -> Endpoint | None:
        """The first candidate."""
        return self.candidates[0] if self.candidates else None


class Stage:
    """The objects that all sessions of one server share, made as ``serve`` makes them.

    Raises OSError if a file of the configuration cannot be used.
    """

    def __init__(self, config: Config, server: Server) -> None:
        self.server = server
        self._users_file = config.users.file
        self.protocol = PROTOCOLS[server.protocol](server)
        self.resolver = make_resolver(server)
        self.backends = Backends(config.backends)
        self.source = make_source(server, config, self.backends, self.resolver)

    def close(self) -> None:
        """Close the connections of the auth source."""
        self.source.close()

    @property
    def decider(self) -> str:
        """The auth source that decides about logins, in words."""
        if self.server.auth_http is not None:
            return f"the auth service {self.server.auth_http.label}"
        if self.server.auth == "users":
            return f"the users file {self._users_file}"
        return f'auth = "{self.server.auth}"'

    @property
    def tells_password(self) -> bool:
        """True if a backend gets the password of a login."""
        options = HandshakeOptions.of(self.server, "off", self.source.passthrough)
        return self.server.facts.gives_password or options.authenticate

    def name_client(self, client: Client) -> None:
        """Look up the client's host name, as ``serve`` does when a client connects."""
        found = self.resolver.find_client_name(client.address, self.server.timeout)
        client.name = choose_name(found.name, found.temporary)

    def admit(self, login: Login, client: Client) -> Scene | Refused:
        """Ask the auth source. Raises AuthUnavailable, PeerTimeout."""
        verdict = self.source.check(login, client, self.protocol.name, 1)
        if isinstance(verdict, Accepted):
            return self.scene(login.rewrite(verdict.user, verdict.password), client, verdict.route)
        return verdict

    def route(self, given: str) -> Route:
        """Return the route to the backend of this name or at this address. Raises Unusable."""
        if self.backends.speaks(given, self.protocol.name):
            return NamedRoute(given)
        try:
            address = parse_address(given)
        except ValueError as error:
            raise Unusable(f"--backend {given}: neither a [backends] table nor an address: {error}") from None
        if address.path:
            return SocketRoute(address.path)
        return AddressRoute(address.host, address.port, "--backend")

    def scene(self, login: Login, client: Client, route: Route | None) -> Scene:
        """Prepare the handshake. Raises what Backends.find_candidates() raises."""
        if route is None:
            return Scene(login, client, None, ())
        return Scene(
            login, client, route, self.backends.find_candidates(route, self.protocol.name, self.resolver)
        )

    def run(self, backend: Conversation, scene: Scene, recorder: Recorder) -> Ending:
        """Run the handshake on a conversation whose tracer the recorder becomes."""
        backend.tracer = recorder
        tls = scene.endpoint.tls if scene.endpoint else "off"
        options = HandshakeOptions.of(self.server, tls, self.source.passthrough)
        try:
            answer = self.protocol.handshake(backend, scene.login, scene.client, options)
        except SessionError as error:
            recorder.settle("stops")
            return describe_failure(error, recorder, backend, self._hints(error, scene, backend))
        recorder.settle()
        notes = list(backend.remarks)
        if isinstance(scene.login.credentials, NoLogin) and not answer[0].startswith(b"2"):
            notes.append("the backend refuses the recipient; the client gets its reply, and may go on")
        return Ending("ok", answer=tuple(map(recorder.mask, answer)), notes=tuple(notes))

    def perform(self, scene: Scene, recorder: Recorder) -> Ending:
        """Run the handshake with the real backend, then say goodbye to it."""
        assert scene.route is not None, "no backend to connect to"
        seconds = self.server.timeout
        wire: Wire | None = None
        try:
            with TimeLimit(seconds, blame="backend", private="no answer within {seconds} s (timeout)"):
                attempt = self.backends.dial(scene.route, self.protocol.name, self.resolver)[0]
                with attempt as wire:
                    ending = self.run(wire, scene, recorder)
            if ending.outcome in ("ok", BackendRefused.outcome):
                self._say_goodbye(wire, scene, recorder)
            return ending
        except SessionError as error:  # the backend cannot be reached, or took too long
            error.step = error.step or (wire.step if wire else "connect")
            recorder.settle("stops")
            return describe_failure(error, recorder, wire, self._hints(error, scene, wire))
        finally:
            if wire is not None:
                wire.close()

    def _hints(self, error: SessionError, scene: Scene, backend: Conversation | None) -> Iterator[str]:
        """Yield what the operator can do about an error."""
        if error.hint:
            yield error.hint
        if isinstance(error, BackendRefused) and error.step == "XCLIENT" and error.reply:
            yield from self._xclient_hints(getattr(backend, "local_address", ""), scene.login.credentials)
        elif isinstance(error, TlsFailed):
            yield "check the backend's tls_ca (the CA that geomail trusts) and tls_name (the expected name)"
        elif isinstance(error, (BackendGarbage, PeerGone)) and error.step == "greeting":
            yield 'the backend may expect TLS from the start (tls = "implicit"), or a PROXY header'

    def _xclient_hints(self, own_address: str, credentials: Credentials) -> Iterator[str]:
        if self.server.proxy_protocol != "off":
            yield 'the PROXY header already names the client to the backend: set xclient = "off"'
        else:
            address = own_address or "the address that geomail connects from"
            yield f"allow XCLIENT in the backend: in Postfix, add {address} to smtpd_authorized_xclient_hosts"
        if not isinstance(credentials, NoLogin):
            yield 'if the backend does not know XCLIENT, set xclient = "off"; "auto" uses it if it is offered'
        elif self.server.proxy_protocol == "off":
            yield "if the backend does not know XCLIENT, set proxy_protocol: a PROXY header names the client"

    def _say_goodbye(self, wire: Wire, scene: Scene, recorder: Recorder) -> None:
        goodbye = b" ".join(filter(None, (scene.login.tag, self.server.facts.goodbye)))
        try:
            with TimeLimit(_LAST_SECONDS, blame="backend", private="no goodbye"):
                wire.send_line(goodbye, because="the preview ends here")
                for _ in range(_LAST_LINES):
                    line = wire.read_line(REPLY_LINE)
                    if not (line.startswith(b"* ") or line[3:4] == b"-"):
                        break
        except SessionError:
            pass  # the handshake has ended already
        recorder.settle()


def describe_failure(
    error: SessionError,
    recorder: Recorder,
    backend: Conversation | None = None,
    hints: Iterable[str] = (),
) -> Ending:
    """Return the ending for an error; secrets in a peer's words are masked."""
    if isinstance(error, BackendRefused) and error.reply:
        reason = "the backend refuses it"
    elif isinstance(error, BackendGarbage):
        reason = "the backend's answer is not understood"
    else:
        reason = recorder.mask(str(error).encode())
    notes = () if backend is None else backend.remarks
    return Ending(error.outcome, error.step, reason, notes=notes, hints=tuple(hints))
