"""Traces: the dialogues of chosen sessions, line by line, while an operator wants to see them.

A dialogue shows its lines with secrets masked (see ``conversation``). Here the
secrets that a session has shown itself to know are masked once more, in
whatever spelling, because a peer may say them back. Of the relay nothing is
shown but how much it was.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from geomail.control.selection import Selection, selection_from
from geomail.conversation import Mask, Tracer, mask_all
from geomail.events import TraceLine
from geomail.secrets import as_text, make_mask

#: Lines, and their bytes, that are kept of a session without a user yet, while a user is traced.
PRELUDE, PRELUDE_BYTES = 200, 64 * 1024
#: Bytes that are kept of all these sessions together.
PRELUDES_BYTES = 16 * 1024 * 1024
#: Bytes that a line costs beside what is in it.
_LINE_BYTES = 320
#: What is looked for in lines. Beyond it they are not shown: a client must not be able to make that dear.
LONGEST_SECRET, MOST_SECRETS = 128, 4
#: Characters that are shown of one line.
LONGEST_SHOWN = 2000

Leg = Literal["client", "backend"]
#: Where a secret may be said back, in words that are not geomail's.
_ECHOES = frozenset({("backend", "<"), ("client", ">")})


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace: which sessions it means, and whether that hangs on who the user is."""

    number: int
    selection: Selection
    of_user: bool

    def means(self, session: Mapping[str, Any]) -> bool:
        """Whether it means this session, as far as that is known."""
        return (bool(session["user"]) or not self.of_user) and self.selection.matches(session)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line, and what there is to say about it; ``direction`` is a Tracer's, or ``*`` for a note."""

    time: float
    leg: Leg | Literal[""]
    direction: Literal[">", "<", "*"]
    line: bytes
    because: str

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, or some more."""
        return len(self.line) + len(self.because) + _LINE_BYTES


class Tracing:
    """The traces that run in this process; ``emit`` takes their lines and never waits.

    ``kept`` is how many bytes the sessions keep that a trace may yet mean.
    """

    def __init__(self, emit: Callable[[TraceLine], None]) -> None:
        self.traces: dict[int, Trace] = {}
        self.kept = 0
        self._emit = emit

    def start(self, number: int, select: object) -> None:
        """Begin a trace of the sessions that ``select`` means. Raises BadSelection."""
        selection = selection_from(select)
        of_user = isinstance(select, dict) and "user" in select
        self.traces[number] = Trace(number, selection, of_user)

    def stop(self, number: int) -> None:
        """End a trace, if it runs."""
        self.traces.pop(number, None)

    def stop_all(self) -> None:
        """End all of them: nobody is left who could see them."""
        self.traces.clear()

    def show(self, trace: Trace, session: Mapping[str, Any], entry: Entry, mask: Mask) -> None:
        """Emit a line for a trace."""
        text = as_text(mask(entry.line))
        self._emit(
            TraceLine(
                entry.time,
                session["session"],
                trace.number,
                session["server"],
                session["protocol"],
                session["client"],
                session["user"],
                entry.leg,
                entry.direction,
                text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(entry.line)} bytes)",
                as_text(mask(entry.because.encode())),
            )
        )


class SessionTrace:
    """A session while traces run: hands on its lines to those that mean it.

    ``described`` tells of the session. As long as a trace waits to know who
    the user is, the last lines are kept for it, as far as PRELUDE, PRELUDE_BYTES
    and PRELUDES_BYTES allow, until :meth:`forget`; the trace tells how many were not.
    Where it begins after a login, whose password it has not been told, what may
    say that back is not shown until the next :meth:`learn`.
    """

    __slots__ = (
        "_described",
        "_dropped",
        "_is_late",
        "_kept",
        "_made",
        "_prelude",
        "_secrets",
        "_shown",
        "_tracing",
    )

    def __init__(self, tracing: Tracing, described: Callable[[], dict[str, Any]]) -> None:
        self._tracing = tracing
        self._described = described
        self._prelude: deque[Entry] = deque()
        self._kept = 0
        self._dropped = 0
        self._secrets: set[bytes] = set()
        self._made: Mask | None = None
        self._shown: set[int] = set()
        self._is_late = bool(described()["user"])

    def tracer(self, leg: Leg) -> Tracer | None:
        """Return the tracer of the conversation on this leg."""
        return partial(self._take, leg)

    def learn(self, *secrets: bytes | None) -> None:
        """These are secrets of the session, to be masked from now on and in what was kept."""
        self._is_late = False
        if self._made is mask_all:
            return
        self._made = None
        self._secrets.update(secret for secret in secrets if secret)
        if len(self._secrets) > MOST_SECRETS or any(len(secret) > LONGEST_SECRET for secret in self._secrets):
            self._made = mask_all
            self._secrets.clear()  # no line is shown any more in which they could be

    def forget(self) -> SessionTrace | NoTrace:
        """Drop the lines that are kept; return what traces the session from now on."""
        self._tracing.kept -= self._kept
        self._kept = self._dropped = 0
        self._prelude.clear()
        return self if self.is_meant else UNTRACED

    def note(self, text: str, *values: object) -> None:
        """Show a note that is not a line of a dialogue; ``text`` has a ``%s`` for each value."""
        self._tell(Entry(time.time(), "", "*", (text % values).encode("utf-8", "backslashreplace"), ""))

    @property
    def is_meant(self) -> bool:
        """Whether a trace that still runs has shown something of the session."""
        return not self._shown.isdisjoint(self._tracing.traces)

    @property
    def _mask(self) -> Mask:
        """Made when there is something to show."""
        if self._made is None:
            self._made = make_mask(self._secrets)
        return self._made

    def _take(self, leg: Leg, direction: Literal[">", "<"], line: bytes, because: str) -> None:
        if self._is_late and (leg, direction) in _ECHOES:
            line = mask_all(line)
        self._tell(Entry(time.time(), leg, direction, line, because))

    def _tell(self, entry: Entry) -> None:
        if not self._tracing.traces:
            self.forget()
            return
        session, waits = self._described(), False
        for trace in tuple(self._tracing.traces.values()):
            if trace.number not in self._shown:
                if not trace.means(session):
                    waits = waits or trace.of_user
                    continue
                self._shown.add(trace.number)
                self._show_prelude(trace, session)
            self._tracing.show(trace, session, entry, self._mask)
        if waits:
            self._keep(entry)

    def _show_prelude(self, trace: Trace, session: Mapping[str, Any]) -> None:
        if self._dropped:
            began = self._prelude[0].time if self._prelude else time.time()
            dropped = f"{self._dropped} lines before were not kept".encode()
            self._tracing.show(trace, session, Entry(began, "", "*", dropped, ""), bytes)
        for earlier in self._prelude:
            self._tracing.show(trace, session, earlier, self._mask)

    def _keep(self, entry: Entry) -> None:
        """Keep a line, and drop the oldest ones that there is no room for."""
        self._prelude.append(entry)
        self._count(entry.size)
        while len(self._prelude) > PRELUDE or (
            self._prelude and (self._kept > PRELUDE_BYTES or self._tracing.kept > PRELUDES_BYTES)
        ):
            self._count(-self._prelude.popleft().size)
            self._dropped += 1

    def _count(self, size: int) -> None:
        self._kept += size
        self._tracing.kept += size


class NoTrace:
    """A session that no trace selects: it takes what a SessionTrace takes, and does nothing."""

    def tracer(self, leg: Leg) -> Tracer | None:
        """Return no tracer: a line costs nothing then."""
        return None

    def learn(self, *secrets: bytes | None) -> None:
        """Keep no secret."""

    def forget(self) -> NoTrace:
        """Return itself: nothing is kept."""
        return self

    def note(self, text: str, *values: object) -> None:
        """Show nothing."""


#: The trace of every session that is not traced.
UNTRACED = NoTrace()
