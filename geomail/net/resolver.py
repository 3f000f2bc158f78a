"""Names to addresses and back: the client's name for SMTP, the hosts of backends and auth services."""

from __future__ import annotations

import string
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from socket import AF_INET, AF_INET6, SOCK_STREAM, inet_ntop, inet_pton
from typing import Generic, TypeVar

import dns.exception
import dns.name
import dns.rdtypes.ANY.PTR
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.reversename
from dns.message import Message
from dns.rdataclass import IN
from dns.rdatatype import AAAA, PTR, A
from dns.rrset import RRset
from gevent.socket import gaierror, getaddrinfo

from geomail.net.connect import Address
from geomail.net.nameservers import NOT_FOUND, Failure, NameServers

#: Seconds that an answer is kept at most, and one that says nothing of its life (the system's).
LONGEST_TTL, SYSTEM_TTL = 86400.0, 30.0
#: Answers that are kept.
CACHE_SIZE = 4096

_LABEL_BYTES = (string.ascii_letters + string.digits + "-").encode()
_MAPPED = bytes(10) + b"\xff\xff"
_ADDRESSES = (dns.rdtypes.IN.A.A, dns.rdtypes.IN.AAAA.AAAA)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClientName:
    """The verified name of a client, lower-cased; None if there is none, ``temporary`` if only for now.

    ``problem`` is what the log should say of it, empty for nothing.
    """

    name: bytes | None
    temporary: bool = False
    problem: str = ""


_NAMELESS = ClientName(None)


class Resolver:
    """Resolves through the DNS servers of ``resolver``, else as the system does; keeps what it learns.

    ``timeout`` is for each lookup at those servers. ``valid`` is how long their
    answers are kept, None as long as these say themselves; addresses are asked
    for with ``ipv4`` and ``ipv6`` each, one of them at least.
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        timeout: float,
        *,
        valid: float | None = None,
        ipv4: bool = True,
        ipv6: bool = True,
    ) -> None:
        addresses = [_address(host, port) for host, port in servers]
        self._servers = NameServers(addresses, timeout) if addresses else None
        self._kinds = [kind for kind, wanted in ((A, ipv4), (AAAA, ipv6)) if wanted]
        self._valid = valid
        self._pointers: _TtlCache[str] = _TtlCache()
        self._hosts: _TtlCache[tuple[str, ...]] = _TtlCache()

    def client_name(self, address: str) -> ClientName:
        """The name that ``address`` points to and that points back to it; never raises.

        Without ``resolver`` nobody has a name. What a name may hold
        (``A-Za-z0-9-.``) makes it safe in a line or header.
        """
        if self._servers is None:
            return _NAMELESS
        if literal_family(address) is None:
            return ClientName(None, temporary=True)
        name = self._pointers.get(address) or self._point(self._servers, address)
        if isinstance(name, ClientName):
            return name
        addresses, failure = self._look_up(self._servers, name)
        if failure.temporary or not addresses:
            return ClientName(None, failure.temporary, f'"{name}" could not be resolved ({failure.text})')
        confirmed = _packed(address) in map(_packed, addresses)
        return ClientName(name.encode() if confirmed else None)

    def addresses(self, host: str, port: int) -> list[Address]:
        """Where to connect to, for a host name or an IP address. Raises OSError.

        What the DNS servers do not know, and ``localhost``, is left to the
        system: it may stand in /etc/hosts.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        found = self._hosts.get(host) or self._find(host)
        return [_address(address, port) for address in found]

    def _point(self, servers: NameServers, address: str) -> str | ClientName:
        outcome = servers.ask(dns.reversename.from_address(address), PTR)[0]
        if isinstance(outcome, Failure):
            problem = f"{address} could not be resolved ({outcome.text})"
            return ClientName(None, outcome.temporary, problem)
        target, ttl = _target(outcome)
        if target is None:
            return ClientName(None, temporary=True, problem=f"{address} resolved to no usable name")
        labels = target.labels[:-1]
        if any(label.translate(None, _LABEL_BYTES) for label in labels):
            shown = target.to_text(omit_final_dot=True)
            problem = f'{address} resolved to invalid host name "{shown}"'
            return ClientName(None, temporary=True, problem=problem)
        name = b".".join(labels).decode().lower()
        self._pointers.put(address, name, self._life(ttl))
        return name

    def _look_up(self, servers: NameServers, host: str) -> tuple[tuple[str, ...], Failure]:
        """The addresses of a host, and the worst that happened while asking (NOT_FOUND if nothing did)."""
        known = self._hosts.get(host)
        if known:
            return known, NOT_FOUND
        outcomes = servers.ask(dns.name.from_text(host), *self._kinds)
        records = [rrset for answer in outcomes if isinstance(answer, Message) for rrset in _records(answer)]
        found = tuple(
            record.address for rrset in records for record in rrset if isinstance(record, _ADDRESSES)
        )
        for outcome in outcomes:
            if isinstance(outcome, Failure) and outcome.temporary:
                return found, outcome
        if found:
            self._hosts.put(host, found, self._life(min(rrset.ttl for rrset in records)))
        return found, NOT_FOUND

    def _life(self, ttl: float) -> float:
        return ttl if self._valid is None else self._valid

    def _find(self, host: str) -> tuple[str, ...]:
        if self._servers is not None and host != "localhost":
            try:
                found, failure = self._look_up(self._servers, host)
            except dns.exception.DNSException:
                raise OSError(f"{host} is no host name") from None
            if found:
                return found
            if failure.temporary:
                raise OSError(f"{host} could not be resolved ({failure.text})")
        return self._ask_system(host)

    def _ask_system(self, host: str) -> tuple[str, ...]:
        """``getaddrinfo``, in gevent's pool of threads."""
        try:
            infos = getaddrinfo(host, None, type=SOCK_STREAM)
        except gaierror as error:
            raise OSError(f"{host} could not be resolved ({error.strerror})") from None
        except UnicodeError:
            raise OSError(f"{host} is no host name") from None
        found = tuple(str(info[4][0]) for info in infos)
        self._hosts.put(host, found, SYSTEM_TTL)
        return found


