"""A preview from what was asked for: whose handshake, with which client, and with whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from geomail.auth.base import Refused
from geomail.config.probe.names import resolve_name_servers
from geomail.conversation import Rehearsal
from geomail.errors import SessionError
from geomail.preview.backend import offering, script
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
from geomail.preview.handshake import Ending, Recorder, Scene, Stage, Step, failed
from geomail.secrets import as_text, masking

if TYPE_CHECKING:
    from geomail.config.schema import Config
    from geomail.conversation import Mask


@dataclass(frozen=True)
class Asked:
    """What the operator wants to see; None and nothing leave it to the configuration, or to a placeholder.

    ``live``: with the real auth source and backend; else ``without`` and
    ``offers`` say what the imagined one offers.
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
    """One handshake, prepared. Raises Unusable, UnknownName, OSError where a file cannot be used."""

    def __init__(self, config: Config, asked: Asked) -> None:
        self.asked = asked
        self.server, listens = find_server(config, asked.protocol, asked.server)
        if asked.live:
            self.server = resolve_name_servers(self.server)
        self.stage = Stage(config, self.server)
        self.client = make_client(self.server, listens, asked.client, asked.client_name)
        self.login = make_login(self.server, asked.words, self.client)
        self._endpoint = None if asked.backend is None else self.stage.backend(asked.backend)
        self._offers = self._checked_offers()
        if asked.live and self.login.method == "plain" and asked.words.user is None:
            raise Unusable("--live needs a --user, or --from and --to")

    def _checked_offers(self) -> tuple[str, ...]:
        given = (*self.asked.offers, *self.asked.without)
        if given and self.asked.live:
            raise Unusable("--without and --offers are for a backend that is imagined, not for --live")
        if given and self.server.protocol != "smtp":
            raise Unusable("--without and --offers are about EHLO, which only SMTP has")
        if any(not offer.isprintable() or not offer.split() for offer in given):
            raise Unusable("--without and --offers want a keyword, as EHLO lists it")
        return offering(self.asked.offers, self.asked.without)

    @property
    def asks(self) -> bool:
        """Whether the auth source is asked; passthrough is no more than a look into the configuration."""
        return self._endpoint is None and (self.asked.live or self.stage.source.passthrough)

    @property
    def lacks_password(self) -> bool:
        """Whether somebody would be told a password that was not given."""
        if not self.asked.live or self.login.method != "plain" or self.asked.words.password is not None:
            return False
        return self.asks or self.stage.tells_password

    def close(self) -> None:
        """Give up what is held between logins."""
        self.stage.close()

    def give_password(self, password: bytes) -> None:
        """Log in with this password."""
        words = replace(self.asked.words, password=password)
        self.asked = replace(self.asked, words=words)
        self.login = make_login(self.server, words, self.client)

    def admit(self) -> Scene | Ending:
        """Who logs in where, after the auth source was asked if that is to be."""
        if self.asked.live and self.asked.client_name is None and self.server.protocol == "smtp":
            self.stage.name_client(self.client)
        if not self.asks:
            return Scene(self.login, self.client, self._endpoint)
        recorder = Recorder(_unwatched, self._mask())
        try:
            admitted = self.stage.admit(self.login, self.client)
        except SessionError as error:
            return failed(error, recorder)
        if isinstance(admitted, Refused):
            words = admitted.reason.encode() or admitted.refusal.text or b"no such user"
            return Ending("refused", reason=f"{self.stage.asked} refuses the login: {recorder.shown(words)}")
        return admitted

    def run(self, scene: Scene, watch: Callable[[Step], None]) -> Ending:
        """Run the handshake and tell its steps as they come."""
        recorder = Recorder(watch, self._mask(scene.login.password))
        if self.asked.live:
            return self.stage.perform(scene, recorder)
        return self.stage.run(self.imagined(scene), scene, recorder)

    def imagined(self, scene: Scene) -> Rehearsal:
        """A fresh backend that is none."""
        tls = scene.endpoint.tls if scene.endpoint else "off"
        willing = script(self.server.protocol, tls, self._offers)
        return Rehearsal(willing.greeting, answers=willing)

    def _mask(self, told: bytes = b"") -> Mask:
        """Masks the password as it was given, and as the auth source replaced it."""
        given = self.asked.words.password
        return masking({given or b"", told} - ({PASSWORD} if given is None else set()))

    def notes(self, scene: Scene) -> Iterator[str]:
        """What a reader must know: who decided, and what is a placeholder."""
        asked, server = self.stage.asked, self.server
        if scene.endpoint is None:
            yield f"{asked} is asked for the backend; give --backend to see one"
        elif self.asks:
            whom = as_text(scene.login.user) or "this mail"
            yield f"{asked} sends {whom} to {scene.endpoint.described}"
        elif scene.login.method == "plain" and not self.stage.source.passthrough:
            yield f"{asked} is not asked, though it may replace user and password"
        looks_up = server.protocol == "smtp" and bool(server.resolver.servers)
        if looks_up and not (self.asked.live or self.asked.client_name):
            yield "the client's name is looked up when it connects; give --client-name to see one"
        local = self.client.local_address
        if local in (LOCAL_V4, LOCAL_V6) and (server.proxy_protocol != "off" or server.xclient == "auto"):
            yield f"{local} stands for the address that the client connects to"


def _unwatched(step: Step) -> None:
    """For where there are no steps."""
