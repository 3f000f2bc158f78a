"""A connection to a running geomail over its control socket, in the protocol of geomail-control(7)."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer

from geomail.control.jsonlines import BadLine, Lines, decode, encode
from geomail_cli import output
from geomail_cli.option_groups import ConfigOption

#: Exit statuses: wrong usage; from sysexits.h: no server, workers not ready in time, no permission.
USAGE, UNAVAILABLE, NOT_READY, NOT_PERMITTED = 2, 69, 75, 77
#: The version of the control protocol.
_PROTOCOL = 1
#: Seconds that the server may take to say hello.
_HELLO_TIMEOUT = 5.0
_LONGEST_LINE = 64 * 1024 * 1024


@dataclass(frozen=True)
class SocketOptions:
    """The options by which a command finds a running server."""

    config: ConfigOption = None
    socket: Annotated[
        Path | None,
        typer.Option(
            "--socket", metavar="PATH", help="Control socket (default: the configuration names it)."
        ),
    ] = None

    def find(self) -> ControlSocket:
        """Return the control socket of the server; read the configuration if no option names the socket."""
        return ControlSocket(self.config, self.socket)


class ControlError(Exception):
    """A failed request: no server answers, or it refuses. ``status`` is the command's exit status."""

    def __init__(self, text: str, status: int = 1, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.code = code

    def report(self) -> typer.Exit:
        """Print the reason; return the exit to raise."""
        output.show_summary(output.make_error_console(), str(self), failed=True)
        return typer.Exit(self.status)


class NoServer(ControlError):
    """A control socket without a server, or a server that ended or does not answer."""


class ControlSocket:
    """The control socket of a server: its path, and the configuration file that names it."""

    def __init__(self, config: Path | None, path: Path | None) -> None:
        from geomail.config.load import find_config

        self.file = find_config(config)
        self._is_named = config is not None or path is not None or bool(os.environ.get("GEOMAIL_CONFIG"))
        self.path = str(path) if path is not None else self._find_configured()

    def _find_configured(self) -> str:
        """Return the path that the configuration names. A file that the operator named must be readable."""
        from geomail.config.load import inspect
        from geomail.config.schema import Control

        if not self._is_named and not self.file.exists():
            return Control().socket
        found = inspect(self.file)
        if found.draft is None and self._is_named:
            for problem in found.problems:
                output.show_problem(output.make_error_console(), problem)
            raise ControlError(
                "the control socket is not known, as the configuration cannot be read: give --socket PATH",
                USAGE,
            ).report()
        path = (found.draft.control if found.draft is not None else Control()).socket
        if path == "off":
            text = f"{self.file} has socket = off in [control]: set a path there, and restart the server"
            raise ControlError(text, UNAVAILABLE).report()
        return path

    def connect(self) -> Connection:
        """Connect to the server. Raises ControlError."""
        try:
            return Connection(self.path)
        except PermissionError:
            text = f"{self.path}: permission denied; [control] mode and group set the users who may connect"
            raise ControlError(text, NOT_PERMITTED) from None
        except (FileNotFoundError, ConnectionRefusedError):
            text = f"no geomail server runs at {self.path}; start one with: geomail serve -c {self.file}"
            if not self._is_named:
                text += "; if one runs elsewhere, give -c FILE or --socket PATH"
            raise NoServer(text, UNAVAILABLE) from None
        except OSError as error:
            raise NoServer(f"{self.path}: {error.strerror or error}", UNAVAILABLE) from None


class Connection:
    """A connection to a server that has said hello; a context manager. Raises OSError, ControlError."""

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._splitter = Lines(_LONGEST_LINE)
        self._lines: deque[bytes] = deque()
        self._last = 0
        try:
            self._sock.settimeout(_HELLO_TIMEOUT)
            self._sock.connect(path)
            hello = self._read()
            self._sock.settimeout(None)
        except BaseException:
            self._sock.close()
            raise
        self.version = str(hello.get("version"))
        if hello.get("geomail") != _PROTOCOL:
            raise ControlError(
                f"the server at {path} is geomail {self.version}, which speaks another control protocol: "
                "use the geomail command of that version, or restart the server"
            )

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def ask(self, do: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Yield the answers to a request; the last one has ``done``. Raises ControlError."""
        self._last += 1
        self._send({"id": self._last, "do": do, **parameters})
        while True:
            answer = self._read()
            if "error" in answer:
                raise ControlError(str(answer.get("text")), code=str(answer["error"]))
            yield answer
            if "done" in answer:
                return

    def ask_for_sessions(self, do: str, select: dict[str, list[str]]) -> list[dict[str, Any]]:
        """Return the sessions of all answers; warn if a worker's are missing. Raises ControlError."""
        sessions: list[dict[str, Any]] = []
        for answer in self.ask(do, select=select):
            sessions += answer.get("sessions", ())
            for pid in answer.get("done", {}).get("silent", ()):
                text = f"worker {pid} does not answer, so its sessions are missing: ask again later"
                output.show_note(output.make_error_console(), text, "warning")
        return sessions

    def ask_once(self, do: str) -> dict[str, Any]:
        """Return the content of the only answer to a request. Raises ControlError."""
        [answer] = self.ask(do)
        result: dict[str, Any] = answer["done"]
        return result

    @property
    def has_more(self) -> bool:
        """True if another answer has already been received."""
        return bool(self._lines)

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._sock.sendall(encode(request))
        except OSError:
            pass  # the server closed the connection, and its last line, which is read next, tells the reason

    def _read(self) -> dict[str, Any]:
        try:
            while not self._lines:
                data = self._sock.recv(65536)
                if not data:
                    raise NoServer("the server closed the connection", UNAVAILABLE)
                self._lines.extend(self._splitter.feed(data))
            return decode(self._lines.popleft())
        except TimeoutError:
            raise NoServer("the server does not answer", UNAVAILABLE) from None
        except OSError as error:
            raise NoServer(
                f"the connection to the server broke: {error.strerror or error}", UNAVAILABLE
            ) from None
        except BadLine:
            raise ControlError(
                "the program that listens there is not geomail: check the path of the control socket"
            ) from None
