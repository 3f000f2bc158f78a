"""A backend that is real, to geomail: it answers as the imagined one, and keeps what it hears."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from gevent.server import StreamServer

from geomail.preview.backend import choose_offers, imagine
from geomail.protocols.base import BackendTls
from geomail.protocols.facts import FACTS
from geomail.protocols.proxy_header import SIGNATURE
from tests.servers.certificates import Certificate
from tests.servers.support import LOOPBACK

ProxyVersion = Literal["off", "on", "v2"]
TLS = b"<TLS handshake>"


@dataclass
class Recording:
    """Listens for one protocol; ``heard`` is what the last connection said, line by line.

    ``offers`` and ``without`` are as the command line has them.
    """

    protocol: str
    certificate: Certificate
    proxy: ProxyVersion = "off"
    tls: BackendTls = "off"
    offers: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    heard: list[bytes] = field(default_factory=list)
    port: int = 0

    def serve(self, sock: Any, _address: object) -> None:
        """Hold one conversation."""
        self.heard = []
        offers = choose_offers(FACTS[self.protocol].offers, self.offers, self.without)
        imagined = imagine(self.protocol, self.tls, offers)
        try:
            self._read_proxy_header(sock)
            if self.tls == "implicit":
                sock = self._secured(sock)
            sock.sendall(imagined.greeting + b"\r\n")
            while line := _line(sock):
                self.heard.append(line.removesuffix(b"\r\n"))
                sock.sendall(b"".join(answer + b"\r\n" for answer in imagined.answer(self.heard[-1])))
                if line.upper().endswith((b"STARTTLS\r\n", b"STLS\r\n")):
                    sock = self._secured(sock)
        finally:
            sock.close()

    def _read_proxy_header(self, sock: Any) -> None:
        if self.proxy == "on":
            self.heard.append(_line(sock).removesuffix(b"\r\n"))
        elif self.proxy == "v2":
            head = _exactly(sock, len(SIGNATURE) + 4)
            self.heard.append(head + _exactly(sock, int.from_bytes(head[-2:], "big")))

    def _secured(self, sock: Any) -> Any:
        self.heard.append(TLS)
        return self.certificate.server_context().wrap_socket(sock, server_side=True)


def _line(sock: Any) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (byte := sock.recv(1)):
        line += byte
    return line


def _exactly(sock: Any, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data


@contextmanager
def recording(*backends: Recording) -> Iterator[None]:
    """Let backends listen on loopback ports of their own."""
    servers = [StreamServer((LOOPBACK, 0), backend.serve) for backend in backends]
    for server, backend in zip(servers, backends, strict=True):
        server.start()
        backend.port = server.server_port or 0
    try:
        yield
    finally:
        for server in servers:
            server.stop()
