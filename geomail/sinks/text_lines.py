"""Log lines for people: level, protocol, what happened, then the event's other fields as ``name=value``."""

from __future__ import annotations

import re
from functools import lru_cache

from geomail.events import LoginRefused, RelayStarted, Remark, SessionClosed, SessionOpened
from geomail.sinks.spelling import LONGEST, escape, shorten

#: The program's name at the beginning of each line, if it is not geomail.
TAG = ""
#: Whether a line holds its time itself.
STAMPED = False

_is_plain = re.compile(r"[a-zA-Z0-9.,:;@+\-_/()\[\]<>{}!?*#$%&'^`|~]+", re.ASCII).fullmatch


@lru_cache(maxsize=4096)
def quote(text: str) -> str:
    """Return ``text`` as a value: bounded, and in quotes with escapes unless it is plain."""
    if _is_plain(text) and len(text) <= LONGEST:
        return text
    return f'"{escape(shorten(text))}"'


def format_message(level: str, text: str, when: float) -> str:
    """Return a line about the process itself."""
    return f"{level} {text}"


def format_session_opened(level: str, event: SessionOpened) -> str:
    """Return the line of a client that was accepted."""
    return f"{level} {event.protocol} session opened {_format_origin(event)}"


def format_relay_started(level: str, event: RelayStarted) -> str:
    """Return the line of a client that is logged in."""
    return (
        f"{level} {event.protocol} relay started {_format_origin(event)} user={quote(event.user)}"
        f" method={event.method} backend={quote(event.backend)}"
    )


def format_login_refused(level: str, event: LoginRefused) -> str:
    """Return the line of a refused login."""
    backend = f" backend={quote(event.backend)}" if event.backend else ""
    return (
        f"{level} {event.protocol} login refused {_format_origin(event)} user={quote(event.user)}"
        f" method={event.method}{backend} side={event.side} reason={quote(event.reason)}"
    )


def format_remark(level: str, event: Remark) -> str:
    """Return the line of a remark."""
    user = f" user={quote(event.user)}" if event.user else ""
    return f"{level} {event.protocol} remark {_format_origin(event)}{user} text={quote(event.text)}"


def format_session_closed(level: str, event: SessionClosed) -> str:
    """Return the record of a finished session, without the fields that are not known."""
    port = f" client_port={event.client_port}" if event.client_port else ""
    user = f" user={quote(event.user)} method={event.method}" if event.method else ""
    tls = f" tls={quote(event.tls)}" if event.tls else ""
    sni = f" sni={quote(event.sni)}" if event.sni else ""
    agent = f" client_id={quote(event.client_id)}" if event.client_id else ""
    backend = f" backend={quote(event.backend)}" if event.backend else ""
    step = f" step={event.step}" if event.step else ""
    reason = f" reason={quote(event.reason)}" if event.reason else ""
    refusals = f" refusals={event.refusals}" if event.refusals else ""
    auth = f" auth_time={event.auth_time:.4f}" if event.auth_time is not None else ""
    connect = f" connect_time={event.connect_time:.4f}" if event.connect_time is not None else ""
    login = f" login_time={event.login_time:.4f}" if event.login_time is not None else ""
    return (
        f"{level} {event.protocol} session {event.outcome} {_format_origin(event)}{port}{user}{tls}{sni}"
        f"{agent}{backend} side={event.side}{step}{reason}{refusals}{auth}{connect}{login}"
        f" duration={event.duration:.4f} bytes_in={event.bytes_in} bytes_out={event.bytes_out}"
    )


def _format_origin(event: SessionOpened | RelayStarted | LoginRefused | Remark | SessionClosed) -> str:
    return f"session={event.session} server={quote(event.server)} client={event.client}"
