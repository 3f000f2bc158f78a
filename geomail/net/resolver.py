"""Names to addresses and back: the client's name for SMTP, the hosts of backends and auth services."""

from __future__ import annotations

import math
import string
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from socket import AF_INET, AF_INET6, SOCK_STREAM, inet_ntop, inet_pton

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
from geomail.net.lookups import CACHE_SIZE, LONGEST_LIFE, Lookups
from geomail.net.nameservers import FAILURE_LIFE, NOT_FOUND, Failure, NameServers

#: Seconds that an answer of the system's is kept: it does not say for how long it holds.
SYSTEM_LIFE = 30.0
#: Seconds for which addresses are good after their time, while the name servers fail (RFC 8767).
LONGEST_STALE = 86400.0
#: Clients whose names are asked for at a time: they may have left, and their questions go on.
MOST_LOOKUPS = 1024

_LABEL_BYTES = (string.ascii_letters + string.digits + "-").encode()
_MAPPED = bytes(10) + b"\xff\xff"
_ADDRESSES = (dns.rdtypes.IN.A.A, dns.rdtypes.IN.AAAA.AAAA)


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
    for with ``ipv4`` and ``ipv6`` each, one of them at least. That there is no
    answer is kept too, for RFC 2308's time, and a failure for FAILURE_LIFE:
    anybody could make geomail ask again and again otherwise.
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
        self._names: Lookups[ClientName] = Lookups(self._name, MOST_LOOKUPS)
        self._hosts: Lookups[_Host] = Lookups(self._find, math.inf)

    def client_name(self, address: str, seconds: float) -> ClientName:
        """The name that ``address`` points to and that points back to it, within ``seconds``; never raises.

        Without ``resolver`` nobody has a name. What a name may hold
        (``A-Za-z0-9-.``) makes it safe in a line or header.
        """
        if self._servers is None:
            return _NAMELESS
        if literal_family(address) is None:
            return ClientName(None, temporary=True)
        problem = f"{address} could not be resolved in time"
        return self._names.get(address, seconds) or ClientName(None, temporary=True, problem=problem)

    def addresses(self, host: str, port: int) -> list[Address]:
        """Where to connect to, for a host name or an IP address. Raises OSError.

        What the DNS servers do not know, and ``localhost``, is left to the
        system: it may be in /etc/hosts. While they fail, the addresses that
        they gave last are good (RFC 8767).
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        found = self._hosts.get(host)
        assert found is not None, "waited for without end"
        if not found.addresses:
            raise OSError(found.problem)
        return [_address(address, port) for address in found.addresses]

    # -- the names of clients ---------------------------------------------------------------------

    def _name(self, address: str) -> tuple[ClientName, float]:
        assert self._servers is not None
        outcome = self._servers.ask(dns.reversename.from_address(address), PTR)[0]
        if isinstance(outcome, Failure):
            problem = f"{address} could not be resolved ({outcome.text})"
            return ClientName(None, outcome.temporary, problem), self._life_of_none(outcome.life)
        target, ttl = _target(outcome)
        if target is None:
            problem = f"{address} resolved to no usable name"
            return ClientName(None, temporary=True, problem=problem), self._life_of_none(FAILURE_LIFE)
        life = self._life(ttl)
        labels = target.labels[:-1]
        if any(label.translate(None, _LABEL_BYTES) for label in labels):
            shown = target.to_text(omit_final_dot=True)
            problem = f'{address} resolved to invalid host name "{shown}"'
            return ClientName(None, temporary=True, problem=problem), life
        confirmed, for_how_long = self._confirmed(b".".join(labels).lower(), address)
        return confirmed, min(life, for_how_long)

    def _confirmed(self, name: bytes, address: str) -> tuple[ClientName, float]:
        """The name, if it points to the address."""
        host = name.decode()
        addresses, failure, life = self._look_up(host)
        if failure.temporary or not addresses:
            problem = f'"{host}" could not be resolved ({failure.text})'
            return ClientName(None, failure.temporary, problem), life
        points_back = _packed(address) in map(_packed, addresses)
        return ClientName(name if points_back else None), life

    # -- the addresses of hosts -------------------------------------------------------------------

    def _look_up(self, host: str) -> tuple[tuple[str, ...], Failure, float]:
        """The addresses of a host, the worst that happened (NOT_FOUND if nothing did), and their life."""
        assert self._servers is not None
        outcomes = self._servers.ask(dns.name.from_text(host), *self._kinds)
        records = [rrset for answer in outcomes if isinstance(answer, Message) for rrset in _records(answer)]
        found = tuple(
            record.address for rrset in records for record in rrset if isinstance(record, _ADDRESSES)
        )
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        for failure in failures:
            if failure.temporary:
                return found, failure, self._life_of_none(failure.life)
        if found:
            return found, NOT_FOUND, self._life(min(rrset.ttl for rrset in records))
        life = min((failure.life for failure in failures), default=FAILURE_LIFE)
        return found, NOT_FOUND, self._life_of_none(life)

    def _life(self, ttl: float) -> float:
        return ttl if self._valid is None else self._valid

    def _life_of_none(self, seconds: float) -> float:
        """Return how long to believe that there is nothing: ``valid`` may only shorten that."""
        return seconds if self._valid is None else min(seconds, self._valid)

    def _find(self, host: str) -> tuple[_Host, float]:
        if self._servers is not None and host != "localhost":
            try:
                found, failure, life = self._look_up(host)
            except dns.exception.DNSException:
                return _Host((), f"{host} is no host name"), FAILURE_LIFE
            now = time.monotonic()
            if found:
                return _Host(found, stale_until=now + min(life, LONGEST_LIFE) + LONGEST_STALE), life
            if failure.temporary:
                problem = f"{host} could not be resolved ({failure.text})"
                before = self._hosts.last(host)
                if before is not None and now < before.stale_until:
                    return replace(before, problem=problem), life
                return _Host((), problem), life
        return _ask_system(host), SYSTEM_LIFE


@dataclass(frozen=True, slots=True)
class _Host:
    """The addresses of a host; if there are none, ``problem`` says why.

    Until ``stale_until``, of time.monotonic(), they are better than none.
    """

    addresses: tuple[str, ...]
    problem: str = ""
    stale_until: float = 0.0


def _ask_system(host: str) -> _Host:
    """``getaddrinfo``, in gevent's pool of threads."""
    try:
        infos = getaddrinfo(host, None, type=SOCK_STREAM)
    except gaierror as error:
        return _Host((), f"{host} could not be resolved ({error.strerror})")
    except UnicodeError:
        return _Host((), f"{host} is no host name")
    return _Host(tuple(str(info[4][0]) for info in infos))


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
    """A host in the form in which hosts are compared.

    Lower case, no final dot, IPv6 bare and short, an IPv4 address that is mapped into IPv6 as that.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if literal_family(bare) == AF_INET6:
        packed = _packed(bare)
        return inet_ntop(AF_INET6 if len(packed) == 16 else AF_INET, packed)
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
