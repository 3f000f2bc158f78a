"""The log: one record per finished session, and one per refusal or remark.

Three forms (``[log] format``): ``text`` for the eye, ``json`` for machines,
``dovecot`` for the filters that exist for Dovecot's login lines. What came
from outside is escaped in each: one event is one line, and says only what it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from geomail.events import Event, EventStream, LoginRefused, Remark, SessionClosed
from geomail.sinks import dovecot_lines, json_lines, text_lines
from geomail.sinks.writer import Writer, open_target

Format = Literal["text", "json", "dovecot"]

#: nginx's levels, the worst last.
LEVELS = ("debug", "info", "notice", "warning", "error")
_RANKS = {level: rank for rank, level in enumerate(LEVELS)}
_FORMS = {"text": text_lines, "json": json_lines, "dovecot": dovecot_lines}
#: Outcomes that are the client's own business, not trouble.
_QUIET = frozenset({"done", "quit", "gone", "refused", "shutdown", "kicked"})


def level_of(closed: SessionClosed) -> str:
    """How much a finished session matters to the operator."""
    if closed.outcome in _QUIET:
        return "info"
    return "warning" if closed.side == "client" else "error"


class Log:
    """Tells what happens, in lines; to the standard error until :meth:`use` says otherwise.

    Until :meth:`into_background` lines are written by the caller, who may have
    to wait for a slow disk.
    """

    def __init__(self) -> None:
        self._writer: Writer | None = None
        self._second, self._stamp = 0, ""
        self.use()

    def use(
        self,
        *,
        target: str = "stderr",
        format: Format = "text",  # noqa: A002  # the option's name
        level: str = "info",
        facility: str = "mail",
    ) -> None:
        """Write as ``[log]`` wants from now on. Raises OSError where a file or syslog cannot be opened."""
        self._target = open_target(target, facility)
        self._write: Callable[[str, bytes], None] = self._target.write
        self._form = _FORMS[format]
        self._least = _RANKS[level]

    def into_background(self) -> None:
        """Write from a thread from now on: a slow disk delays the log, never a session."""
        self._writer = Writer(self._target)
        self._write = self._writer.put

    def reopen(self) -> None:
        """Open a file anew, after it was moved away."""
        if self._writer is None:
            self._target.reopen()
        else:
            self._writer.reopen()

    def close(self) -> None:
        """Write what is still held back, if that does not take long."""
        if self._writer is not None:
            self._writer.close()

    def subscribe(self, events: EventStream) -> None:
        """Read from the stream what the log tells."""
        if self._least <= _RANKS["warning"]:
            events.subscribe(self._refused, LoginRefused)
            events.subscribe(self._remark, Remark)
        events.subscribe(self._closed, SessionClosed)

    def say(self, level: str, text: str) -> None:
        """Tell something about the process itself; nothing from outside may stand in ``text`` unescaped."""
        if _RANKS[level] >= self._least:
            now = time.time()
            self._put(level, self._form.said(self._time(now), level, text))

    def _closed(self, event: Event) -> None:
        assert isinstance(event, SessionClosed)
        level = level_of(event)
        if _RANKS[level] >= self._least:
            self._put(level, self._form.closed(self._time(event.time), level, event))

    def _refused(self, event: Event) -> None:
        assert isinstance(event, LoginRefused)
        self._put("warning", self._form.refused(self._time(event.time), "warning", event))

    def _remark(self, event: Event) -> None:
        assert isinstance(event, Remark)
        self._put("warning", self._form.remarked(self._time(event.time), "warning", event))

    def _put(self, level: str, line: str) -> None:
        self._write(level, line.encode("utf-8", "backslashreplace") + b"\n")

    def _time(self, when: float) -> str:
        """The time of a line, RFC 3339 in UTC with milliseconds; most of it is made once a second."""
        second = int(when)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int(when * 1000) % 1000:03d}Z"
