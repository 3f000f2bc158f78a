"""Plan a preview as the operator asks for it: the server, the client, the login and the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from geomail.auth.base import Refused
from geomail.config.probe.names import resolve_name_servers
from geomail.conversation import Rehearsal
from geomail.errors import SessionError
from geomail.preview.backend import choose_offers, imagine
from geomail.preview.client import (
    LOCAL_V4,
    LOCAL_V6,
    PASSWORD,
    Unusable,
    Words,
    find_server,
    make_client,
    make_login,
)
from geomail.preview.handshake import Ending, Recorder, Scene, Stage, Step, describe_failure
from geomail.secrets import as_text, make_mask

if TYPE_CHECKING:
    from geomail.backends import Route
    from geomail.config.schema import Config
    from geomail.conversation import Mask


@dataclass(frozen=True)
class PreviewRequest:
    """The operator's wishes; for each that is None or empty, the configuration or a placeholder decides.

    ``live``: with the real auth source and backend. Else ``without`` and
    ``offers`` change the extensions of the imagined backend.
    """

    words: Words
    server: str | None = None
    protocol: str | None = None
    client: str | None = None
    client_name: str | None = None
    backend: str | None = None
    without: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    live: bool = False


class Preview:
    """One handshake, ready to run. Raises Unusable, UnknownName, and OSError if a file cannot be used."""

    def __init__(self, config: Config, request: PreviewRequest) -> None:
        self.request = request
        self.server, listens = find_server(config, request.protocol, request.server)
        if request.live:
            self.server = resolve_name_servers(self.server)
        self.stage = Stage(config, self.server)
        self.client = make_client(self.server, listens, request.client, request.client_name)
        self.login = make_login(self.server, request.words, self.client)
        self._route = self._given_route()
        self._offers = self._choose_offers()
        if request.live and self.login.password is not None and request.words.user is None:
            raise Unusable("--live needs a login: give --user, or --from and --to")

    def _given_route(self) -> Route | None:
        """Return the route to the backend of --backend; None if the auth source decides."""
        if self.request.backend is None:
            return None
        route = self.stage.route(self.request.backend)
        try:
            self.stage.scene(self.login, self.client, route)
        except SessionError as error:
            raise Unusable(f"--backend: {error}") from None
        return route

    def _choose_offers(self) -> tuple[str, ...]:
        given = (*self.request.offers, *self.request.without)
        if given and self.request.live:
            raise Unusable("--without and --offers are for an imagined backend: leave them out, or --live")
        if given and not self.server.facts.offers:
            title = self.server.facts.title
            raise Unusable(f"{title} has no EHLO, which --without and --offers change: leave them out")
        if any(not offer.isprintable() or not offer.split() for offer in given):
            raise Unusable("--without and --offers must be a keyword that EHLO lists, such as XCLIENT")
        return choose_offers(self.server.facts.offers, self.request.offers, self.request.without)

    @property
    def asks(self) -> bool:
        """True if the preview asks the auth source; passthrough needs only the configuration."""
        return self._route is None and (self.request.live or self.stage.source.passthrough)

    @property
    def lacks_password(self) -> bool:
        """True if the auth source or the backend needs a password and the operator gave none."""
        if not self.request.live or self.login.password is None or self.request.words.password is not None:
            return False
        return self.asks or self.stage.tells_password

    def close(self) -> None:
        """Close the connections of the auth source."""
        self.stage.close()

    def give_password(self, password: bytes) -> None:
        """Use this password for the login."""
        words = replace(self.request.words, password=password)
        self.request = replace(self.request, words=words)
        self.login = make_login(self.server, words, self.client)

    def admit(self) -> Scene | Ending:
        """Return the login and its backend, or the ending if there is none."""
        if self.request.live and self.request.client_name is None and self.server.facts.names_clients:
            self.stage.name_client(self.client)
        recorder = Recorder(_unwatched, self._mask())
        try:
            if not self.asks:
                return self.stage.scene(self.login, self.client, self._route)
            admitted = self.stage.admit(self.login, self.client)
        except SessionError as error:
            return describe_failure(error, recorder)
        if isinstance(admitted, Refused):
            words = admitted.reason.encode() or admitted.refusal.text or b"no such user"
            return Ending("refused", reason=f"{self.stage.decider} refuses the login: {recorder.mask(words)}")
        return admitted

    def run(self, scene: Scene, watch: Callable[[Step], None]) -> Ending:
        """Run the handshake, and pass each step to ``watch``."""
        recorder = Recorder(watch, self._mask(scene.login.credentials.secret))
        if self.request.live:
            return self.stage.perform(scene, recorder)
        return self.stage.run(self.imagine_backend(scene), scene, recorder)

    def imagine_backend(self, scene: Scene) -> Rehearsal:
        """Return a conversation with a fresh imagined backend."""
        tls = scene.endpoint.tls if scene.endpoint else "off"
        backend = imagine(self.server.protocol, tls, self._offers)
        return Rehearsal(backend.greeting, answers=backend.answer)

    def _mask(self, replaced: bytes = b"") -> Mask:
        """Return a mask of the password that the operator gave, and of the one from the auth source."""
        given = self.request.words.password
        return make_mask({given or b"", replaced} - ({PASSWORD} if given is None else set()))

    def notes(self, scene: Scene) -> Iterator[str]:
        """Yield what a reader must know: the auth source that decided, and the placeholders."""
        decider, server = self.stage.decider, self.server
        if scene.endpoint is None:
            yield f"{decider} chooses the backend; give --backend to see one"
        elif self.asks:
            whom = as_text(scene.login.user) or "this mail"
            yield f"{decider} sends {whom} to {scene.endpoint.full_label}"
        elif scene.login.password is not None and not self.stage.source.passthrough:
            yield f"this preview does not ask {decider}, which may replace user and password"
        looks_up = server.facts.names_clients and bool(server.resolver.servers)
        if looks_up and not (self.request.live or self.request.client_name):
            yield "serve looks up the client's name when it connects; give --client-name to see one"
        local = self.client.local_address
        if local in (LOCAL_V4, LOCAL_V6) and (server.proxy_protocol != "off" or server.xclient == "auto"):
            yield f"{local} is a placeholder for the address that the client connects to"


def _unwatched(step: Step) -> None:
    """Ignore a step."""
