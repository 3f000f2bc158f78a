"""The auth service and the mail server behind both proxies: they answer as told, and keep what they hear."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gevent
from gevent.server import StreamServer

from tests.servers.support import LOOPBACK

#: Seconds that anybody waits for anything.
PATIENCE = 20.0
#: Bytes that nginx has for an answer of its auth service.
NGINX_BUFFER = 1024


class Recorder:
    """A service on a port of its own; ``heard`` are the lines since it was last told what to say."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._server = StreamServer((LOOPBACK, 0), self._handle)
        self._server.start()
        self.port: int = self._server.server_port or 0
        self._busy = 0

    def close(self) -> None:
        """Serve nobody any more."""
        self._server.stop(1)

    def _handle(self, connection: Any, _address: object) -> None:
        self._busy += 1
        with connection, connection.makefile("rb") as stream:
            connection.settimeout(PATIENCE)
            try:
                self.serve(connection, stream)
            except OSError:
                pass  # the proxy has gone
        self._busy -= 1

    def serve(self, connection: Any, stream: Any) -> None:
        """Serve one connection."""
        raise NotImplementedError

    def hear(self, stream: Any) -> str:
        """Keep one line; empty at the end."""
        line: bytes = stream.readline()
        if line:
            self.heard.append(line.decode("latin-1").removesuffix("\n").removesuffix("\r"))
        return line.decode("latin-1")

    def settled(self) -> list[str]:
        """What was heard, when all who spoke have gone."""
        end = time.monotonic() + PATIENCE
        while self._busy and time.monotonic() < end:
            gevent.sleep(0.005)
        return self.heard


class AuthRecorder(Recorder):
    """Answers each request with the next of ``answers``, the last one over and over."""

    answers: Sequence[Sequence[str]] = ()
    _asked = 0

    def tell(self, answers: Sequence[Sequence[str]]) -> None:
        """Answer like this from now on."""
        self.heard, self.answers, self._asked = [], answers, 0

    def serve(self, connection: Any, stream: Any) -> None:
        """Answer one request; then the connection ends, as HTTP/1.0 has it."""
        while self.hear(stream) not in ("\r\n", "\n", ""):
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
        """Say more until the proxy has enough: nginx, its buffer full, looks again when something comes."""
        connection.settimeout(0.1)
        for _ in range(int(PATIENCE / 0.1)):
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                connection.sendall(b"\r\n")


class BackendRecorder(Recorder):
    """Says what ``script`` tells: ``<`` and a line to say, ``>`` to wait for one, ``~`` and seconds to pause.

    What is heard after the script's end is kept, and answered with nothing.
    """

    script: Sequence[str] = ()

    def tell(self, script: Sequence[str]) -> None:
        """Say this to the next that connects."""
        self.heard, self.script = [], script

    def serve(self, connection: Any, stream: Any) -> None:
        """Follow the script, then listen until the end."""
        said = b""
        for step in self.script:
            if step.startswith("<"):
                said += step[1:].encode("latin-1") + b"\r\n"
                continue
            connection.sendall(said)
            said = b""
            if step.startswith("~"):
                gevent.sleep(float(step[1:]))
            elif not self.hear(stream):
                return
        connection.sendall(said)
        while self.hear(stream):
            pass


@contextmanager
def recording() -> Iterator[tuple[AuthRecorder, BackendRecorder]]:
    """An auth service and a mail server, until the block ends."""
    auth, backend = AuthRecorder(), BackendRecorder()
    try:
        yield auth, backend
    finally:
        auth.close()
        backend.close()
