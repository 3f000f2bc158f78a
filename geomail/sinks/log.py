"""The log: one line per finished session, and one per refusal or remark.

Lines are ``time level message key=value …``. Whatever came from outside is
escaped, so that one event is one line and says only what it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from geomail.events import Event, EventStream, LoginRefused, Remark, SessionClosed

#: Longest text from outside that a line shows, in characters.
_LONGEST = 300
#: Outcomes that are the client's own business, not trouble.
_QUIET = frozenset({"done", "quit", "gone"})


def escaped(text: str) -> str:
    """``text`` fit for one log line: bounded, no control characters or quotes; quoted where it has spaces."""
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    if text.isascii() and text.isprintable() and not _NEEDS_CARE.intersection(text):
        return text or "-"
    shown = "".join(c if c.isprintable() and c not in '"\\' else _escape(c) for c in text)
    return f'"{shown}"'


_NEEDS_CARE = frozenset(' "\\=')


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Log:
    """Writes what happens as text, one line each, to ``write``."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def subscribe(self, events: EventStream) -> None:
        """Read from the stream what the log tells."""
        events.subscribe(self._closed, SessionClosed)
        events.subscribe(self._refused, LoginRefused)
        events.subscribe(self._remark, Remark)

    def say(self, level: str, text: str) -> None:
        """Write a line about the process itself; ``text`` holds nothing from outside unescaped."""
        self._line(time.time(), level, text)

    def _line(self, when: float, level: str, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when))
        line = f"{stamp}.{int(when * 1000) % 1000:03d}Z {level} {text}\n"
        self._write(line.encode("utf-8", "backslashreplace"))

    def _closed(self, event: Event) -> None:
        assert isinstance(event, SessionClosed)
        quiet = event.outcome in _QUIET
        level = "info" if quiet else "error" if event.side in ("backend", "auth", "geomail") else "warning"
        if event.outcome in ("refused", "shutdown"):
            level = "info"
        self._line(event.time, level, " ".join(_closed_fields(event)))

    def _refused(self, event: Event) -> None:
        assert isinstance(event, LoginRefused)
        self._line(
            event.time,
            "warning",
            f"{event.protocol} login refused by {event.by} session={event.session}"
            f" server={escaped(event.server)}"
            f" client={event.client} user={escaped(event.user)} method={event.method}"
            f" reason={escaped(event.reason)}",
        )

    def _remark(self, event: Event) -> None:
        assert isinstance(event, Remark)
        user = f" user={escaped(event.user)}" if event.user else ""
        self._line(
            event.time,
            "warning",
            f"remark session={event.session} server={escaped(event.server)} client={event.client}{user}"
            f" text={escaped(event.text)}",
        )


def _closed_fields(event: SessionClosed) -> list[str]:
    client = f"[{event.client}]" if ":" in event.client and event.client_port else event.client
    fields = [
        f"{event.protocol} session {event.outcome}",
        f"session={event.session}",
        f"server={escaped(event.server)}",
        f"client={client}:{event.client_port}" if event.client_port else f"client={client}",
    ]
    if event.user or event.method:
        fields += [f"user={escaped(event.user)}", f"method={event.method}"]
    if event.tls:
        fields.append(f"tls={escaped(event.tls)}")
    if event.backend:
        fields.append(f"backend={escaped(event.backend)}")
    fields.append(f"by={event.side}")
    if event.step:
        fields.append(f"step={event.step}")
    if event.reason:
        fields.append(f"reason={escaped(event.reason)}")
    times = (("auth", event.auth_time), ("connect", event.connect_time), ("login", event.login_time))
    fields += [f"{name}={seconds * 1000:.1f}ms" for name, seconds in times if seconds is not None]
    fields += [f"duration={event.duration:.3f}s", f"in={event.bytes_in}", f"out={event.bytes_out}"]
    return fields


def to_stderr(line: bytes) -> None:
    """Write a line to the standard error, as a whole."""
    while line:
        line = line[os.write(2, line) :]
