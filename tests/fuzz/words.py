"""The words of hostile peers, mostly but not always well formed; a seed determines each case."""

import base64
import random
import re
import ssl
import struct
from collections.abc import Callable, Sequence

from geomail.preview.backend import imagine
from geomail.protocols.proxy_header import SIGNATURE, crc32c

Rng = random.Random
#: Pieces that often break parsers.
ODD = [
    *(b"\0", b"\r", b"\n", b"\r\n", b"\r\r\n", b" ", b"  ", b"\t", b'"', b"\\", b"{", b"}", b"%", b"=", b"+"),
    *(b"*", b":", b"-", b".", b"<", b">", b"[", b"]", b"\x7f", b"\x80", b"\xff", b"\xc3\xa9", b"\xc2\xb2"),
    *(b"\xe2\x80\xa8", b"\xf0\x9f\x93\xa7", b"\x1b[31m", b"0", b"9" * 30, b"-1", b"1e9", b"\xd9\xa1"),
    *(b"%00", b"%0d%0a", b"%zz", b"\\u0041", b"x" * 300, b"\xff" * 90, b"\0" * 40),
]


def mutate(rng: Rng, data: bytes) -> bytes:
    """Return the bytes with a few faults."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at, size = rng.randint(0, len(data)), rng.choice((0, 0, 1, 2, 5, 40))
        piece = data[at : at + size]
        fault = rng.randrange(8)
        if fault <= 3:
            data = data[:at] + rng.choice(ODD) + data[at + size :]
        elif fault == 4:
            data = data[:at] + data[at + size + 1 :]
        elif fault == 5:
            data = data[:at] + piece * rng.choice((2, 3, 500)) + data[at + size :]
        elif fault == 6:
            data = data[:at] + rng.randbytes(size + 1) + data[at + size :]
        else:
            data = data[:at].swapcase() + data[at:]
    return data


def maybe(rng: Rng, data: bytes, likely: float = 0.25) -> bytes:
    """Return the bytes, mutated in some cases."""
    return mutate(rng, data) if rng.random() < likely else data


def split(rng: Rng, data: bytes) -> list[bytes]:
    """Split the bytes into the pieces to send, in most cases only one."""
    if len(data) < 2 or rng.random() < 0.6:
        return [data]
    places = sorted(rng.sample(range(1, len(data)), min(len(data) - 1, rng.choice((1, 2, 5)))))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def some(rng: Rng, makers: Sequence[Callable[[Rng], bytes]], most: int) -> bytes:
    """Return some lines by these makers."""
    return b"".join(rng.choice(makers)(rng) for _ in range(rng.randint(0, most)))


# -- answers of an auth service ---------------------------------------------------------------------

STATUSES = [b"OK"] * 8 + [
    *(
        b"ok",
        b"",
        b" ",
        b"no",
        b"OK OK",
        b"Invalid login or password",
        b"\xff\xfe",
        b"caf\xe9",
        b"a\tb",
        b"%s",
    ),
    *(b"x" * 479 + b"\xc3\xa9", b"x" * 700, b"535 5.7.8 no", b"p", b"p%70", b"&amp;", b"\\x70\x1b[31m"),
]
#: Only these, and never mutated: geomail connects to them.
HOSTS = [b"127.0.0.1"] * 8 + [
    *(b"", b"localhost", b"LocalHost.", b"[127.0.0.1]", b"::ffff:127.0.0.1", b"127.0.0.256", b"127.0.0.1 x"),
    *(
        b"a..b",
        b"-a",
        b"x" * 64,
        b"x." * 130,
        b"\xff",
        b"\xc2\xb2",
        b"127.0.0.1%lo",
        b"[::1",
        b"[]",
        b":",
        b"a b",
    ),
]
#: Never mutated either: the tests must not wait.
WAITS = [b"0", b"00", b"", b"x", b"-1", b"1e9", b"\xb2", b"9" * 10, b"0x1", b"1.5"]
PORTS = [b"", b"0", b"65536", b"9" * 40, b"+1", b"-1", b"1.5", b"\xb2", b"\xd9\xa1", b"0x19", b"port", b" "]


def auth_answer(rng: Rng, ports: Sequence[int]) -> bytes:
    """Return the service's answer to a question; ``ports`` are the backends'."""
    good = [b"%d" % port for port in ports]
    port = rng.choice(good) if rng.random() < 0.8 else rng.choice(PORTS)
    fixed = [b"Auth-Server: " + rng.choice(HOSTS), b"Auth-Port: " + port]
    fixed += [b"Auth-Wait: " + rng.choice(WAITS)] * rng.choice((0, 0, 1, 2))
    loose = [b"Auth-Status: " + rng.choice(STATUSES)]
    for name, values in (
        (b"Auth-User", (b"u@x", b"", b"a b", b"\xff", b"u" * 5000, b"u\xc2\xb2")),
        (b"Auth-Pass", (b"p", b"", b"p q", b"\xff\0", b'"\\', b"p" * 5000)),
        (b"Auth-Backend", (b"small", b"nothing", b"\xff", b"", b"small.", b"__class__")),
        (b"Auth-Error-Code", (b"535 5.7.8", b"454", b"250", b"535 9.9.9", b"5\xb23", b"")),
        (b"Connection", (b"close", b"keep-alive", b"Close, x", b"\xff")),
        (b"Transfer-Encoding", (b"chunked", b"gzip, chunked", b"x", b"")),
        (b"Content-Length", (b"0", b"5", b"-1", b"9" * 9, b"\xb2", b"0, 0", b"")),
        (b"X", (b"",) * 20 + (b"x" * 20000, b"\0", b"a\rb")),
    ):
        loose += [name + b": " + rng.choice(values)] * rng.choice((0, 0, 0, 1, 1, 2))
    lines = fixed[rng.choice((0,) * 8 + (1, 2)) :] + [maybe(rng, line, 0.03) for line in loose]
    rng.shuffle(lines)
    end = rng.choice((b"\r\n",) * 8 + (b"\n", b"\r\n "))
    start = maybe(
        rng, rng.choice((b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 500", b"HTTP/9 \xb2")), 0.1
    )
    interim = rng.choice((b"",) * 9 + (b"HTTP/1.1 100 Continue\r\n\r\n" * rng.choice((1, 3, 900)),))
    body = rng.choice(
        (b"",) * 4 + (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b"zz\r\n", b"ffffffff\r\n", b"HTTP/1.1 200")
    )
    answer = interim + end.join([start, *lines, b"", b""]) + body
    return answer[: rng.randint(0, len(answer))] if rng.random() < 0.1 else answer


# -- answers of backends ----------------------------------------------------------------------------

EHLO_LINES = [
    *(
        b"AUTH PLAIN LOGIN",
        b"AUTH LOGIN",
        b"AUTH=LOGIN",
        b"AUTH",
        b"STARTTLS",
        b"SIZE 10",
        b"",
        b" ",
        b"AUTH=",
    ),
    *(
        b"XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT SESSION",
        b"XCLIENT",
        b"XCLIENT HELO",
        b"\xff",
    ),
]
SMTP_REPLIES = [
    b"250 ok",
    b"220 go on",
    b"235 2.7.0 in",
    b"334 eA==",
    b"334",
    b"535 5.7.8 no",
    b"454 4.7.0 later",
]
SMTP_REPLIES += [
    b"421 bye",
    b"550 5.7.1 no",
    b"250-a\r\n250 b",
    b"250-a\r\n" * 130,
    b"250-" + b"x" * 9000,
    b"25",
]
SMTP_REPLIES += [
    b"2\xb20 x",
    b"250",
    b"\xd9\xa1\xd9\xa1 x",
    b"250_x",
    b"",
    b"250-a\r\n550",
    b"999 x",
    b"250\0",
    b"000 x",
]
IMAP_REPLIES = [
    b"+ OK",
    b"+",
    b"%t OK in",
    b"%t NO no",
    b"%t BAD what",
    b"* BYE",
    b"* OK x",
    b"%t",
    b"%t OK",
    b"* 1 EXISTS",
]
IMAP_REPLIES += [
    b"* CAPABILITY IMAP4rev1 LITERAL+ ID STARTTLS\r\n%t OK done",
    b"* x\r\n" * 130 + b"%t OK",
    b"* ID NIL\r\n%t OK",
]
IMAP_REPLIES += [
    b"%t NO [UNAVAILABLE] later",
    b"%t OK [CAPABILITY X]",
    b"* LIST {5}\r\nhello\r\n%t OK",
    b"\xff OK",
    b"",
]
POP3_REPLIES = [
    b"+OK",
    b"+OK in",
    b"-ERR no",
    b"-ERR [AUTH] no",
    b"-ERR [SYS/TEMP] later",
    b"+",
    b"+OKAY",
    b"-",
    b"",
    b"\0",
]
POP3_REPLIES += [b"+OK <1.2@x>", b"+OK" + b"x" * 9000, b"+ eA==", b"-ERR [IN-USE] x", b"+OK\r\n+OK\r\n+OK"]
GREETINGS = {
    "smtp": [b"220 hi"] * 9 + [b"220-a\r\n220 b", b"554 no", b"220"],
    "imap": [
        *[b"* OK hi"] * 9,
        b"* OK [CAPABILITY IMAP4rev1 LITERAL+ ID] hi",
        b"* PREAUTH x",
        b"* BYE x",
        b"* OK",
        b"*",
    ],
    "pop3": [b"+OK hi"] * 9 + [b"+OK <1.2@x> hi", b"-ERR no", b"+OK"],
}
REPLIES = {"smtp": SMTP_REPLIES, "imap": IMAP_REPLIES, "pop3": POP3_REPLIES}


class Liar:
    """A backend that answers correctly ``honest`` times, and then sends ``lies``."""

    def __init__(self, rng: Rng, protocol: str, honest: int, lies: int) -> None:
        offers = [
            offer.decode("latin-1") for offer in rng.sample(EHLO_LINES, rng.randint(0, 4)) if offer.split()
        ]
        self._willing = imagine(protocol, "starttls", offers)
        self._rng = rng
        self._replies = REPLIES[protocol]
        self._honest, self._lies = honest, lies
        self._tag = b"a"
        self.greeting = rng.choice(GREETINGS[protocol]) if lies else GREETINGS[protocol][0]

    def __call__(self, heard: bytes) -> bytes | None:
        """Return the answer to received bytes, None at the end; without bytes geomail waits for more."""
        heard = _PROXY_LINE.sub(b"", heard)
        if tagged := _TAGGED.match(heard):
            self._tag = tagged[1]
        if self._honest > 0 and heard:
            self._honest -= 1
            lines = heard.removesuffix(b"\r\n").split(b"\r\n")
            return b"".join(reply + b"\r\n" for line in lines for reply in self._willing.answer(line))
        if self._honest > 0 and not self._lies:
            return b""  # it has all the time
        if not self._lies:
            return None
        self._lies -= 1
        reply = self._rng.choice(self._replies).replace(b"%t", self._tag)
        return maybe(self._rng, reply + self._rng.choice(ENDS), 0.06)


_PROXY_LINE = re.compile(rb"^PROXY [^\n]*\n")
_TAGGED = re.compile(rb"(\w{1,9}) [A-Z]")
ENDS = (b"\r\n",) * 40 + (b"\n", b"", b"\r\n\r\n", b"\r", b"\r\n220 and more\r\n")


# -- lines of clients -------------------------------------------------------------------------------


def coded(rng: Rng, *parts: bytes) -> bytes:
    """Return base64 of parts with NUL between them, with faults in some cases."""
    return maybe(rng, base64.b64encode(b"\0".join(maybe(rng, part, 0.15) for part in parts)), 0.3)


def sasl(rng: Rng, verb: bytes) -> bytes:
    """Return an exchange by any mechanism, with as many responses as it may need."""
    secrets = coded(rng, b"", b"u", b"p"), coded(rng, b"u"), coded(rng, b"u " + b"0" * 32), b"*", b"=", b""
    name = rng.choice((b"PLAIN", b"LOGIN", b"CRAM-MD5", b"EXTERNAL", b"plain", b"NTLM", b"", b"\xff"))
    first = rng.choice((b"", b" " + rng.choice(secrets)))
    rest = b"".join(rng.choice(secrets) + b"\r\n" for _ in range(rng.randint(0, 2)))
    return verb + b" " + name + first + b"\r\n" + rest


def literal(rng: Rng) -> bytes:
    """Return an IMAP string in any of its forms."""
    text = maybe(rng, rng.choice((b"u", b"", b"p q", b'"', b"\\", b"x" * 300)), 0.2)
    size = len(text) + rng.choice((0,) * 8 + (1, -1, 10**9, 10**12))
    forms = (
        b"%b",
        b'"%b"',
        b"{%d}\r\n%%b" % max(0, size),
        b"{%d+}\r\n%%b" % max(0, size),
        b'"%b',
        *(b"{}\r\n%b", b"{-1}\r\n%b", b"{\xb2}\r\n%b", b"{1 }\r\n%b", b"{}%b", b"{+}\r\n%b"),
    )
    return rng.choice(forms) % text


def _smtp_line(rng: Rng) -> bytes:
    return rng.choice(
        (
            lambda: (
                rng.choice((b"EHLO", b"HELO", b"ehlo"))
                + b" "
                + rng.choice((b"me", b"", b"a b", b"[::1]"))
                + b"\r\n"
            ),
            lambda: sasl(rng, b"AUTH"),
            lambda: b"MAIL FROM:<" + rng.choice((b"a@b", b"", b'"<>"@b', b"a" * 900)) + b"> SIZE=1\r\n",
            lambda: (
                b"RCPT TO:<"
                + rng.choice((b"u@off", b"", b'"a>"@off', b"u@@", b"@a,@b:u@off", b"\xff@\xff"))
                + b">\r\n"
            ),
            lambda: (
                rng.choice((b"RSET", b"NOOP x", b"QUIT", b"STARTTLS", b"DATA", b"VRFY x", b"", b" "))
                + b"\r\n"
            ),
        )
    )()


def _imap_line(rng: Rng) -> bytes:
    tag = rng.choice((b"a", b"a1", b"", b"*", b"+", b"a" * 40, b"\xff"))
    return rng.choice(
        (
            lambda: tag + b" LOGIN " + literal(rng) + b" " + literal(rng) + b"\r\n",
            lambda: sasl(rng, tag + b" AUTHENTICATE"),
            lambda: (
                tag
                + b" "
                + rng.choice((b"CAPABILITY", b"NOOP", b"LOGOUT", b"STARTTLS", b"ID NIL", b""))
                + b"\r\n"
            ),
            lambda: tag + b" " + literal(rng) + b" " + literal(rng) + b"\r\n",
        )
    )()


def _pop3_line(rng: Rng) -> bytes:
    return rng.choice(
        (
            lambda: b"USER " + rng.choice((b"u", b"", b"u@off", b"a b", b"\xff")) + b"\r\n",
            lambda: b"PASS " + rng.choice((b"p", b"", b"p q", b" ", b"p" * 3000)) + b"\r\n",
            lambda: b"APOP u " + rng.choice((b"0" * 32, b"", b"\xff")) + b"\r\n",
            lambda: sasl(rng, b"AUTH"),
            lambda: rng.choice((b"AUTH", b"CAPA", b"STLS", b"QUIT", b"NOOP", b"STAT", b"")) + b"\r\n",
        )
    )()


LINES: dict[str, Callable[[Rng], bytes]] = {"smtp": _smtp_line, "imap": _imap_line, "pop3": _pop3_line}
LOGIN = {
    "smtp": b"EHLO me\r\nAUTH PLAIN " + base64.b64encode(b"\0u@off\0p") + b"\r\n",
    "imap": b"a LOGIN u@off p\r\n",
    "pop3": b"USER u@off\r\nPASS p\r\n",
}


_SASL = {"smtp": b"AUTH", "imap": b"a AUTHENTICATE", "pop3": b"AUTH"}


def opening(rng: Rng, protocol: str) -> bytes:
    """Return all that a client sends before its login, and after it."""
    line = LINES[protocol]
    said = some(
        rng, (line, line, lambda rng: sasl(rng, _SASL[protocol]), lambda rng: mutate(rng, line(rng))), 8
    )
    if rng.random() < 0.4:
        said += LOGIN[protocol] + rng.choice((b"", b"NOOP\r\n", rng.randbytes(50)))
    return said


def proxy_header(rng: Rng) -> bytes:
    """Return a PROXY header of either version, with faults in some cases."""
    if rng.random() < 0.4:
        words = (
            b"PROXY",
            rng.choice((b"TCP4", b"TCP6", b"UNKNOWN")),
            *rng.choice(_ADDRESSES),
            b"1",
            rng.choice((b"1", b"65535", b"65536", b"", b"x", b"-1", b"\xb2")),
        )
        return maybe(rng, b" ".join(words) + b"\r\n", 0.3)
    family, size = rng.choice(((0x11, 12), (0x21, 36), (0x31, 216), (0x00, 0), (0x12, 12)))
    block = rng.randbytes(size) + b"".join(_tlv(rng) for _ in range(rng.randint(0, 4)))
    length = len(block) + rng.choice((0,) * 6 + (7, -1, 60000))
    head = (
        SIGNATURE
        + bytes((rng.choice((0x20, 0x21, 0x21, 0x22)), family))
        + max(0, length & 0xFFFF).to_bytes(2, "big")
    )
    return maybe(rng, head + block, 0.3)


_ADDRESSES = ((b"192.0.2.1", b"192.0.2.2"), (b"2001:db8::1", b"::ffff:1.2.3.4"), (b"x", b"\xb2"), (b"", b""))


def _tlv(rng: Rng) -> bytes:
    kind, value = (
        rng.choice((0x01, 0x02, 0x03, 0x03, 0x20, 0x30, 0xEA)),
        rng.randbytes(rng.choice((0, 1, 4, 30))),
    )
    value = crc32c(value).to_bytes(4, "big") if kind == 0x03 else value
    return struct.pack("!BH", kind, len(value) + rng.choice((0,) * 8 + (1, 500))) + value


def client_hello(rng: Rng) -> bytes:
    """Return the first bytes of a TLS client, with faults in some cases."""
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    name = rng.choice(("localhost", "xn--e1afmkfd.test", "a" * 60 + ".test"))
    context.set_alpn_protocols(rng.choice((["smtp"], ["imap"], ["x"] * 3)))
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return maybe(rng, outgoing.read(), 0.8)
