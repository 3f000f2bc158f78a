"""Traces: the dialogues of chosen sessions, line by line, while an operator wants to see them.

A dialogue shows its lines with secrets masked (see ``conversation``). This module
masks the secrets that the session has learned a second time, in every spelling,
because a peer may repeat them. A trace shows only the amount of the relay.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from geomail.control.selection import Selection, parse_selection
from geomail.conversation import Mask, Tracer, mask_all
from geomail.events import TraceLine
from geomail.secrets import as_text, make_mask

#: Lines and bytes to keep of a session whose user is not known yet, while a trace selects a user.
PRELUDE, PRELUDE_BYTES = 200, 64 * 1024
#: Bytes to keep of all these sessions together.
PRELUDES_BYTES = 16 * 1024 * 1024
#: Bytes of memory that a line costs in addition to its content.
_LINE_BYTES = 320
#: The limits of the search for secrets in lines. Beyond them every line is masked whole: a client must not be
#: able to make tracing expensive.
LONGEST_SECRET, MOST_SECRETS = 128, 4
#: The number of characters to show of one line.
LONGEST_SHOWN = 2000

Leg = Literal["client", "backend"]
#: The legs and directions in which a peer may repeat a secret in its own words.
_ECHOES = frozenset({("backend", "<"), ("client", ">")})


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace and the sessions that it selects; ``needs_user`` if the selection names a user."""

    number: int
    selection: Selection
    needs_user: bool

    def selects(self, session: Mapping[str, Any]) -> bool:
        """Tell whether the trace selects this session, by the facts known so far."""
        return (bool(session["user"]) or not self.needs_user) and self.selection.matches(session)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line with its time, leg and direction; ``direction`` is a Tracer's, or ``*`` for a note."""

    time: float
    leg: Leg | Literal[""]
    direction: Literal[">", "<", "*"]
    line: bytes
    because: str

    @property
    def size(self) -> int:
        """The bytes of memory that the entry needs, at most."""
        return len(self.line) + len(self.because) + _LINE_BYTES


class Tracing:
    """The traces that run in this process; ``emit`` takes their lines and never waits.

    ``kept`` is the number of bytes kept of sessions that a trace may still select.
    """

    def __init__(self, emit: Callable[[TraceLine], None]) -> None:
        self.traces: dict[int, Trace] = {}
        self.kept = 0
        self._emit = emit

    def start(self, number: int, select: object) -> None:
        """Begin a trace of the sessions that match ``select``. Raises BadSelection."""
        selection = parse_selection(select)
        needs_user = isinstance(select, dict) and "user" in select
        self.traces[number] = Trace(number, selection, needs_user)

    def stop(self, number: int) -> None:
        """End a trace, if it is running."""
        self.traces.pop(number, None)

    def stop_all(self) -> None:
        """End all traces, because no viewer is left."""
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
    """The tracer of one session while traces run: it passes the lines to the traces that select it.

    ``describe`` returns the row of the session. While a trace waits for the name
    of the user, the last lines are kept for it until :meth:`forget`, within
    PRELUDE, PRELUDE_BYTES and PRELUDES_BYTES; the trace shows how many lines were
    dropped. If tracing begins after a login, the password is not known here:
    lines that may repeat it are masked whole until the next :meth:`learn`.
    """

    __slots__ = (
        "_built",
        "_describe",
        "_dropped",
        "_is_late",
        "_kept",
        "_prelude",
        "_secrets",
        "_shown",
        "_tracing",
    )

    def __init__(self, tracing: Tracing, describe: Callable[[], dict[str, Any]]) -> None:
        self._tracing = tracing
        self._describe = describe
        self._prelude: deque[Entry] = deque()
        self._kept = 0
        self._dropped = 0
        self._secrets: set[bytes] = set()
        self._built: Mask | None = None
        self._shown: set[int] = set()
        self._is_late = bool(describe()["user"])

    def make_tracer(self, leg: Leg) -> Tracer | None:
        """Return the tracer for the conversation on this leg."""
        return partial(self._take, leg)

    def learn(self, *secrets: bytes | None) -> None:
        """Mask these secrets of the session from now on, and in the lines that are kept."""
        self._is_late = False
        if self._built is mask_all:
            return
        self._built = None
        self._secrets.update(secret for secret in secrets if secret)
        if len(self._secrets) > MOST_SECRETS or any(len(secret) > LONGEST_SECRET for secret in self._secrets):
            self._built = mask_all
            self._secrets.clear()  # from now on every line is masked whole

    def forget(self) -> SessionTrace | NoTrace:
        """Drop the lines that are kept; return the session's trace from now on."""
        self._tracing.kept -= self._kept
        self._kept = self._dropped = 0
        self._prelude.clear()
        return self if self.is_selected else UNTRACED

    def note(self, text: str, *values: object) -> None:
        """Show a note that is not a line of a dialogue; ``text`` has a ``%s`` for each value."""
        self._pass_on(Entry(time.time(), "", "*", (text % values).encode("utf-8", "backslashreplace"), ""))

    @property
    def is_selected(self) -> bool:
        """True if a running trace has shown a line of the session."""
        return not self._shown.isdisjoint(self._tracing.traces)

    @property
    def _mask(self) -> Mask:
        """The mask of the session's secrets, made when there is a line to show."""
        if self._built is None:
            self._built = make_mask(self._secrets)
        return self._built

    def _take(self, leg: Leg, direction: Literal[">", "<"], line: bytes, because: str) -> None:
        if self._is_late and (leg, direction) in _ECHOES:
            line = mask_all(line)
        self._pass_on(Entry(time.time(), leg, direction, line, because))

    def _pass_on(self, entry: Entry) -> None:
        if not self._tracing.traces:
            self.forget()
            return
        session, waits = self._describe(), False
        for trace in tuple(self._tracing.traces.values()):
            if trace.number not in self._shown:
                if not trace.selects(session):
                    waits = waits or trace.needs_user
                    continue
                self._shown.add(trace.number)
                self._show_prelude(trace, session)
            self._tracing.show(trace, session, entry, self._mask)
        if waits:
            self._keep(entry)

    def _show_prelude(self, trace: Trace, session: Mapping[str, Any]) -> None:
        if self._dropped:
            began = self._prelude[0].time if self._prelude else time.time()
            dropped = f"{self._dropped} earlier lines were not kept".encode()
            self._tracing.show(trace, session, Entry(began, "", "*", dropped, ""), bytes)
        for earlier in self._prelude:
            self._tracing.show(trace, session, earlier, self._mask)

    def _keep(self, entry: Entry) -> None:
        """Keep a line, and drop the oldest lines if there is no room for all."""
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
    """The tracer of a session that no trace selects: a SessionTrace that does nothing."""

    def make_tracer(self, leg: Leg) -> Tracer | None:
        """Return no tracer, so that a line costs nothing."""
        return None

    def learn(self, *secrets: bytes | None) -> None:
        """Do nothing."""

    def forget(self) -> NoTrace:
        """Return itself: it keeps no line."""
        return self

    def note(self, text: str, *values: object) -> None:
        """Do nothing."""


#: The trace of every session that is not traced.
UNTRACED = NoTrace()
