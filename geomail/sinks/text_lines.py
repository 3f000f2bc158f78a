"""Log lines for the eye: ``level what key=value …``."""

from __future__ import annotations

import re
from functools import lru_cache

from geomail.events import LoginRefused, RelayStarted, Remark, SessionClosed, SessionOpened
from geomail.sinks.spelling import LONGEST, cut, visible

#: What lines begin with, where that is not geomail itself.
TAG = ""
#: Whether a line holds its time itself.
STAMPED = False

_is_plain = re.compile(r"[a-zA-Z0-9.,:;@+\-_/()\[\]<>{}!?*#$%&'^`|~]+", re.ASCII).fullmatch


@lru_cache(maxsize=4096)
def escaped(text: str) -> str:
    """``text`` fit to be a value: bounded, and in quotes, with escapes, unless it is plain."""
    if _is_plain(text) and len(text) <= LONGEST:
        return text
    return f'"{visible(cut(text))}"'


def said(level: str, text: str, when: float) -> str:
    """A line about the process itself."""
    return f"{level} {text}"


def opened(level: str, event: SessionOpened) -> str:
    """A client that was accepted."""
    return f"{level} {event.protocol} session opened {_session(event)}"


def started(level: str, event: RelayStarted) -> str:
    """A client that is logged in."""
    return (
        f"{level} {event.protocol} relay started {_session(event)} user={escaped(event.user)}"
        f" method={event.method} backend={escaped(event.backend)}"
    )


def refused(level: str, event: LoginRefused) -> str:
    """A refused login."""
    backend = f" backend={escaped(event.backend)}" if event.backend else ""
    return (
        f"{level} {event.protocol} login refused {_session(event)} user={escaped(event.user)}"
        f" method={event.method}{backend} by={event.by} reason={escaped(event.reason)}"
    )


def remarked(level: str, event: Remark) -> str:
    """Something the operator should hear of."""
    user = f" user={escaped(event.user)}" if event.user else ""
    return f"{level} {event.protocol} remark {_session(event)}{user} text={escaped(event.text)}"


def closed(level: str, event: SessionClosed) -> str:
    """The record of a finished session; what is not known is left out."""
    port = f" port={event.client_port}" if event.client_port else ""
    user = f" user={escaped(event.user)} method={event.method}" if event.method else ""
    tls = f" tls={escaped(event.tls)}" if event.tls else ""
    sni = f" sni={escaped(event.sni)}" if event.sni else ""
    agent = f" client_id={escaped(event.client_id)}" if event.client_id else ""
    backend = f" backend={escaped(event.backend)}" if event.backend else ""
    step = f" step={event.step}" if event.step else ""
    reason = f" reason={escaped(event.reason)}" if event.reason else ""
    refusals = f" refusals={event.refusals}" if event.refusals else ""
    auth = f" auth={event.auth_time * 1000:.1f}ms" if event.auth_time is not None else ""
    connect = f" connect={event.connect_time * 1000:.1f}ms" if event.connect_time is not None else ""
    login = f" login={event.login_time * 1000:.1f}ms" if event.login_time is not None else ""
    return (
        f"{level} {event.protocol} session {event.outcome} {_session(event)}{port}{user}{tls}{sni}{agent}"
        f"{backend} by={event.side}{step}{reason}{refusals}{auth}{connect}{login}"
        f" duration={event.duration:.3f}s in={event.bytes_in} out={event.bytes_out}"
    )


def _session(event: SessionOpened | RelayStarted | LoginRefused | Remark | SessionClosed) -> str:
    return f"session={event.session} server={escaped(event.server)} client={event.client}"
