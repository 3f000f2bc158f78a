"""Questions to DNS servers, asked as nginx's resolver asks them.

UDP comes first. The servers take turns: a question without an answer goes to
the next server after RESEND seconds, until the time is up. After a truncated
answer, the question is asked again over TCP. A datagram that does not answer
the question is ignored.
"""

from __future__ import annotations

import itertools
import secrets
import time
from _socket import SOCK_DGRAM
from _socket import socket as RawSocket
from collections.abc import Sequence
from dataclasses import dataclass, replace

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdtypes.ANY.SOA
from dns.message import Message
from dns.name import Name
from dns.rdatatype import RdataType
from gevent.select import select

from geomail.errors import SessionError
from geomail.net.connect import Address, connect_first
from geomail.net.timing import TimeLimit

#: Seconds after which a question goes to the next server; fewer if the last server would get no turn.
RESEND = 2.0
#: Seconds for which a failure answers the same question (RFC 9520), and the most seconds for which a missing
#: name does, whatever its zone says (RFC 2308, 5).
FAILURE_LIFE, LONGEST_NEGATIVE = 30.0, 10800.0
#: The most bytes of an answer over UDP (512 are allowed) and over TCP.
_UDP_LIMIT, _TCP_LIMIT = 4096, 16 * 1024
#: Datagrams that may fail to answer a lookup; more than that is an attempt to guess the answer's number.
_STRANGERS = 64
_HEADER = 12