class _TtlCache(Generic[T]):
    """What was learnt, for as long as it holds; the oldest goes when there is too much."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[float, T]] = {}

    def get(self, key: str) -> T | None:
        entry = self._entries.get(key)
        return entry[1] if entry is not None and time.monotonic() < entry[0] else None

    def put(self, key: str, value: T, ttl: float) -> None:
        self._entries.pop(key, None)
        if len(self._entries) >= CACHE_SIZE:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = time.monotonic() + min(ttl, LONGEST_TTL), value


def literal_family(host: str) -> int | None:
    """The family of an IP address in text, None if it is no such thing."""
    family = AF_INET6 if ":" in host else AF_INET
    try:
        inet_pton(family, host)
    except (OSError, ValueError):
        return None
    return family


@lru_cache(maxsize=CACHE_SIZE)
def _literal(host: str, port: int) -> Address | None:
    return None if literal_family(host) is None else _address(host, port)


def canonical_host(host: str) -> str:
    """A host in the form in which hosts are compared: lower case, no final dot, IPv6 bare and short."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if literal_family(bare) == AF_INET6:
        return inet_ntop(AF_INET6, inet_pton(AF_INET6, bare))
    return host.lower().removesuffix(".")


def _records(answer: Message) -> list[RRset]:
    return [rrset for rrset in answer.answer if rrset.rdclass == IN]


def _target(answer: Message) -> tuple[dns.name.Name | None, int]:
    """The name that the first PTR record gives, and for how long; what stands before it is not followed."""
    for records in _records(answer):
        record = records[0]
        if isinstance(record, dns.rdtypes.ANY.PTR.PTR):
            return (record.target, records.ttl) if record.target != dns.name.root else (None, 0)
    return None, 0


def _address(host: str, port: int) -> Address:
    return (AF_INET6, (host, port, 0, 0)) if ":" in host else (AF_INET, (host, port))


def _packed(address: str) -> bytes:
    packed = inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    return packed[12:] if packed.startswith(_MAPPED) else packed
