"""Host names that nginx, too, resolves once, when it reads its configuration.

They stand in ``listen``, ``resolver`` and ``set_real_ip_from``. The master
resolves them before it forks, so this asks the system directly, without gevent.
"""

from __future__ import annotations

from _socket import SOCK_STREAM, gaierror, getaddrinfo
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from geomail.config.address import canonical, is_literal
from geomail.errors import GeomailError

if TYPE_CHECKING:
    from geomail.config.schema import Config, Listen, Server


class UnknownName(GeomailError):
    """A host name has no address; the text says which, and in which option."""


def without_names(config: Config) -> Config:
    """The configuration with addresses for names, and one port in each ``listen``. Raises UnknownName."""
    return config.model_copy(update={"servers": tuple(map(_server, config.servers))})


def _server(server: Server) -> Server:
    listens = {
        canonical(single): single
        for listen in server.listen
        for found in _listens(listen)
        for single in found.each()
    }
    servers = tuple(
        replace(address, host=host)
        for address in server.resolver.servers
        for host in _addresses(address.host, "resolver")
    )
    return server.model_copy(
        update={
            "listen": tuple(listens.values()),
            "resolver": replace(server.resolver, servers=servers),
            "set_real_ip_from": tuple(_senders(server)),
        }
    )


def _listens(listen: Listen) -> Iterator[Listen]:
    if listen.path:
        yield listen
        return
    yield from (replace(listen, host=host) for host in _addresses(listen.host, "listen"))


def _senders(server: Server) -> Iterator[str]:
    for sender in server.set_real_ip_from:
        if sender == "unix:" or "/" in sender:
            yield sender
        else:
            yield from _addresses(sender, "set_real_ip_from")


def _addresses(host: str, option: str) -> list[str]:
    if is_literal(host):
        return [host]
    try:
        infos = getaddrinfo(host, None, type=SOCK_STREAM)
    except (gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnknownName(f"host not found in {option}: {host!r} ({reason})") from None
    return list(dict.fromkeys(str(info[4][0]) for info in infos))
