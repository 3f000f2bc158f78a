"""Host names in ``listen``, ``resolver`` and ``set_real_ip_from``, which geomail resolves only once.

nginx does the same when it reads its configuration. The master resolves the
names before it forks, so this module asks the system directly, without gevent.
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
    """A host name has no address. The text names it, and its option."""


class DuplicateAddress(GeomailError):
    """Two ``listen`` are the same address after names are resolved. The text names both."""


def resolve_names(config: Config) -> Config:
    """Replace names by addresses, and each ``listen`` by one for each port.

    Raises UnknownName, DuplicateAddress.
    """
    taken: dict[str, Listen] = {}
    return config.model_copy(
        update={"servers": tuple(_resolve_server(server, taken) for server in config.servers)}
    )


def resolve_name_servers(server: Server) -> Server:
    """Replace names by addresses in the server's ``resolver`` alone. Raises UnknownName."""
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
    """Return each address and port once.

    Raises DuplicateAddress if another ``listen`` has one of them in ``taken``.
    """
    hosts = [""] if listen.path else _resolve(listen.host, "listen")
    for single in (replace(each, host=host) for host in hosts for each in listen.split_ports()):
        # The system gives each port 0 another port.
        other = taken.setdefault(normalize_address(single), listen) if single.port or single.path else listen
        if other is not listen:
            raise DuplicateAddress(
                f"{single.label} is listened on twice: {other.label} and {listen.label}; remove one"
            )
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
        # As in nginx: on a machine without IPv6, localhost is not ::1, which could not be bound.
        infos = getaddrinfo(host, None, type=SOCK_STREAM, flags=AI_ADDRCONFIG)
    except (gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnknownName(
            f"host not found in {option}: {host!r} ({reason}); check the name and the DNS"
        ) from None
    return list(dict.fromkeys(str(info[4][0]) for info in infos))
