"""Host names and addresses: the client's name for SMTP, the addresses of backends and auth services."""

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

#: Seconds for which an answer of the system is kept: the system does not tell how long it is valid.
SYSTEM_LIFE = 30.0
#: Seconds for which addresses are used after their time, while the name servers fail (RFC 8767).
LONGEST_STALE = 86400.0
#: The most clients whose names are looked up at a time: a lookup goes on even if the client has left.
MOST_LOOKUPS = 1024

_LABEL_BYTES = (string.ascii_letters + string.digits + "-").encode()
_MAPPED = bytes(10) + b"\xff\xff"
_ADDRESSES = (dns.rdtypes.IN.A.A, dns.rdtypes.IN.AAAA.AAAA)


@dataclass(frozen=True, slots=True)
class ClientName:
    """The verified name of a client, in lower case; None if it has none; ``temporary``: perhaps later.

    ``problem`` is a line for the log, empty for none.
    """

    name: bytes | None
    temporary: bool = False
    problem: str = ""


_NAMELESS = ClientName(None)


class Resolver:
    """A resolver that asks the DNS servers of ``resolver``, or else the system, and keeps the answers.

    ``timeout`` limits each lookup at the DNS servers. Their answers are kept for
    ``valid`` seconds; None: for as long as the answers say. ``ipv4`` and ``ipv6``
    are the kinds of addresses that it asks for; one of them must be true. A missing
    answer is kept, too, for the time of RFC 2308, and a failure for FAILURE_LIFE:
    otherwise a client could make geomail ask again and again.
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
        addresses = [_make_address(host, port) for host, port in servers]
        self._servers = NameServers(addresses, timeout) if addresses else None
        self._kinds = [kind for kind, wanted in ((A, ipv4), (AAAA, ipv6)) if wanted]
        self._valid = valid
        self._names: Lookups[ClientName] = Lookups(self._look_up_name, MOST_LOOKUPS)
        self._hosts: Lookups[_Host] = Lookups(self._look_up_host, math.inf)

    def find_client_name(self, address: str, seconds: float) -> ClientName:
        """Find the name to which ``address`` points and which points back, within ``seconds``. Never raises.

        Without ``resolver``, no client has a name. A name holds only ``A-Za-z0-9-.``,
        so it is safe in a line or header.
        """
        if self._servers is None:
            return _NAMELESS
        if get_ip_family(address) is None:
            return ClientName(None, temporary=True)
        problem = f"{address} could not be resolved in time"
        return self._names.get(address, seconds) or ClientName(None, temporary=True, problem=problem)

    def find_addresses(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a host name, or of an IP address. Raises OSError.

        The system is asked about ``localhost``, and about names that the DNS servers
        do not know: they may be in /etc/hosts. While the DNS servers fail, the last
        addresses from them are used (RFC 8767).
        """
        literal = _parse_literal(host, port)
        if literal is not None:
            return [literal]
        found = self._hosts.get(host)
        assert found is not None, "waited for without end"
        if not found.addresses:
            raise OSError(found.problem)
        return [_make_address(address, port) for address in found.addresses]

    # -- the names of clients ---------------------------------------------------------------------

    def _look_up_name(self, address: str) -> tuple[ClientName, float]:
        assert self._servers is not None
        outcome = self._servers.ask(dns.reversename.from_address(address), PTR)[0]
        if isinstance(outcome, Failure):
            problem = f"{address} could not be resolved ({outcome.text})"
            return ClientName(None, outcome.temporary, problem), self._limit_negative_life(outcome.life)
        target, ttl = _find_target(outcome)
        if target is None:
            problem = f"{address} resolved to no usable name"
            return ClientName(None, temporary=True, problem=problem), self._limit_negative_life(FAILURE_LIFE)
        life = self._choose_life(ttl)
        labels = target.labels[:-1]
        if any(label.translate(None, _LABEL_BYTES) for label in labels):
            shown = target.to_text(omit_final_dot=True)
            problem = f'{address} resolved to invalid host name "{shown}"'
            return ClientName(None, temporary=True, problem=problem), life
        confirmed, confirmed_life = self._confirm(b".".join(labels).lower(), address)
        return confirmed, min(life, confirmed_life)

    def _confirm(self, name: bytes, address: str) -> tuple[ClientName, float]:
        """Return the client's name and its life; the name is None unless it points to the address."""
        host = name.decode()
        addresses, failure, life = self._look_up_addresses(host)
        if failure.temporary or not addresses:
            problem = f'"{host}" could not be resolved ({failure.text})'
            return ClientName(None, failure.temporary, problem), life
        points_back = _pack(address) in map(_pack, addresses)
        return ClientName(name if points_back else None), life

    # -- the addresses of hosts -------------------------------------------------------------------

    def _look_up_addresses(self, host: str) -> tuple[tuple[str, ...], Failure, float]:
        """Return the addresses of a host, the worst failure (NOT_FOUND if there was none), and their life."""
        assert self._servers is not None
        outcomes = self._servers.ask(dns.name.from_text(host), *self._kinds)
        records = [
            rrset for answer in outcomes if isinstance(answer, Message) for rrset in _list_records(answer)
        ]
        found = tuple(
            record.address for rrset in records for record in rrset if isinstance(record, _ADDRESSES)
        )
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        for failure in failures:
            if failure.temporary:
                return found, failure, self._limit_negative_life(failure.life)
        if found:
            return found, NOT_FOUND, self._choose_life(min(rrset.ttl for rrset in records))
        life = min((failure.life for failure in failures), default=FAILURE_LIFE)
        return found, NOT_FOUND, self._limit_negative_life(life)

    def _choose_life(self, ttl: float) -> float:
        return ttl if self._valid is None else self._valid

    def _limit_negative_life(self, seconds: float) -> float:
        """Return for how long to keep a missing answer: ``valid`` may only shorten that."""
        return seconds if self._valid is None else min(seconds, self._valid)

    def _look_up_host(self, host: str) -> tuple[_Host, float]:
        if self._servers is not None and host != "localhost":
            try:
                found, failure, life = self._look_up_addresses(host)
            except dns.exception.DNSException:
                return _Host((), f"{host} is not a host name"), FAILURE_LIFE
            now = time.monotonic()
            if found:
                return _Host(found, stale_until=now + min(life, LONGEST_LIFE) + LONGEST_STALE), life
            if failure.temporary:
                problem = f"{host} could not be resolved ({failure.text})"
                before = self._hosts.get_last(host)
                if before is not None and now < before.stale_until:
                    return replace(before, problem=problem), life
                return _Host((), problem), life
        return _ask_system(host), SYSTEM_LIFE


