"""The listening sockets of a configuration, with the TLS of their clients: made before the fork."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from geomail.config.address import Address, choose_wildcard, normalize_address
from geomail.errors import GeomailError, TlsSettingError
from geomail.net.listen import IPPROTO_MPTCP, bind, tune
from geomail.net.session_cache import draw_fresh_ticket_keys
from geomail.net.tls import TlsSide
from geomail.net.unix_sockets import UnixListener
from geomail.process.worker import Listener

if TYPE_CHECKING:
    from _socket import socket as RawSocket

    from geomail.config.schema import Config, KeepAlive, Listen, Server


_Kind = tuple[str, bool, bool]


class CannotListen(GeomailError):
    """An address or a TLS setting cannot be used; the text says which and why."""


def open_listeners(config: Config, previous: Sequence[Listener]) -> list[Listener]:
    """Bind all of a configuration without names, or nothing; sockets that are bound already are taken over.

    An address whose port is also listened on with a wildcard shares its
    socket: Linux lets nobody have both. Only one that has had a socket of its
    own before keeps it, as clients may wait there. Tickets of TLS sessions get
    fresh keys. Raises CannotListen.
    """
    draw_fresh_ticket_keys()
    listens = [(server, tls_side(server), listen) for server in config.servers for listen in server.listen]
    taken = {normalize_address(listen) for _, _, listen in listens}
    alone = [each for each in listens if _wildcard(each[2]) not in taken]
    sockets = _Sockets(previous, {_kind(listen) for _, _, listen in alone})
    listeners: list[Listener] = []
    try:
        for server, side, listen in alone:
            listeners.append(Listener(server, listen, sockets.get(listen), side))
        wholes = {normalize_address(listener.listen): listener for listener in listeners}
        listeners.extend(_parts(previous, wholes, sockets))
    except CannotListen:
        sockets.close_new()
        raise
    for server, side, listen in listens:
        if _wildcard(listen) in taken:
            whole = wholes[_wildcard(listen)]
            whole.specific[str(ip_address(listen.host))] = Listener(server, listen, whole.sock, side)
    return listeners


def _parts(
    previous: Iterable[Listener], wholes: Mapping[str, Listener], sockets: _Sockets
) -> Iterator[Listener]:
    """The listeners of single addresses that wildcards take over, in sockets of their own."""
    for before in previous:
        if (whole := wholes.get(_wildcard(before.listen))) is not None:
            listen = replace(whole.listen, host=before.listen.host)
            yield replace(whole, listen=listen, sock=sockets.get(listen))


def close_vanished(old: Iterable[Listener], current: Iterable[Listener]) -> None:
    """Close the sockets that are no longer listened on, and remove the files of Unix sockets."""
    kept = {id(listener.sock) for listener in current}
    for listener in old:
        if id(listener.sock) not in kept:
            listener.sock.close()
            if isinstance(listener.sock, UnixListener):
                listener.sock.remove()


def tune_all(listeners: Iterable[Listener]) -> Iterator[str]:
    """Set on sockets that are bound what can be set later; gives what the system does not do."""
    for listener in listeners:
        listen, sock = listener.listen, listener.sock
        refused = tune(
            sock,
            backlog=listen.backlog,
            rcvbuf=listen.rcvbuf,
            sndbuf=listen.sndbuf,
            keepalive=_keepalive(listen.so_keepalive),
        )
        if listen.multipath and not listen.path and sock.proto != IPPROTO_MPTCP:
            refused.append("multipath: the system has none")
        yield from (f"listen {listen.label}: {text}; it goes on without" for text in refused)


class _Sockets:
    """Sockets by their address: those that are bound already, and new ones, of the kinds in ``wanted``."""

    def __init__(self, previous: Sequence[Listener], wanted: Collection[_Kind]) -> None:
        self._leaving = [listener for listener in previous if _kind(listener.listen) not in wanted]
        self._bound = {
            _kind(listener.listen): listener.sock for listener in previous if _is_in_place(listener.sock)
        }
        self._new: list[RawSocket] = []

    def get(self, listen: Listen) -> RawSocket:
        try:
            return self._bound.pop(_kind(listen), None) or self._bind(listen)
        except OSError as error:
            raise CannotListen(f"cannot listen on {listen.label}: {error.strerror}") from None

    def _bind(self, listen: Listen) -> RawSocket:
        """Bind it; in the way may be a socket that goes, and has part of the address or more than that."""
        try:
            sock = _bind(listen)
        except OSError as error:
            beside = [old.sock for old in self._leaving if listen.port and old.listen.port == listen.port]
            if error.errno != errno.EADDRINUSE or not beside:
                raise
            sock = _bind(listen, beside)
        self._new.append(sock)
        return sock

    def close_new(self) -> None:
        for sock in self._new:
            sock.close()


def _is_in_place(sock: RawSocket) -> bool:
    """Tell whether clients find a socket where it was bound: a Unix socket's file may be gone."""
    return not isinstance(sock, UnixListener) or sock.is_in_place()


def _bind(listen: Listen, beside: Sequence[RawSocket] = ()) -> RawSocket:
    return bind(
        host=listen.host,
        port=listen.port,
        path=listen.path,
        ipv6only=listen.ipv6only,
        multipath=listen.multipath,
        beside=beside,
    )


def _kind(listen: Listen) -> _Kind:
    """What cannot be changed in a socket that is bound."""
    return (
        normalize_address(listen),
        not listen.path and listen.multipath,
        listen.host != "::" or listen.ipv6only,
    )


def _keepalive(settings: bool | KeepAlive) -> bool | tuple[int | None, int | None, int | None]:
    if isinstance(settings, bool):
        return settings
    return settings.idle, settings.interval, settings.count


def _wildcard(listen: Listen) -> str:
    """The address, of another listener, that would be on this one too; empty if there is none."""
    host = choose_wildcard(listen.host)
    return (
        ""
        if listen.path or not listen.port or listen.host == host
        else normalize_address(Address(host, listen.port))
    )


def tls_side(server: Server) -> TlsSide | None:
    """The TLS of a server's clients; None if it has none. Raises CannotListen."""
    if not server.has_tls:
        return None
    try:
        pairs = zip(server.ssl_certificate, server.ssl_certificate_key, strict=True)
        settings = ServerSettings(certificates=pairs, alpn=server.facts.alpn, **server.tls_settings)
        context = make_server_context(settings)
    except (OSError, TlsSettingError) as error:
        raise CannotListen(f"TLS of server {server.name}: {error}") from None
    return TlsSide(context, server=True, verify_client=server.ssl_verify_client)
