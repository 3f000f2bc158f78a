"""A generation: one configuration, and all that is made for it before its workers are forked."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from geomail.auth import make_client_contexts
from geomail.config.probe.names import resolve_names
from geomail.errors import GeomailError
from geomail.net import memory
from geomail.net.session_cache import get_shared_cache
from geomail.privileges import Account, CannotStart, choose_account
from geomail.process.children import GrowingDelay, check_limits
from geomail.process.console_sockets import MetricsSocket, close_unless_kept, open_control, open_metrics
from geomail.process.listeners import Listener, close_vanished, open_listeners, tune_all

if TYPE_CHECKING:
    from geomail.config.schema import Config, Server
    from geomail.net.client_contexts import ClientContexts
    from geomail.net.unix_sockets import UnixListener
    from geomail.sinks.log import Log

#: A line of a key that is shorter (in characters) reveals too little to be wiped from memory.
_WORTH_WIPING = 16


@dataclass(slots=True)
class Generation:
    """A configuration, what was opened for it, and the workers that serve it.

    ``account`` is the user that its children become; None: they keep the user of the master.
    ``workers`` holds the start time of each worker (time.monotonic()) by its process id.
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
        """True if operators can connect to a socket."""
        return self.control is not None or self.metrics is not None

    def forget(self) -> None:
        """Close listeners, and drop all private keys and ticket keys, in a child that does not serve mail."""
        for listener in self.listeners:
            listener.sock.close()
        self.listeners.clear()
        self.contexts.forget()
        written = [line for server in self.config.servers for line in _find_written_keys(server)]
        self.config = self.config.model_copy(update={"servers": ()})
        get_shared_cache.cache_clear()
        gc.unfreeze()  # contexts are part of reference cycles
        gc.collect()
        memory.wipe(written)

    def leave_to_workers_of(self, other: Generation) -> None:
        """Close the listeners of this generation only, in a child of the ``other`` generation."""
        kept = {id(listener.sock) for listener in other.listeners}
        for listener in self.listeners:
            if id(listener.sock) not in kept:
                listener.sock.close()
        if other is not self:
            self.listeners.clear()  # their keys may have been replaced since

    def leave_to_console(self) -> None:
        """Close the sockets to which operators connect, in a worker."""
        if self.control is not None:
            self.control.close()
        if self.metrics is not None:
            self.metrics.sock.close()

    def close_beside(self, kept: Generation) -> None:
        """Close all sockets that the generation ``kept`` does not use."""
        close_vanished(self.listeners, kept.listeners)
        close_unless_kept(self.control, kept.control)
        close_unless_kept(self.metrics, kept.metrics)


def open_generation(
    number: int, config: Config, old: Generation | None, log: Log, open_files: int
) -> Generation:
    """Look up, bind and open all that a configuration needs, or nothing; take over what is bound already.

    Raises GeomailError.
    """
    loaded = time.time()
    config = resolve_names(config)
    account = choose_account(config.user)
    bound, served = (old.listeners, old.control) if old else ([], None)
    contexts = make_client_contexts(config)
    listeners, control = open_listeners(config, bound), served
    try:
        control = open_control(config.control, served, log)
        use_log(log, config, account)
    except GeomailError:
        close_vanished(listeners, bound)
        close_unless_kept(control, served)
        raise
    metrics = open_metrics(config.metrics, old.metrics if old else None, log)
    for text in _check_limits(config, open_files):
        log.say("warning", text)
    return Generation(number, config, account, listeners, contexts, control, metrics, loaded)


def _find_written_keys(server: Server) -> Iterator[bytes]:
    """Yield the lines of private keys that the configuration itself holds."""
    for key in server.ssl_certificate_key:
        if key.startswith("data:"):
            yield from (line.encode() for line in key.splitlines() if len(line) >= _WORTH_WIPING)


def _check_limits(config: Config, open_files: int) -> Iterable[str]:
    usual = type(config).model_fields["worker_connections"].default
    named = 0 if config.worker_connections == usual else config.worker_connections
    return check_limits(config.user, named, open_files)


def use_log(log: Log, config: Config, account: Account | None) -> None:
    """Write the log as this configuration says, from now on. Raises CannotStart."""
    settings = config.log
    owner = None if account is None or account.is_root else account.uid
    try:
        log.use(**settings.model_dump(), owner=owner)
    except OSError as error:
        raise CannotStart(f"cannot write the log to {settings.target}: {error.strerror}") from None


def announce_listeners(log: Log, generation: Generation, before: Generation | None = None) -> None:
    """Set the options of listeners, and log them: after a reload only new ones, and closed ones."""
    for refused in tune_all(generation.listeners):
        log.say("warning", refused)
    now, then = _describe(generation.listeners), _describe(before.listeners if before else ())
    for added in (text for text in now if text not in then):
        log.say("notice", added)
    for gone in (text for text in then if text not in now):
        log.say("notice", f"no longer {gone}")


def _describe(listeners: Iterable[Listener]) -> dict[str, None]:
    """Return the lines of the log that name each listener, in their order."""
    return dict.fromkeys(
        each.description for listener in listeners for each in (listener, *listener.specific.values())
    )
