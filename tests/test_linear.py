"""The time to parse bytes from the network grows in proportion to their length.

Each parser gets an input and one that is four times as long. Where the time
grows with the square of the length, the second takes sixteen times as long.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import gevent
import pytest
from gevent import socket

from geomail.auth import http
from geomail.auth.passthrough import get_recipient
from geomail.config.units import escape_unprintable
from geomail.conversation import Rehearsal
from geomail.errors import ProxyHeaderError, SessionError
from geomail.net import nameservers
from geomail.net.http import HEAD_LIMIT, BadAnswer, _drop_chunks, _parse_head
from geomail.net.wire import Wire
from geomail.parties import Refusal
from geomail.protocols import proxy_header, sasl
from geomail.protocols.imap.arguments import ParseError, split
from geomail.protocols.registry import PROTOCOLS
from geomail.protocols.smtp.xclient import encode_xtext
from geomail.secrets import as_text, conceal, make_mask
from geomail.sinks import dovecot_lines, json_lines, text_lines
from geomail.sinks.spelling import escape
from tests.net.support import raw
from tests.protocols.support import client_at, server

#: The factor of the length, and the highest factor of the time: between 8 and 64, because busy machines vary.
LONGER, MOST = 8, 24.0
#: Seconds that the shorter input must take at least: a shorter time proves nothing.
MEASURABLE = 0.0002
ATTEMPTS = 5

Parse = Callable[[int], object]


def seconds(parse: Callable[[], object]) -> float:
    """Measure the lowest CPU time of a call in this thread, without other processes."""
    best = 9.0
    for _ in range(ATTEMPTS):
        began = time.thread_time()
        parse()
        best = min(best, time.thread_time() - began)
    return best


def is_linear(parse: Callable[[], object], longer: Callable[[], object]) -> bool:
    """Tell whether the time grows with the length; measure up to ten times, because machines are busy."""
    return any(seconds(longer) < MOST * max(seconds(parse), MEASURABLE) for _ in range(10))


def grows(make: Callable[[int], bytes | str], parse: Callable[..., object], size: int) -> bool:
    short, long = make(size), make(size * LONGER)
    return is_linear(lambda: parse(short), lambda: parse(long))


# -- texts ----------------------------------------------------------------------------------------

fresh = itertools.count()


def attempted(call: Callable[..., object], *expected: type[Exception]) -> Callable[..., object]:
    def attempt(given: object) -> None:
        with contextlib.suppress(*expected):
            call(given)

    return attempt


def a_header(lines: bytes) -> object:
    client = Rehearsal(peer="client")
    client._unread = lines
    return attempted(proxy_header.read, ProxyHeaderError)(client)


def tlvs(piece: bytes) -> Callable[[int], bytes]:
    def make(size: int) -> bytes:
        block = bytes(12) + piece * ((size - 12) // len(piece))
        return proxy_header.SIGNATURE + b"\x21\x11" + len(block).to_bytes(2, "big") + block

    return make


def filled(*pieces: bytes) -> Callable[[int], bytes]:
    start, piece, end = pieces
    return lambda size: start + piece * (size // len(piece)) + end


def text(*pieces: str) -> Callable[[int], str]:
    piece, *_ = pieces
    return lambda size: piece * (size // len(piece))


def uncached(call: Callable[[str], object]) -> Callable[[str], object]:
    """Call the function with a text that is not in its cache."""
    return lambda given: call(f"{next(fresh)}{given}")


def answer_with_pointers(size: int) -> bytes:
    """Make a DNS answer whose records have long names, each in two bytes."""
    name = dns.name.from_text(".".join("a" * 120))
    query = dns.message.make_query(name, dns.rdatatype.PTR)
    response = dns.message.make_response(query)
    numbers = [f"{number}.{name}" for number in range(size)]
    response.answer = [dns.rrset.from_text(name, 60, "IN", "PTR", *numbers)]
    return response.to_wire(max_size=65535)


PARSERS: dict[str, tuple[Callable[[int], bytes | str], Callable[..., object], int]] = {
    "base64": (filled(b"", b"YWJj", b""), sasl.decode, 400_000),
    "base64, broken at its end": (
        filled(b"", b"YWJj", b"*==="),
        attempted(sasl.decode, sasl.BadExchange),
        400_000,
    ),
    "SASL PLAIN": (
        filled(b"", b"AAAA", b""),
        attempted(lambda given: sasl.run_plain(sasl.Exchange(bytes, b""), given), sasl.BadExchange),
        400_000,
    ),
    "xtext": (filled(b"", b"+", b""), encode_xtext, 4_000),
    "auth_http's escapes": (filled(b"", b"% ", b""), http.escape, 8_000),
    "IMAP atoms": (filled(b"", b"a ", b""), attempted(lambda given: split(given, []), ParseError), 400_000),
    "IMAP quoted": (filled(b'"', b"a", b'"'), lambda given: split(given, []), 400_000),
    "IMAP escapes": (filled(b'"', b"\\a", b'"'), lambda given: split(given, []), 20_000),
    "IMAP escaped quotes": (filled(b'"', b'\\"', b'"'), lambda given: split(given, []), 20_000),
    "IMAP quote without an end": (
        filled(b'"', b'\\"', b""),
        attempted(lambda given: split(given, []), ParseError),
        20_000,
    ),
    "IMAP literal's size": (
        filled(b"{", b"1", b"}"),
        attempted(lambda given: split(given, []), ParseError),
        9**6,
    ),
    "RCPT quoted": (filled(b"RCPT TO:<", b'"a b"', b">"), get_recipient, 4_000),
    "RCPT escapes": (filled(b'RCPT TO:<"', b'\\"', b""), get_recipient, 20_000),
    "RCPT quotes": (filled(b"RCPT TO:<", b'"', b"x"), get_recipient, 4_000),
    "RCPT spaces": (filled(b"RCPT TO:", b" ", b"<a@b>"), get_recipient, 400_000),
    "RCPT bare": (filled(b"RCPT TO:", b'"a"', b""), get_recipient, 4_000),
    "PROXY TLVs": (tlvs(b"\x04\x00\x00"), a_header, 1_000),
    "PROXY checksums": (tlvs(b"\x03\x00\x04\x00\x00\x00\x00"), a_header, 1_000),
    "PROXY checksum of much": (
        lambda size: tlvs(b"\x03\x00\x04\x00\x00\x00\x00")(19) + bytes(size - 35),
        a_header,
        1_000,
    ),
    "headers": (filled(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", b"\r\n"), _parse_head, 20_000),
    "headers, different": (
        lambda size: b"".join(b"a%d: b\r\n" % number for number in range(size // 10)) + b"\r\n",
        _parse_head,
        20_000,
    ),
    "headers, long": (filled(b"a: ", b" ", b"x\r\n\r\n"), _parse_head, 400_000),
    "headers, empty names": (filled(b"", b"-", b""), attempted(_parse_head, BadAnswer), 400_000),
    "PTR records": (answer_with_pointers, nameservers._parse, 6),
    "terminal": (text("\x1b"), escape_unprintable, 4_000),
    "bytes for a terminal": (filled(b"", b"\xff", b""), as_text, 4_000),
    "log, escapes": (text("\x1b"), escape, 4_000),
    "log, text": (text("\U000e0001"), uncached(text_lines.quote), 20_000),
    "log, JSON": (text("\U000e0001"), uncached(json_lines._encode_text), 20_000),
    "log, Dovecot": (text("\U000e0001"), uncached(dovecot_lines._escape_name), 20_000),
    "masking, plain": (filled(b"", b"aaab", b"%41"), make_mask([b"a" * 100]), 20_000),
    "masking, found": (filled(b"", b"aaaa ", b"%41"), make_mask([b"aaaa"]), 20_000),
    "masking, escapes": (filled(b"", b"%61", b""), make_mask([b"aaaa", b"a" * 500]), 20_000),
    "masking, mixed": (filled(b"", b"\\x61 &#97;", b""), make_mask([b"aa a"]), 20_000),
    "masking, zeros": (filled(b"", b"&#0", b""), make_mask([b"aaaa"]), 20_000),
    "masking, digits": (filled(b"", b"61", b""), make_mask([b"aaaa"]), 20_000),
    "masking, base64": (filled(b"", b"YWFh", b"%"), make_mask([b"aaaa", b"a" * 200]), 20_000),
    "masking, words": (filled(b"", b"YWFh ", b"%"), make_mask([b"aa"]), 20_000),
    "masking, long secrets": (
        filled(b"", b"%61", b""),
        lambda given: conceal("a%61" * 50_000, given),
        20_000,
    ),
}


@pytest.mark.parametrize("name", PARSERS)
def test_a_text_costs_its_length(name: str) -> None:
    assert grows(*PARSERS[name])


# -- on a connection ------------------------------------------------------------------------------


def feed(wire_of: Callable[[Wire], object], said: bytes) -> None:
    """Let a wire read all bytes of its peer."""
    near, far = socket.socketpair()
    wire = Wire(raw(near), "client", None)
    saying = gevent.spawn(_say, far, said)
    try:
        wire_of(wire)
    except (SessionError, BadAnswer):
        pass
    finally:
        wire.close()
        saying.kill()
        far.close()


def _say(sock: socket.socket, said: bytes) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass


def dialogue(protocol: str) -> Callable[[Wire], object]:
    options = {f"{protocol}_client_buffer": "4m", "max_errors": 10**6, "max_commands": 0}
    made = PROTOCOLS[protocol](server(protocol, smtp_auth="plain login none", **options))

    def serve(wire: Wire) -> None:
        frontend = made.frontend(wire, client_at())
        while frontend.login() is not None:
            frontend.refuse(Refusal(text=b"no"))

    return serve


DIALOGUES: dict[str, tuple[Callable[[int], bytes], Callable[[Wire], object], int]] = {
    "SMTP commands": (filled(b"", b"NOOP\r\n", b""), dialogue("smtp"), 6_000),
    "SMTP invalid": (filled(b"", b"\r\n", b""), dialogue("smtp"), 2_000),
    "SMTP words": (filled(b"EHLO ", b"a ", b"\r\n"), dialogue("smtp"), 100_000),
    "SMTP mail": (filled(b"", b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nRSET\r\n", b""), dialogue("smtp"), 20_000),
    "SMTP without an end": (filled(b"EHLO ", b"a", b""), dialogue("smtp"), 200_000),
    "IMAP commands": (filled(b"", b"a NOOP\r\n", b""), dialogue("imap"), 8_000),
    "IMAP ID": (filled(b'a ID ("x" "', b'y" "x" "', b'y")\r\n'), dialogue("imap"), 8_000),
    "IMAP ID of words": (filled(b"a ID (", b"x y ", b")\r\n"), dialogue("imap"), 16_000),
    "IMAP literals": (filled(b"", b"a LOGIN {1+}\r\nu {1+}\r\np\r\n", b""), dialogue("imap"), 20_000),
    "IMAP a literal": (
        lambda size: b"a LOGIN u {%d+}\r\n%b\r\n" % (size, b"x" * size),
        dialogue("imap"),
        200_000,
    ),
    "POP3 commands": (filled(b"", b"NOOP\r\n", b""), dialogue("pop3"), 6_000),
    "POP3 logins": (filled(b"", b"USER u\r\nPASS p\r\n", b""), dialogue("pop3"), 10_000),
    "HTTP chunks": (filled(b"", b"1\r\nx\r\n", b"0\r\n\r\n"), _drop_chunks, 8_000),
    "HTTP head": (
        filled(b"", b"a: b\r\n", b"\r\n"),
        lambda wire: wire.read_head(HEAD_LIMIT),
        4_000,
    ),
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_dialogue_costs_its_length(name: str) -> None:
    make, serve, size = DIALOGUES[name]

    assert grows(make, lambda said: feed(serve, said), size)
