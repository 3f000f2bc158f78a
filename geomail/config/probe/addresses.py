"""Host names that must resolve, and addresses that must be free and belong to this machine."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from geomail.config.address import is_literal, normalize_address
from geomail.config.lines import KeyPath
from geomail.config.listen import Listen
from geomail.config.schema import Config, Server
from geomail.config.source import Source
from geomail.config.units import quote, show
from geomail.errors import Problem

Severity = Literal["error", "warning"]
#: The addresses of a name, or the reason for which it has none.
Answer = tuple[str, ...] | str
#: The seconds for all names together.
RESOLVE_TIME = 3.0


def probe_addresses(config: Config, source: Source) -> Iterator[Problem]:
    """Report names that do not resolve now, and addresses that geomail cannot listen on."""
    names: dict[str, tuple[KeyPath, Severity]] = {}
    for index, server in enumerate(config.servers):
        for name, path in _list_needed_names(server, index, source):
            names.setdefault(name, (path, "error"))
    for name, backend in config.backends.items():
        for key, address in backend.addresses().items():
            names.setdefault(address.host, (("backends", name, key), "warning"))
    answers = _resolve_all([name for name in names if name and not is_literal(name)])
    for name, answer in answers.items():
        if isinstance(answer, str):
            path, severity = names[name]
            yield source.make_problem(
                path, f"{show(name)} cannot be resolved now: {answer}; check the name and the DNS", severity
            )
    yield from _probe_sockets(config, source)
    listens = list(_list_listens(config, answers))
    yield from _find_duplicates(listens, source)
    yield from _probe_listens(listens, source)
    if (metrics := config.metrics.listen) is not None and (text := _explain_refused_bind(metrics.host)):
        yield source.make_problem(("metrics", "listen"), f"{metrics.host} {text}")


def _list_needed_names(server: Server, index: int, source: Source) -> Iterator[tuple[str, KeyPath]]:
    for position, listen in enumerate(server.listen):
        yield listen.host, ("mail", "server", index, "listen", position)
    if server.auth_http is not None and (url := source.find_origin(index, "auth_http")):
        yield server.auth_http.host, url
    if resolver := source.find_origin(index, "resolver"):
        yield from ((address.host, resolver) for address in server.resolver.servers)
    if senders := source.find_origin(index, "set_real_ip_from"):
        words = (word for word in server.set_real_ip_from if word != "unix:" and "/" not in word)
        yield from ((word, senders) for word in words)


def _list_listens(config: Config, answers: Mapping[str, Answer]) -> Iterator[tuple[KeyPath, Listen, str]]:
    """List every address to listen on, in its written form and resolved."""
    for index, server in enumerate(config.servers):
        for position, listen in enumerate(server.listen):
            answer = answers.get(listen.host, (listen.host,))
            for host in () if isinstance(answer, str) or listen.path else answer:
                yield ("mail", "server", index, "listen", position), listen, host


def _probe_sockets(config: Config, source: Source) -> Iterator[Problem]:
    """Report Unix sockets that geomail cannot create."""
    for index, server in enumerate(config.servers):
        for position, listen in enumerate(server.listen):
            path, file = ("mail", "server", index, "listen", position), Path(listen.path)
            if listen.path and not file.parent.is_dir():
                yield source.make_problem(path, f"there is no folder {quote(str(file.parent))}; create it")
            elif listen.path and file.exists() and not file.is_socket():
                yield source.make_problem(
                    path, f"{quote(str(file))} exists and is not a socket; remove it, or use another path"
                )


def _find_duplicates(listens: list[tuple[KeyPath, Listen, str]], source: Source) -> Iterator[Problem]:
    """Report addresses that are the same after names are resolved; checks report the others."""
    first: dict[str, tuple[KeyPath, Listen]] = {}
    for path, listen, host in listens:
        for single in listen.split_ports():
            there, other = first.setdefault(normalize_address(replace(single, host=host)), (path, listen))
            if there != path and single.port and listen.host.lower() != other.host.lower():
                text = f"{single.label} is the same as {other.label} in line {source.find_line(there)}"
                yield source.make_problem(path, f"{text}; remove one")


def _probe_listens(listens: list[tuple[KeyPath, Listen, str]], source: Source) -> Iterator[Problem]:
    for path, listen, host in listens:
        if text := _explain_refused_bind(host, listen.ipv6only):
            written = "" if host == listen.host else f" ({listen.host})"
            yield source.make_problem(path, f"{host}{written} {text}")


def _explain_refused_bind(host: str, ipv6only: bool = True) -> str:
    """Explain why geomail cannot listen on an IP address; empty if it can. The system chooses the port."""
    if not host:
        return ""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, ipv6only)
            sock.bind((host, 0))
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return "is not an address of this machine; use one that is"
        return f"cannot be listened on: {error.strerror}; use another address"
    return ""


def _resolve_all(names: Iterable[str]) -> dict[str, Answer]:
    """Return the system's answers about these names, which it gets all at once."""
    answers: dict[str, Answer] = {}
    asking = {name: threading.Thread(target=_resolve, args=(name, answers), daemon=True) for name in names}
    for thread in asking.values():
        thread.start()
    end = time.monotonic() + RESOLVE_TIME
    for thread in asking.values():
        thread.join(max(0.0, end - time.monotonic()))
    silence = f"no answer within {RESOLVE_TIME:g} seconds"
    return {name: answers.get(name, silence) for name in asking}


def _resolve(name: str, answers: dict[str, Answer]) -> None:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        answers[name] = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    except (OSError, UnicodeError) as error:
        answers[name] = getattr(error, "strerror", None) or str(error)
