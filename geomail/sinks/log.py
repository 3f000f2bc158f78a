"""The log: one line per finished session, and one per refusal or remark.

It has three forms (``[log] format``): ``text`` for people, ``json`` for
programs, and ``dovecot`` for the filters that exist for Dovecot's login lines.
Each form escapes every text from outside, so that one event is always one
line, and no text passes for another field.
"""

from __future__ import annotations

import time
from typing import Literal, Protocol

from geomail.events import (
    Event,
    EventStream,
    LoginRefused,
    RelayStarted,
    Remark,
    SessionClosed,
    SessionOpened,
)
from geomail.sinks import dovecot_lines, json_lines, text_lines
from geomail.sinks.spelling import escape, format_time
from geomail.sinks.writer import Background, Direct, Line, open_target

Format = Literal["text", "json", "dovecot"]

#: nginx's levels, the most serious last.
LEVELS = ("debug", "info", "notice", "warning", "error")
_RANKS = {level: rank for rank, level in enumerate(LEVELS)}
#: The most characters of one line about the process itself.
_LONGEST_MESSAGE = 1000
#: The outcomes that are normal.
_NORMAL = frozenset({"done", "quit", "refused", "shutdown", "kicked"})


class Form(Protocol):
    """One form of the log. Its lines lack their end and ``TAG``, and also the time unless ``STAMPED``."""

    TAG: str
    STAMPED: bool

    def format_message(self, level: str, text: str, when: float) -> str: ...
    def format_session_opened(self, level: str, event: SessionOpened) -> str: ...
    def format_relay_started(self, level: str, event: RelayStarted) -> str: ...
    def format_login_refused(self, level: str, event: LoginRefused) -> str: ...
    def format_remark(self, level: str, event: Remark) -> str: ...
    def format_session_closed(self, level: str, event: SessionClosed) -> str: ...


_FORMS: dict[str, Form] = {"text": text_lines, "json": json_lines, "dovecot": dovecot_lines}


def choose_level(event: SessionClosed) -> str:
    """Return the level of a finished session: info, warning if the client is to blame, or error."""
    if event.outcome in _NORMAL or (event.outcome == "gone" and event.side == "client"):
        return "info"
    return "warning" if event.side == "client" else "error"


class Log:
    """The log of one process; it goes to standard error until :meth:`use` names another target.

    Until :meth:`move_to_background` is called, the caller's thread writes the
    lines, and drops a line that the target cannot take at once.
    """

    def __init__(self) -> None:
        self._form = _FORMS["text"]
        self._least = _RANKS["info"]
        self._head: str | None = ""
        self._direct = Direct(open_target("stderr"), self._make_line)
        self._writer: Direct | Background = self._direct

    def use(
        self,
        *,
        target: str = "stderr",
        format: Format = "text",  # noqa: A002  # the option's name
        level: str = "info",
        facility: str = "mail",
        owner: int | None = None,
    ) -> None:
        """Write as ``[log]`` says from now on; a file is given to the user ``owner``.

        Raises OSError if it cannot open the file or syslog; the old target stays then.
        """
        form = _FORMS[format]
        fresh = open_target(target, facility, form.TAG, owner)
        self._direct.close()
        self._form = form
        self._least = _RANKS[level]
        self._head = None if form.STAMPED or fresh.stamps else f"{form.TAG}: " if form.TAG else ""
        self._writer = self._direct = Direct(fresh, self._make_line, self._direct.unreported)

    def move_to_background(self) -> None:
        """Write from a thread from now on: a slow disk delays the log, never a session."""
        self._writer = Background(self._direct.target, self._make_line)

    def reopen(self) -> None:
        """Open a file again after it was moved away."""
        self._writer.reopen()

    def close(self) -> None:
        """Write the lines that wait, for a bounded time."""
        self._writer.close()

    @property
    def lost_lines(self) -> int:
        """The number of lines that the target did not take, in this process."""
        return self._writer.lost_lines

    def subscribe(self, events: EventStream) -> None:
        """Read from the stream the events that the log's level includes."""
        if self._least <= _RANKS["debug"]:
            events.subscribe(self._log_session_opened, SessionOpened)
            events.subscribe(self._log_relay_started, RelayStarted)
        if self._least <= _RANKS["warning"]:
            events.subscribe(self._log_login_refused, LoginRefused)
            events.subscribe(self._log_remark, Remark)
        events.subscribe(self._log_session_closed, SessionClosed)

    def say(self, level: str, text: str) -> None:
        """Write a message about the process itself: each line of ``text`` is one line of the log."""
        if _RANKS[level] >= self._least:
            for line in text.splitlines():
                self._writer.put(*self._make_line(level, line))

    def _make_line(self, level: str, text: str) -> Line:
        now, shown = time.time(), escape(text[:_LONGEST_MESSAGE], never="")
        return self._finish(level, now, self._form.format_message(level, shown, now))

    def _log_session_opened(self, event: SessionOpened) -> None:
        self._put("debug", event, self._form.format_session_opened("debug", event))

    def _log_relay_started(self, event: RelayStarted) -> None:
        self._put("debug", event, self._form.format_relay_started("debug", event))

    def _log_login_refused(self, event: LoginRefused) -> None:
        self._put("warning", event, self._form.format_login_refused("warning", event))

    def _log_remark(self, event: Remark) -> None:
        self._put("warning", event, self._form.format_remark("warning", event))

    def _log_session_closed(self, event: SessionClosed) -> None:
        level = choose_level(event)
        if _RANKS[level] >= self._least:
            self._put(level, event, self._form.format_session_closed(level, event))

    def _put(self, level: str, event: Event, line: str) -> None:
        self._writer.put(*self._finish(level, event.time, line))

    def _finish(self, level: str, when: float, line: str) -> Line:
        whole = f"{line}\n" if self._head is None else f"{format_time(when)} {self._head}{line}\n"
        return level, whole.encode("utf-8", "backslashreplace")