@dataclass(frozen=True, slots=True)
class _Host:
    """The addresses of a host; if there are none, ``problem`` says why.

    While the name servers fail, they are used until ``stale_until``, of time.monotonic().
    """

    addresses: tuple[str, ...]
    problem: str = ""
    stale_until: float = 0.0


def _ask_system(host: str) -> _Host:
    """Call ``getaddrinfo``, in gevent's pool of threads."""
    try:
        infos = getaddrinfo(host, None, type=SOCK_STREAM)
    except gaierror as error:
        return _Host((), f"{host} could not be resolved ({error.strerror})")
    except UnicodeError:
        return _Host((), f"{host} is not a host name")
    return _Host(tuple(str(info[4][0]) for info in infos))


def get_ip_family(host: str) -> int | None:
    """Return AF_INET or AF_INET6 for an IP address in text; None if ``host`` is not one."""
    family = AF_INET6 if ":" in host else AF_INET
    try:
        inet_pton(family, host)
    except (OSError, ValueError):
        return None
    return family


@lru_cache(maxsize=CACHE_SIZE)
def _parse_literal(host: str, port: int) -> Address | None:
    return None if get_ip_family(host) is None else _make_address(host, port)


def normalise_host(host: str) -> str:
    """Return a host in the form in which hosts are compared.

    That is lower case, without a final dot; IPv6 without brackets, in its short
    form; an IPv4 address that is mapped into IPv6 as IPv4.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if get_ip_family(bare) == AF_INET6:
        packed = _pack(bare)
        return inet_ntop(AF_INET6 if len(packed) == 16 else AF_INET, packed)
    return host.lower().removesuffix(".")


def _list_records(answer: Message) -> list[RRset]:
    return [rrset for rrset in answer.answer if rrset.rdclass == IN]


def _find_target(answer: Message) -> tuple[dns.name.Name | None, int]:
    """Return the name of the first PTR record, and its TTL; records before it are not followed."""
    for records in _list_records(answer):
        record = records[0]
        if isinstance(record, dns.rdtypes.ANY.PTR.PTR):
            return (record.target, records.ttl) if record.target != dns.name.root else (None, 0)
    return None, 0


def _make_address(host: str, port: int) -> Address:
    return (AF_INET6, (host, port, 0, 0)) if ":" in host else (AF_INET, (host, port))


def _pack(address: str) -> bytes:
    packed = inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    return packed[12:] if packed.startswith(_MAPPED) else packed
