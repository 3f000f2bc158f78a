"""The log: one record per finished session, and one per refusal or remark.

Three forms (``[log] format``): ``text`` for the eye, ``json`` for machines,
``dovecot`` for the filters that exist for Dovecot's login lines. What came
from outside is escaped in each: one event is one line, and says only what it is.
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
from geomail.sinks.spelling import timestamp, visible
from geomail.sinks.writer import Background, Direct, Line, open_target

Format = Literal["text", "json", "dovecot"]

#: nginx's levels, the worst last.
LEVELS = ("debug", "info", "notice", "warning", "error")
_RANKS = {level: rank for rank, level in enumerate(LEVELS)}
#: Characters of one line about the process itself.
_LONGEST_SAID = 1000
#: Outcomes that are no trouble.
_QUIET = frozenset({"done", "quit", "refused", "shutdown", "kicked"})


class Form(Protocol):
    """One way to write what happens: lines without end and ``TAG``, and without time unless STAMPED."""

    TAG: str
    STAMPED: bool

    def said(self, level: str, text: str, when: float) -> str: ...
    def opened(self, level: str, event: SessionOpened) -> str: ...
    def started(self, level: str, event: RelayStarted) -> str: ...
    def refused(self, level: str, event: LoginRefused) -> str: ...
    def remarked(self, level: str, event: Remark) -> str: ...
    def closed(self, level: str, event: SessionClosed) -> str: ...


_FORMS: dict[str, Form] = {"text": text_lines, "json": json_lines, "dovecot": dovecot_lines}


def level_of(closed: SessionClosed) -> str:
    """How much a finished session matters to the operator."""
    if closed.outcome in _QUIET or (closed.outcome == "gone" and closed.side == "client"):
        return "info"
    return "warning" if closed.side == "client" else "error"


class Log:
    """Tells what happens, in lines; to the standard error until :meth:`use` says otherwise.

    Until :meth:`into_background` the caller writes them, those that the target
    takes without waiting; ``lost`` counts the others.
    """

    def __init__(self) -> None:
        self._form = _FORMS["text"]
        self._least = _RANKS["info"]
        self._head: str | None = ""
        self._direct = Direct(open_target("stderr"), self._line)
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
        """Write as ``[log]`` wants from now on; a file belongs to user ``owner``.

        Raises OSError where a file or syslog cannot be opened; the old one stays then.
        """
        form = _FORMS[format]
        opened = open_target(target, facility, form.TAG, owner)
        self._direct.close()
        self._form = form
        self._least = _RANKS[level]
        self._head = None if form.STAMPED or opened.stamps else f"{form.TAG}: " if form.TAG else ""
        self._writer = self._direct = Direct(opened, self._line, self._direct.untold)

    def into_background(self) -> None:
        """Write from a thread from now on: a slow disk delays the log, never a session."""
        self._writer = Background(self._direct.target, self._line)

    def reopen(self) -> None:
        """Open a file anew, after it was moved away."""
        self._writer.reopen()

    def close(self) -> None:
        """Write what is still held back, if that does not take long."""
        self._writer.close()

    @property
    def lost(self) -> int:
        """Lines that the target did not take, in this process."""
        return self._writer.lost

    def subscribe(self, events: EventStream) -> None:
        """Read from the stream what the log tells."""
        if self._least <= _RANKS["debug"]:
            events.subscribe(self._opened, SessionOpened)
            events.subscribe(self._started, RelayStarted)
        if self._least <= _RANKS["warning"]:
            events.subscribe(self._refused, LoginRefused)
            events.subscribe(self._remarked, Remark)
        events.subscribe(self._closed, SessionClosed)

    def say(self, level: str, text: str) -> None:
        """Tell something about the process itself: each line of ``text`` is one of the log."""
        if _RANKS[level] >= self._least:
            for line in text.splitlines():
                self._writer.put(*self._line(level, line))

    def _line(self, level: str, text: str) -> Line:
        now, shown = time.time(), visible(text[:_LONGEST_SAID], never="")
        return self._finished(level, now, self._form.said(level, shown, now))

    def _opened(self, event: SessionOpened) -> None:
        self._put("debug", event, self._form.opened("debug", event))

    def _started(self, event: RelayStarted) -> None:
        self._put("debug", event, self._form.started("debug", event))

    def _refused(self, event: LoginRefused) -> None:
        self._put("warning", event, self._form.refused("warning", event))

    def _remarked(self, event: Remark) -> None:
        self._put("warning", event, self._form.remarked("warning", event))

    def _closed(self, event: SessionClosed) -> None:
        level = level_of(event)
        if _RANKS[level] >= self._least:
            self._put(level, event, self._form.closed(level, event))

    def _put(self, level: str, event: Event, line: str) -> None:
        self._writer.put(*self._finished(level, event.time, line))

    def _finished(self, level: str, when: float, line: str) -> Line:
        whole = f"{line}\n" if self._head is None else f"{timestamp(when)} {self._head}{line}\n"
        return level, whole.encode("utf-8", "backslashreplace")
