"""A few small pages over HTTP/1.1: each connection gets one, in a bounded time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

import gevent
from gevent import socket

#: Connections that are served at a time; more are closed without an answer.
MOST_CONNECTIONS = 32
#: Seconds for the request, and for the answer.
_PATIENCE = 10.0
_LONGEST_REQUEST = 8192

#: A function that makes a page for an Accept header: status, content type, content.
Page = Callable[[str], tuple[int, str, bytes]]


class Pages:
    """Pages by their path."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self._connections = 0

    def serve(self, sock: socket.socket) -> None:
        """Answer one request, and close the connection."""
        with sock:
            if self._connections >= MOST_CONNECTIONS:
                return
            self._connections += 1
            try:
                with gevent.Timeout(_PATIENCE, TimeoutError):
                    self._answer(sock)
            except OSError:
                pass  # the client has gone, or was too slow
            finally:
                self._connections -= 1

    def _answer(self, sock: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request and b"\n\n" not in request:
            data = sock.recv(_LONGEST_REQUEST)
            request += data
            if not data or len(request) > _LONGEST_REQUEST:
                return
        method, status, kind, content = self._respond(request.decode("latin-1"))
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\n"
        head += f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode() + (content if method != "HEAD" else b""))
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)  # wait until the client has read: closing before that would reset the connection

    def _respond(self, request: str) -> tuple[str, int, str, bytes]:
        first, *headers = request.splitlines()
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return method, 405, "text/plain", b"only GET and HEAD\n"
        page = self._pages.get(path)
        if page is None:
            return method, 404, "text/plain", " ".join(self._pages).encode() + b"\n"
        return method, *page(_read_accept(headers))


def _read_accept(headers: list[str]) -> str:
    values = [header.partition(":") for header in headers]
    return ",".join(value.strip() for name, _, value in values if name.strip().lower() == "accept")
