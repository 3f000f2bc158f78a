"""Talking to a running geomail over its control socket; geomail-control(7) describes what is said."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer

from geomail.control.jsonlines import BadLine, Lines, decode, encode
from geomail_cli import render

#: Exit statuses: wrong usage; from sysexits.h: no server, something was not ready in time, no permission.
USAGE, UNAVAILABLE, NOT_READY, NOT_PERMITTED = 2, 69, 75, 77
#: The version of the protocol that is spoken here.
_PROTOCOL = 1
#: Seconds for the server to say hello.
_PATIENCE = 5.0
_LONGEST_LINE = 64 * 1024 * 1024

ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="Configuration file; it names the control socket."),
]
SocketOption = Annotated[
    Path | None, typer.Option("--socket", metavar="PATH", help="Control socket of the server.")
]


class Failed(Exception):
    """The server cannot be asked, or refuses; ``status`` is the command's exit status for it."""

    def __init__(self, text: str, status: int = 1, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.code = code

    def exit(self) -> typer.Exit:
        """Say why, and the exit to raise."""
        render.show_verdict(render.stderr(), str(self), failed=True)
        return typer.Exit(self.status)


class NoServer(Failed):
    """Nobody listens at the control socket."""


class Place:
    """Where a server is to be found, and how one would be started there."""

    def __init__(self, config: Path | None, path: Path | None) -> None:
        from geomail.config.load import find_config

        self.file = find_config(config)
        self._is_named = config is not None or path is not None or bool(os.environ.get("GEOMAIL_CONFIG"))
        self.path = str(path) if path is not None else self._configured()

    def _configured(self) -> str:
        """The control socket that the configuration names; a file that was named must be readable."""
        from geomail.config.load import inspect
        from geomail.config.schema import Control

        if not self._is_named and not self.file.exists():
            return Control().socket
        found = inspect(self.file)
        if found.draft is None and self._is_named:
            for problem in found.problems:
                render.show_problem(render.stderr(), problem)
            raise Failed("so the control socket is not known; --socket PATH names it", USAGE).exit()
        path = (found.draft.control if found.draft is not None else Control()).socket
        if path == "off":
            text = f"{self.file} has socket = off in [control], so nobody can ask the server"
            raise Failed(text, UNAVAILABLE).exit()
        return path

    def connect(self) -> Connection:
        """A connection to the server. Raises Failed."""
        try:
            return Connection(self.path)
        except PermissionError:
            text = f"{self.path}: permission denied; mode and group in [control] say who may use it"
            raise Failed(text, NOT_PERMITTED) from None
        except (FileNotFoundError, ConnectionRefusedError):
            text = f"no geomail server runs at {self.path}; start one with: geomail serve -c {self.file}"
            if not self._is_named:
                text += "; where one runs already, say -c FILE or --socket PATH"
            raise NoServer(text, UNAVAILABLE) from None
        except OSError as error:
            raise NoServer(f"{self.path}: {error.strerror or error}", UNAVAILABLE) from None


class Connection:
    """A connection to a server that has said hello. Raises OSError, Failed; a context manager."""

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._cutter = Lines(_LONGEST_LINE)
        self._lines: deque[bytes] = deque()
        self._last = 0
        try:
            self._sock.settimeout(_PATIENCE)
            self._sock.connect(path)
            hello = self._read()
            self._sock.settimeout(None)
        except BaseException:
            self._sock.close()
            raise
        self.version = str(hello.get("version"))
        if hello.get("geomail") != _PROTOCOL:
            raise Failed(f"the server at {path} (geomail {self.version}) is of another age than this command")

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def ask(self, do: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The answers to a request, one by one, that with ``done`` the last. Raises Failed."""
        self._last += 1
        self._send({"id": self._last, "do": do, **parameters})
        while True:
            answer = self._read()
            if "error" in answer:
                raise Failed(str(answer.get("text")), code=str(answer["error"]))
            yield answer
            if "done" in answer:
                return

    def sessions(self, do: str, select: dict[str, list[str]]) -> list[dict[str, Any]]:
        """The sessions in the answers to ``who`` or ``kick``; it is said whose are missing. Raises Failed."""
        sessions: list[dict[str, Any]] = []
        for answer in self.ask(do, select=select):
            sessions += answer.get("sessions", ())
            for pid in answer.get("done", {}).get("silent", ()):
                text = f"worker {pid} does not answer: its sessions are missing"
                render.show_note(render.stderr(), text, "warning")
        return sessions

    def done(self, do: str) -> dict[str, Any]:
        """The one answer to a request. Raises Failed."""
        [answer] = self.ask(do)
        result: dict[str, Any] = answer["done"]
        return result

    @property
    def has_more(self) -> bool:
        """Whether another answer is here already."""
        return bool(self._lines)

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._sock.sendall(encode(request))
        except OSError:
            pass  # what the server said before it closed the connection tells why

    def _read(self) -> dict[str, Any]:
        try:
            while not self._lines:
                data = self._sock.recv(65536)
                if not data:
                    raise NoServer("the server has closed the connection", UNAVAILABLE)
                self._lines.extend(self._cutter.feed(data))
            return decode(self._lines.popleft())
        except TimeoutError:
            raise NoServer("the server does not answer", UNAVAILABLE) from None
        except OSError as error:
            raise _ended(error) from None
        except BadLine:
            raise Failed("what answers there is not geomail") from None


def _ended(error: OSError) -> NoServer:
    return NoServer(f"the connection to the server broke: {error.strerror or error}", UNAVAILABLE)
