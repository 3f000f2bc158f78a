"""A DNS server that answers from a test's table, over UDP and TCP."""

import socket
from collections.abc import Callable, Mapping

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import gevent
from dns.message import Message

#: Record lines (``name ttl IN type data``), a code, raw bytes, or None for silence.
Reply = tuple[str, ...] | dns.rcode.Rcode | bytes | None
#: Replies by ``name type``; a list holds one reply after the other, a function returns the datagrams to send.
Zone = Mapping[str, Reply | list[Reply] | Callable[[Message], list[bytes]]]

NOTHING: tuple[str, ...] = ()


class NameServer:
    """A server that answers from ``zone``, and NXDOMAIN for other names; ``tcp_zone`` is for TCP."""

    def __init__(self, zone: Zone, tcp_zone: Zone | None = None) -> None:
        self.zone = zone
        self.tcp_zone = zone if tcp_zone is None else tcp_zone
        #: The questions, ``name type``, with `` tcp`` behind it if it came over TCP.
        self.asked: list[str] = []
        #: The address from which the last datagram came.
        self.client: tuple[str, int] = ("", 0)
        self._tcp, self._udp = _two_on_one_port()
        self.address: tuple[str, int] = self._tcp.getsockname()
        self._jobs = [gevent.spawn(self._serve_udp), gevent.spawn(self._serve_tcp)]

    def __enter__(self) -> "NameServer":
        return self

    def __exit__(self, *_: object) -> None:
        gevent.killall(self._jobs)
        self._udp.close()
        self._tcp.close()

    def _serve_udp(self) -> None:
        while True:
            data, client = self._udp.recvfrom(4096)
            self.client = client
            for answer in self._answers(self.zone, dns.message.from_wire(data), ""):
                self._udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        while True:
            sock, _ = self._tcp.accept()
            with sock:
                size = int.from_bytes(sock.recv(2), "big")
                for answer in self._answers(self.tcp_zone, dns.message.from_wire(sock.recv(size)), " tcp"):
                    sock.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answers(self, zone: Zone, query: Message, transport: str) -> list[bytes]:
        question = query.question[0]
        key = f"{question.name.to_text()} {question.rdtype.name}"
        self.asked.append(key + transport)
        reply = zone.get(key, dns.rcode.NXDOMAIN)
        if isinstance(reply, list):
            reply = reply.pop(0) if len(reply) > 1 else reply[0]
        if reply is None:
            return []
        if isinstance(reply, bytes):
            return [query.id.to_bytes(2, "big") + reply]
        if callable(reply):
            return reply(query)
        return [answer_to(query, reply).to_wire()]


def _two_on_one_port() -> tuple[socket.socket, socket.socket]:
    for _ in range(50):
        tcp, udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:  # another socket has that port over UDP
            tcp.close()
            udp.close()
        else:
            return tcp, udp
    raise AssertionError("no free port for a name server")


def answer_to(query: Message, reply: tuple[str, ...] | dns.rcode.Rcode) -> Message:
    """Make the message with these records, or this code."""
    answer = dns.message.make_response(query)
    if isinstance(reply, dns.rcode.Rcode):
        answer.set_rcode(reply)
        return answer
    for record in reply:
        name, ttl, rdclass, kind, data = record.split(None, 4)
        answer.answer.append(dns.rrset.from_text(name, int(ttl), rdclass, kind, data))
    return answer


def truncated(query: Message) -> list[bytes]:
    """Return a truncated answer, cut in the middle of its record."""
    kind = query.question[0].rdtype.name
    data = {"A": "192.0.2.99", "AAAA": "2001:db8::99", "PTR": "cut.test."}[kind]
    answer = answer_to(query, (f"{query.question[0].name} 60 IN {kind} {data}",))
    answer.flags |= dns.flags.TC
    return [answer.to_wire()[:-2]]
