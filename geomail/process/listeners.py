"""The listening sockets of a configuration, with the TLS of their clients: made before the fork."""

from __future__ import annotations

import errno
from _socket import socket as RawSocket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from geomail.config.address import Address, choose_wildcard, normalize_address
from geomail.config.schema import Listen, Server
from geomail.errors import GeomailError, TlsSettingError
from geomail.net.listen import IPPROTO_MPTCP, bind, tune
from geomail.net.session_cache import draw_fresh_ticket_keys
from geomail.net.tls import TlsSide
from geomail.net.tls_contexts import ServerSettings, make_server_context
from geomail.net.unix_sockets import UnixListener

if TYPE_CHECKING:
    from geomail.config.schema import Config, KeepAlive

#: The properties of a socket that cannot change once it is bound: address, MPTCP, IPv6 only.
_Kind = tuple[str, bool, bool]


class CannotListen(GeomailError):
    """An address or a TLS setting that cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One address of one server, bound, with the TLS of its clients.

    ``server_index`` is the place of the server among those of its
    configuration: names of servers need not be unique. ``specific`` holds
    listeners of other servers that share the socket: they have a single
    address each, and this one has all other addresses of the port.
    """

    server: Server
    server_index: int
    listen: Listen
    sock: RawSocket
    side: TlsSide | None
    specific: dict[str, Listener] = field(default_factory=dict)

    def at(self, address: str) -> Listener:
        """Return the listener for clients that have connected to this address."""
        return self.specific.get(address, self)

    @property
    def description(self) -> str:
        """The words of the log: ``listening on [::]:587 for smtp (starttls only)``."""
        extras = [word for word in ("ssl", "proxy_protocol") if getattr(self.listen, word)]
        if self.server.starttls != "off" and not self.listen.ssl:
            extras.append(f"starttls {self.server.starttls}")
        words = f" ({', '.join(extras)})" if extras else ""
        return f"listening on {self.listen.label} for {self.server.protocol}{words}"


def open_listeners(config: Config, previous: Sequence[Listener]) -> list[Listener]:
    """Bind all addresses of a configuration, or none; sockets that are bound already are taken over.

    The configuration holds no host names any more. An address whose port
    another listener has with a wildcard shares that socket: Linux does not
    allow both. Only an address that had its own socket before keeps it, as
    clients may wait there. TLS session tickets get fresh keys. Raises CannotListen.
    """
    draw_fresh_ticket_keys()
    claims = list(_list_claims(config))
    taken = {normalize_address(each.listen) for each in claims}
    alone = [each for each in claims if _find_wildcard(each.listen) not in taken]
    sockets = _Sockets(previous, {_get_kind(each.listen) for each in alone})
    try:
        listeners = [each.bind_to(sockets.get(each.listen)) for each in alone]
        wholes = {normalize_address(listener.listen): listener for listener in listeners}
        listeners.extend(_keep_parts(previous, wholes, sockets))
    except CannotListen:
        sockets.close_new()
        raise
    for each in claims:
        if (whole := wholes.get(_find_wildcard(each.listen))) is not None:
            whole.specific[str(ip_address(each.listen.host))] = each.bind_to(whole.sock)
    return listeners


@dataclass(frozen=True, slots=True)
class _Claim:
    """One address of a configuration, before it is bound; it has the fields of a Listener."""

    server: Server
    server_index: int
    listen: Listen
    side: TlsSide | None

    def bind_to(self, sock: RawSocket) -> Listener:
        return Listener(self.server, self.server_index, self.listen, sock, self.side)


def _list_claims(config: Config) -> Iterator[_Claim]:
    for index, server in enumerate(config.servers):
        side = make_tls_side(server)
        for listen in server.listen:
            yield _Claim(server, index, listen, side)


def _keep_parts(
    previous: Iterable[Listener], wholes: Mapping[str, Listener], sockets: _Sockets
) -> Iterator[Listener]:
    """Yield listeners for single addresses that a wildcard takes over and that keep their own sockets."""
    for before in previous:
        if (whole := wholes.get(_find_wildcard(before.listen))) is not None:
            listen = replace(whole.listen, host=before.listen.host)
            yield replace(whole, listen=listen, sock=sockets.get(listen))


def close_vanished(old: Iterable[Listener], current: Iterable[Listener]) -> None:
    """Close the sockets that have no listener any more, and remove the files of Unix sockets."""
    kept = {id(listener.sock) for listener in current}
    for listener in old:
        if id(listener.sock) not in kept:
            listener.sock.close()
            if isinstance(listener.sock, UnixListener):
                listener.sock.remove()


def tune_all(listeners: Iterable[Listener]) -> Iterator[str]:
    """Set the options of bound sockets; yield a sentence for each that the system does not take."""
    for listener in listeners:
        listen, sock = listener.listen, listener.sock
        refused = tune(
            sock,
            backlog=listen.backlog,
            rcvbuf=listen.rcvbuf,
            sndbuf=listen.sndbuf,
            keepalive=_get_keepalive(listen.so_keepalive),
        )
        if listen.multipath and not listen.path and sock.proto != IPPROTO_MPTCP:
            refused.append("multipath: the system has no MPTCP")
        yield from (f"listen {listen.label}: {text}; the option is left out" for text in refused)


class _Sockets:
    """Sockets of these kinds: those of ``previous`` listeners, and new ones."""

    def __init__(self, previous: Sequence[Listener], kinds: Collection[_Kind]) -> None:
        self._leaving = [listener for listener in previous if _get_kind(listener.listen) not in kinds]
        self._bound = {
            _get_kind(listener.listen): listener.sock for listener in previous if _is_in_place(listener.sock)
        }
        self._new: list[RawSocket] = []

    def get(self, listen: Listen) -> RawSocket:
        try:
            return self._bound.pop(_get_kind(listen), None) or self._bind(listen)
        except OSError as error:
            raise CannotListen(f"cannot listen on {listen.label}: {error.strerror}") from None

    def _bind(self, listen: Listen) -> RawSocket:
        """Bind a new socket, also beside a socket that is about to close and overlaps its address."""
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


def _get_kind(listen: Listen) -> _Kind:
    """Return the properties that cannot change once the socket is bound."""
    return (
        normalize_address(listen),
        not listen.path and listen.multipath,
        listen.host != "::" or listen.ipv6only,
    )


def _get_keepalive(settings: bool | KeepAlive) -> bool | tuple[int | None, int | None, int | None]:
    if isinstance(settings, bool):
        return settings
    return settings.idle, settings.interval, settings.count


def _find_wildcard(listen: Listen) -> str:
    """Return the wildcard address that includes this one; empty if there is none."""
    host = choose_wildcard(listen.host)
    return (
        ""
        if listen.path or not listen.port or listen.host == host
        else normalize_address(Address(host, listen.port))
    )


def make_tls_side(server: Server) -> TlsSide | None:
    """Make the TLS of a server's clients; None if it has none. Raises CannotListen."""
    if not server.has_tls:
        return None
    try:
        pairs = zip(server.ssl_certificate, server.ssl_certificate_key, strict=True)
        settings = ServerSettings(certificates=pairs, alpn=server.facts.alpn, **server.tls_settings)
        context = make_server_context(settings)
    except (OSError, TlsSettingError) as error:
        raise CannotListen(f"TLS of server {server.name}: {error}") from None
    return TlsSide(context, server=True, verify_client=server.ssl_verify_client)