_WORDS = {
    dns.rcode.FORMERR: "1: Format error",
    dns.rcode.SERVFAIL: "2: Server failure",
    dns.rcode.NXDOMAIN: "3: Host not found",
    dns.rcode.NOTIMP: "4: Unimplemented",
    dns.rcode.REFUSED: "5: Operation refused",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A question that has no answer for ``life`` seconds; ``text`` tells why, in nginx's words.

    ``temporary``: the servers failed, and the answer may exist.
    """

    text: str
    temporary: bool
    life: float = FAILURE_LIFE


NOT_FOUND = Failure(_WORDS[dns.rcode.NXDOMAIN], temporary=False)
MALFORMED = Failure("malformed answer", temporary=True)
TIMED_OUT = Failure("110: Operation timed out", temporary=True)


class NameServers:
    """The DNS servers of a ``resolver``; they take turns over all lookups."""

    def __init__(self, addresses: Sequence[Address], timeout: float) -> None:
        self._timeout = timeout
        self._resend = min(RESEND, timeout / max(1, len(addresses)))
        self._turns = itertools.cycle(addresses)
        self._count = len(addresses)

    def ask(self, name: Name, *kinds: RdataType) -> list[Message | Failure]:
        """Ask the servers about ``name``; return for each kind a message with answers, or the failure.

        Never raises, whatever the servers answer.
        """
        deadline = time.monotonic() + self._timeout
        lookup = _Lookup(name, kinds, deadline)
        unreached = self._count - 1
        try:
            while lookup.is_open and (now := time.monotonic()) < deadline:
                until = min(now + self._resend, deadline)
                if lookup.send(next(self._turns)) and lookup.listen(until):
                    continue
                if unreached > 0:
                    unreached -= 1  # this server is not there: the next one is asked at once
                else:
                    lookup.listen(until)
            return [lookup.outcomes.get(kind, TIMED_OUT) for kind in kinds]
        finally:
            lookup.close()


class _Lookup:
    """The questions about one name, all kinds at once; each server has a connected socket of its own.

    A connected socket takes answers only from its server, and its port is new
    for each lookup: a stranger can hardly forge an answer.
    """

    def __init__(self, name: Name, kinds: Sequence[RdataType], deadline: float) -> None:
        self._open = {
            number: dns.message.make_query(name, kind, id=number)
            for number, kind in zip(_draw_ids(len(kinds)), kinds, strict=True)
        }
        self._deadline = deadline
        self._sockets: dict[Address, RawSocket] = {}
        self._strangers = 0
        self.outcomes: dict[RdataType, Message | Failure] = {}

    @property
    def is_open(self) -> bool:
        """True while an answer is missing."""
        return bool(self._open)

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()

    def send(self, server: Address) -> bool:
        """Send all unanswered questions to a server; return False if that is not possible."""
        try:
            sock = self._sockets.get(server) or self._socket_to(server)
            for query in self._open.values():
                sock.send(query.to_wire())
        except OSError:
            self._drop(server)
            return False
        return True

    def listen(self, until: float) -> bool:
        """Take answers until all are there, or ``until``; return False if a server is not there."""
        while self._open and (left := until - time.monotonic()) > 0:
            ready = select(list(self._sockets.values()), [], [], left)[0]
            for server in [server for server, sock in self._sockets.items() if sock in ready]:
                try:
                    self._take(self._sockets[server].recv(_UDP_LIMIT), server)
                except BlockingIOError:
                    continue  # a datagram with a bad checksum
                except OSError:
                    self._drop(server)
                    return False
        return True

    def _socket_to(self, server: Address) -> RawSocket:
        family, address = server
        sock = self._sockets[server] = RawSocket(family, SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect(address)
        return sock

    def _drop(self, server: Address) -> None:
        sock = self._sockets.pop(server, None)
        if sock is not None:
            sock.close()

    def _take(self, data: bytes, server: Address) -> None:
        query = self._open.get(int.from_bytes(data[:2], "big"))
        if query is None or len(data) < _HEADER:
            self._ignore()
            return
        truncated = bool(data[2] & dns.flags.TC >> 8)
        answer = _parse(data, question_only=truncated)
        if answer is not None and not query.is_response(answer):
            self._ignore()
        elif truncated and answer is not None:
            self._take_over_tcp(query, server)
        else:
            self._settle(query, answer)

    def _take_over_tcp(self, query: Message, server: Address) -> None:
        """Ask again over TCP; without an answer there, the question stays open."""
        data = _ask_over_tcp(query.to_wire(), server, self._deadline - time.monotonic())
        if data is not None:
            answer = _parse(data)
            if answer is None or query.is_response(answer):
                self._settle(query, answer)

    def _settle(self, query: Message, answer: Message | None) -> None:
        del self._open[query.id]
        self.outcomes[query.question[0].rdtype] = MALFORMED if answer is None else _classify(answer)

    def _ignore(self) -> None:
        self._strangers += 1
        if self._strangers >= _STRANGERS:
            self._open.clear()


def _draw_ids(count: int) -> set[int]:
    ids: set[int] = set()
    while len(ids) < count:
        ids.add(secrets.randbelow(0x10000))
    return ids


def _parse(data: bytes, question_only: bool = False) -> Message | None:
    try:
        return dns.message.from_wire(data, question_only=question_only, ignore_trailing=True)
    except dns.exception.DNSException:
        return None


def _classify(answer: Message) -> Message | Failure:
    code = answer.rcode()
    if code == dns.rcode.NOERROR and answer.answer:
        return answer
    if code in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return replace(NOT_FOUND, life=_find_negative_life(answer))
    return Failure(_WORDS.get(code, f"{int(code)}: Unknown error"), temporary=True)


def _find_negative_life(answer: Message) -> float:
    """Return for how long a name has no answer: as the SOA of its zone says, else as after a failure.

    RFC 2308 (section 5) would not keep it without SOA, so that name servers do
    not pass it on to each other for ever. No name server asks geomail.
    """
    for records in answer.authority:
        record = records[0]
        if isinstance(record, dns.rdtypes.ANY.SOA.SOA):
            return float(min(records.ttl, record.minimum, LONGEST_NEGATIVE))
    return FAILURE_LIFE


def _ask_over_tcp(query: bytes, server: Address, seconds: float) -> bytes | None:
    try:
        with TimeLimit(seconds, blame="geomail", private="no answer over TCP"):
            wire = connect_first([server], peer="geomail")
            try:
                wire.send(len(query).to_bytes(2, "big") + query)
                size = int.from_bytes(wire.read_exactly(2), "big")
                return wire.read_exactly(size) if size <= _TCP_LIMIT else None
            finally:
                wire.close()
    except (OSError, SessionError):
        return None
