"""An auth service: it answers as a test says, and keeps the questions."""

import hashlib
import hmac
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from gevent import socket
from gevent.server import StreamServer

from tests.servers.accounts import Account
from tests.servers.support import LOOPBACK

#: The end of an answer: the connection stays, or is closed, or the service knows only HTTP/1.0.
Ending = Literal["kept", "close", "1.0"]
Answer = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """One request as received: its first line, and the headers in their order."""

    line: str
    headers: tuple[tuple[str, str], ...]
    connection: int

    def __getitem__(self, name: str) -> str:
        """Return the only value of a header, without percent escapes; "" if it is missing."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return unquote_to_bytes(values[0].encode("latin-1")).decode() if values else ""


@dataclass
class AuthService:
    """An auth service. ``answers`` are by user name: headers, or a function of the request.

    It refuses users without an answer. ``requests`` are all requests, ``connections`` counts the connections.
    """

    ending: Ending = "kept"
    answers: dict[str, Answer | Callable[[Request], Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    status: str = "200 OK"
    body: bytes = b""

    def admit(self, account: Account, ports: Mapping[Any, int], host: str = LOOPBACK) -> None:
        """Accept a user with the right password, at the port of each protocol."""

        def answer(request: Request) -> Answer:
            if not _is_right(request, account.password):
                return {"Auth-Status": "Invalid login or password", "Auth-Wait": "1"}
            found = {
                "Auth-Status": "OK",
                "Auth-Server": host,
                "Auth-Port": str(ports[request["Auth-Protocol"]]),
            }
            if request["Auth-Method"] in ("cram-md5", "apop"):
                found["Auth-Pass"] = account.password
            return found

        self.answers[account.address] = answer

    def serve(self, connection: Any, _address: object) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        number = self.connections
        with connection, connection.makefile("rb") as stream:
            while (request := _read(stream, number)) is not None:
                self.requests.append(request)
                connection.sendall(self._answer(request))
                if self.ending != "kept":
                    return

    def _answer(self, request: Request) -> bytes:
        answer = self.answers.get(request["Auth-User"], {"Auth-Status": "No such user"})
        headers = dict(answer(request) if callable(answer) else answer)
        if self.ending == "kept":
            headers["Content-Length"] = str(len(self.body))
        elif self.ending == "close":
            headers["Connection"] = "close"
        version = "1.0" if self.ending == "1.0" else "1.1"
        lines = [f"HTTP/{version} {self.status}", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def _is_right(request: Request, password: str) -> bool:
    given, salt, secret = request["Auth-Pass"], request["Auth-Salt"].encode(), password.encode()
    match request["Auth-Method"]:
        case "cram-md5":
            return given == hmac.new(secret, salt, hashlib.md5).hexdigest()
        case "apop":
            return given == hashlib.md5(salt + secret).hexdigest()
        case "plain":
            return given == password
    return False


def _read(stream: Any, number: int) -> Request | None:
    line = stream.readline().decode("latin-1").rstrip("\r\n")
    if not line:
        return None
    headers = []
    while header := stream.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = header.partition(":")
        headers.append((name, value.strip()))
    return Request(line, tuple(headers), number)


def _secured(serve: Callable[[Any, object], None], tls: ssl.SSLContext) -> Callable[[Any, object], None]:
    def handle(connection: Any, address: object) -> None:
        with connection:
            try:
                secured = tls.wrap_socket(connection, server_side=True)
            except OSError:
                return  # the client did not accept the certificate
            serve(secured, address)

    return handle


@contextmanager
def listening(
    service: AuthService, path: Path | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[None]:
    """Let a service listen on its own loopback port, or on a Unix socket."""
    if path is None:
        listener: Any = (LOOPBACK, 0)
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(64)
    server = StreamServer(listener, service.serve if tls is None else _secured(service.serve, tls))
    server.start()
    service.port = server.server_port or 0
    try:
        yield
    finally:
        server.stop()
