"""The auth service and the mail server behind both proxies: they follow a script, and record all lines."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gevent
from gevent.server import StreamServer

from tests.servers.support import LOOPBACK

#: The limit in seconds of each wait.
PATIENCE = 20.0
#: The longest answer of an auth service that nginx reads, in bytes.
NGINX_BUFFER = 1024


class Recorder:
    """A service on its own port; ``received`` are the lines since its last script."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self._server = StreamServer((LOOPBACK, 0), self._handle)
        self._server.start()
        self.port: int = self._server.server_port or 0
        self._busy = 0

    def close(self) -> None:
        """Accept no more connections."""
        self._server.stop(1)

    def _handle(self, connection: Any, _address: object) -> None:
        self._busy += 1
        with connection, connection.makefile("rb") as stream:
            connection.settimeout(PATIENCE)
            try:
                self.serve(connection, stream)
            except OSError:
                pass  # the proxy has closed the connection
        self._busy -= 1

    def serve(self, connection: Any, stream: Any) -> None:
        """Serve one connection."""
        raise NotImplementedError

    def receive(self, stream: Any) -> str:
        """Read and record one line; empty at the end."""
        line: bytes = stream.readline()
        if line:
            self.received.append(line.decode("latin-1").removesuffix("\n").removesuffix("\r"))
        return line.decode("latin-1")

    def settled(self) -> list[str]:
        """Wait until all connections have ended; return the recorded lines."""
        end = time.monotonic() + PATIENCE
        while self._busy and time.monotonic() < end:
            gevent.sleep(0.005)
        return self.received


class AuthRecorder(Recorder):
    """An auth service that gives the next of ``answers`` to each request, and repeats the last one."""

    answers: Sequence[Sequence[str]] = ()
    _asked = 0

    def tell(self, answers: Sequence[Sequence[str]]) -> None:
        """Answer with these from now on."""
        self.received, self.answers, self._asked = [], answers, 0

    def serve(self, connection: Any, stream: Any) -> None:
        """Answer one request, then close the connection, as in HTTP/1.0."""
        while self.receive(stream) not in ("\r\n", "\n", ""):
            pass
        if not self.answers:
            return
        headers = self.answers[min(self._asked, len(self.answers) - 1)]
        self._asked += 1
        head = "".join(f"{line}\r\n" for line in ("HTTP/1.0 200 OK", *headers, ""))
        connection.sendall(head.encode("latin-1"))
        if len(head) > NGINX_BUFFER:
            self._go_on(connection)

    def _go_on(self, connection: Any) -> None:
        """Send more until the proxy closes: nginx with a full buffer acts only when more bytes arrive."""
        connection.settimeout(0.1)
        for _ in range(int(PATIENCE / 0.1)):
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                connection.sendall(b"\r\n")


class BackendRecorder(Recorder):
    """A mail server with a ``script``: ``<`` and a line to send, ``>`` to read one, ``~`` and a pause.

    After the end of the script it records lines, and does not answer.
    """

    script: Sequence[str] = ()

    def tell(self, script: Sequence[str]) -> None:
        """Use this script for the next connection."""
        self.received, self.script = [], script

    def serve(self, connection: Any, stream: Any) -> None:
        """Follow the script, then read until the end."""
        said = b""
        for step in self.script:
            if step.startswith("<"):
                said += step[1:].encode("latin-1") + b"\r\n"
                continue
            connection.sendall(said)
            said = b""
            if step.startswith("~"):
                gevent.sleep(float(step[1:]))
            elif not self.receive(stream):
                return
        connection.sendall(said)
        while self.receive(stream):
            pass


@contextmanager
def recording() -> Iterator[tuple[AuthRecorder, BackendRecorder]]:
    """Run an auth service and a mail server until the block ends."""
    auth, backend = AuthRecorder(), BackendRecorder()
    try:
        yield auth, backend
    finally:
        auth.close()
        backend.close()
