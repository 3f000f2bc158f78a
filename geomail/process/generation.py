"""One configuration in force, with all that is made for it before its workers are forked."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from geomail.auth import client_contexts
from geomail.config.probe.names import resolve_names
from geomail.errors import GeomailError
from geomail.net import memory
from geomail.net.session_cache import get_shared_cache
from geomail.privileges import Account, CannotStart, choose_account
from geomail.process.children import GrowingDelay, impossible
from geomail.process.keeper import MetricsSocket, close_new, open_control, open_metrics
from geomail.process.listeners import close_vanished, open_listeners, tune_all

if TYPE_CHECKING:
    from geomail.config.schema import Config, Server
    from geomail.net.client_contexts import ClientContexts
    from geomail.net.unix_sockets import UnixListener
    from geomail.process.worker import Listener
    from geomail.sinks.log import Log

#: Characters of a key's line that tell something of the key.
_WORTH_WIPING = 16


@dataclass(slots=True)
class Generation:
    """A configuration, what was opened for it, and the workers that serve it.

    ``account`` is the user that its children become; None: they stay the user of the master.
    """

    number: int
    config: Config
    account: Account | None
    listeners: list[Listener]
    contexts: ClientContexts
    control: UnixListener | None
    metrics: MetricsSocket | None
    loaded: float
    workers: dict[int, float] = field(default_factory=dict)
    restart: GrowingDelay = field(default_factory=GrowingDelay)

    @property
    def has_console(self) -> bool:
        """Tell whether there is anything for operators to connect to."""
        return self.control is not None or self.metrics is not None

    def forget(self) -> None:
        """In a child that speaks no mail: close listeners, and let go of all private keys and ticket keys."""
        for listener in self.listeners:
            listener.sock.close()
        self.listeners.clear()
        self.contexts.forget()
        written = [line for server in self.config.servers for line in _written_keys(server)]
        self.config = self.config.model_copy(update={"servers": ()})
        get_shared_cache.cache_clear()
        gc.unfreeze()  # contexts are held by what they call
        gc.collect()
        memory.wipe(written)

    def leave_to_workers_of(self, other: Generation) -> None:
        """In a child of the ``other`` one: close listeners that are of this one alone."""
        kept = {id(listener.sock) for listener in other.listeners}
        for listener in self.listeners:
            if id(listener.sock) not in kept:
                listener.sock.close()
        if other is not self:
            self.listeners.clear()  # with keys that may have been changed since

    def leave_to_console(self) -> None:
        """In a worker: close the sockets that operators come to."""
        if self.control is not None:
            self.control.close()
        if self.metrics is not None:
            self.metrics.sock.close()

    def close_beside(self, kept: Generation) -> None:
        """Close what is this one's alone, and not that of the generation that goes on."""
        close_vanished(self.listeners, kept.listeners)
        close_new(self.control, kept.control)
        close_new(self.metrics, kept.metrics)


def open_generation(
    number: int, config: Config, old: Generation | None, log: Log, open_files: int
) -> Generation:
    """Look up, bind and open all that a configuration needs, or nothing; what is bound already is taken over.

    Raises a GeomailError.
    """
    loaded = time.time()
    config = resolve_names(config)
    account = choose_account(config.user)
    bound, served = (old.listeners, old.control) if old else ([], None)
    contexts = client_contexts(config)
    listeners, control = open_listeners(config, bound), served
    try:
        control = open_control(config.control, served, log)
        use_log(log, config, account)
    except GeomailError:
        close_vanished(listeners, bound)
        close_new(control, served)
        raise
    metrics = open_metrics(config.metrics, old.metrics if old else None, log)
    for text in _impossible(config, open_files):
        log.say("warning", text)
    return Generation(number, config, account, listeners, contexts, control, metrics, loaded)


def _written_keys(server: Server) -> Iterator[bytes]:
    """Yield the lines of private keys that the configuration itself holds."""
    for key in server.ssl_certificate_key:
        if key.startswith("data:"):
            yield from (line.encode() for line in key.splitlines() if len(line) >= _WORTH_WIPING)


def _impossible(config: Config, open_files: int) -> Iterable[str]:
    usual = type(config).model_fields["worker_connections"].default
    named = 0 if config.worker_connections == usual else config.worker_connections
    return impossible(config.user, named, open_files)


def use_log(log: Log, config: Config, account: Account | None) -> None:
    """Have the log written as this configuration says. Raises CannotStart."""
    settings = config.log
    owner = None if account is None or account.is_root else account.uid
    try:
        log.use(**settings.model_dump(), owner=owner)
    except OSError as error:
        raise CannotStart(f"cannot write the log to {settings.target}: {error.strerror}") from None


def tell_listeners(log: Log, generation: Generation, before: Generation | None = None) -> None:
    """Tune what listens, and log it; after a reload what is new, and what listens no more."""
    for refused in tune_all(generation.listeners):
        log.say("warning", refused)
    now, then = _described(generation.listeners), _described(before.listeners if before else ())
    for added in (text for text in now if text not in then):
        log.say("notice", added)
    for gone in (text for text in then if text not in now):
        log.say("notice", f"no longer {gone}")


def _described(listeners: Iterable[Listener]) -> dict[str, None]:
    """Return the lines for the log that name each listener, in its order."""
    return dict.fromkeys(
        each.described for listener in listeners for each in (listener, *listener.specific.values())
    )
