"""Host names that nginx, too, resolves once, when it reads its configuration.

They stand in ``listen``, ``resolver`` and ``set_real_ip_from``. The master
resolves them before it forks, so this asks the system directly, without gevent.
"""

from __future__ import annotations

from _socket import AI_ADDRCONFIG, SOCK_STREAM, gaierror, getaddrinfo
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from geomail.config.address import is_literal, normalize_address
from geomail.errors import GeomailError

if TYPE_CHECKING:
    from geomail.config.schema import Config, Listen, Server


class UnknownName(GeomailError):
    """A host name has no address; the text says which, and in which option."""


class DuplicateAddress(GeomailError):
    """Two ``listen`` are one address, now that names are resolved; the text says which."""


def resolve_names(config: Config) -> Config:
    """The configuration with addresses for names, and one port in each ``listen``.

    Raises UnknownName, DuplicateAddress.
    """
    taken: dict[str, Listen] = {}
    return config.model_copy(
        update={"servers": tuple(_resolve_server(server, taken) for server in config.servers)}
    )


def resolve_name_servers(server: Server) -> Server:
    """The server with addresses for the names in its ``resolver`` alone. Raises UnknownName."""
    servers = tuple(
        replace(address, host=host)
        for address in server.resolver.servers
        for host in _resolve(address.host, "resolver")
    )
    return server.model_copy(update={"resolver": replace(server.resolver, servers=servers)})


def _resolve_server(server: Server, taken: dict[str, Listen]) -> Server:
    listens = tuple(single for listen in server.listen for single in _resolve_listen(listen, taken))
    update = {"listen": listens, "set_real_ip_from": tuple(_resolve_senders(server))}
    return resolve_name_servers(server).model_copy(update=update)


def _resolve_listen(listen: Listen, taken: dict[str, Listen]) -> Iterator[Listen]:
    """Each address and port, once; one that is ``taken`` by another ``listen`` is refused."""
    hosts = [""] if listen.path else _resolve(listen.host, "listen")
    for single in (replace(each, host=host) for host in hosts for each in listen.split_ports()):
        # the system gives each port 0 another port
        other = taken.setdefault(normalize_address(single), listen) if single.port or single.path else listen
        if other is not listen:
            raise DuplicateAddress(f"{single.label} is listened on twice: {other.label} and {listen.label}")
        yield single


def _resolve_senders(server: Server) -> Iterator[str]:
    for sender in server.set_real_ip_from:
        if sender == "unix:" or "/" in sender:
            yield sender
        else:
            yield from _resolve(sender, "set_real_ip_from")


def _resolve(host: str, option: str) -> list[str]:
    if is_literal(host):
        return [host]
    try:
        # as in nginx, without IPv6 on this machine no ::1 for localhost, which could not be bound
        infos = getaddrinfo(host, None, type=SOCK_STREAM, flags=AI_ADDRCONFIG)
    except (gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnknownName(f"host not found in {option}: {host!r} ({reason})") from None
    return list(dict.fromkeys(str(info[4][0]) for info in infos))
