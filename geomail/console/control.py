"""One client of the control socket: its requests, one line each, and the answers to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gevent
from gevent import socket

from geomail import __version__
from geomail.console.outbox import STUCK, ClientGone, Outbox
from geomail.control.jsonlines import BadLine, Lines, decode, encode
from geomail.errors import GeomailError

#: The version of the protocol, in its first line.
PROTOCOL = 1
#: Longest request, in bytes.
LONGEST_REQUEST = 128 * 1024
#: Requests of one client that run at a time.
MOST_REQUESTS = 16
_LONGEST_ID = 100

#: A function that carries out a request. Each object that it yields becomes a line; the last has ``done``.
Handler = Callable[["Client", dict[str, Any]], Iterator[dict[str, Any]]]


class RequestError(GeomailError):
    """A request that cannot be carried out; ``code`` is for programs, the text for people."""

    def __init__(self, code: str, text: str, **more: Any) -> None:
        super().__init__(text)
        self.answer = {"error": code, "text": text, **more}


class Client:
    """One connection to the control socket.

    The handlers named in ``streams`` go on until the client leaves. All other
    requests are still finished then: the client may have ended its sending only.
    """

    def __init__(self, sock: socket.socket, handlers: Mapping[str, Handler], streams: frozenset[str]) -> None:
        self._sock = sock
        self._handlers = handlers
        self._streams = streams
        self._running: dict[Any, tuple[str, gevent.Greenlet[..., None]]] = {}
        self.outbox = Outbox(sock)

    def serve(self) -> None:
        """Answer requests until the client leaves or stops reading."""
        try:
            self._send({"geomail": PROTOCOL, "version": __version__})
            self._listen()
            gevent.joinall([running for do, running in self._running.values() if do not in self._streams])
            self.outbox.flush(STUCK)
        except (OSError, ClientGone):
            pass  # the client has gone, and needs no answer
        finally:
            gevent.killall([running for _, running in self._running.values()])
            self.outbox.close()
            self._sock.close()

    def refuse(self, text: str) -> None:
        """Tell the client why it is not served, and close."""
        try:
            self._send({"geomail": PROTOCOL, "version": __version__})
            self._send({"id": None, "error": "busy", "text": text})
            self.outbox.flush(1.0)
        except ClientGone:
            pass  # the client has asked for nothing yet
        self.outbox.close()
        self._sock.close()

    def _send(self, answer: dict[str, Any]) -> None:
        self.outbox.put(encode(answer))

    def _listen(self) -> None:
        lines = Lines(LONGEST_REQUEST)
        try:
            while data := self._sock.recv(65536):
                for line in lines.feed(data):
                    self._take(decode(line))
        except BadLine as error:
            self._send({"id": None, "error": "bad-request", "text": str(error)})

    def _take(self, request: dict[str, Any]) -> None:
        number = request.get("id")
        if isinstance(number, bool) or not isinstance(number, int | str) or len(str(number)) > _LONGEST_ID:
            number = None
        try:
            self._start(number, request.get("do"), request)
        except RequestError as error:
            self._send({"id": number, **error.answer})

    def _start(self, number: int | str | None, do: Any, request: dict[str, Any]) -> None:
        if number is None:
            text = f"id: must be a number, or a text of at most {_LONGEST_ID} characters"
            raise RequestError("bad-request", text)
        if number in self._running:
            raise RequestError("busy", f"id: {number!r} is in use: use another, or wait for the answer")
        if len(self._running) >= MOST_REQUESTS:
            raise RequestError("busy", f"{MOST_REQUESTS} requests are running: wait for an answer")
        handler = self._handlers.get(do) if isinstance(do, str) else None
        if handler is None:
            raise RequestError("unknown-request", f"do: must be one of {', '.join(sorted(self._handlers))}")
        self._running[number] = do, gevent.spawn(self._run, number, handler, request)

    def _run(self, number: int | str, handler: Handler, request: dict[str, Any]) -> None:
        try:
            for answer in self._answers(handler, request):
                self._send({"id": number, **answer})
        except ClientGone:
            self._sock.close()
        finally:
            del self._running[number]

    def _answers(self, handler: Handler, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            yield from handler(self, request)
        except RequestError as error:
            yield error.answer
        except Exception:
            yield {"error": "bug", "text": "a bug in geomail; its log has the details"}
            raise
