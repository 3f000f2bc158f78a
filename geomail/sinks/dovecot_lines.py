"""Log lines in the words of Dovecot's login processes, for the filters of fail2ban and CrowdSec.

These filters find a failed login by regular expressions; some of these do not
fix the end of a line. So a user's name has none of the marks that separate a
line's parts, and no text from outside is at a place where a filter looks for
Dovecot's own words.
"""

from __future__ import annotations

from geomail.events import LoginRefused, RelayStarted, Remark, SessionClosed, SessionOpened
from geomail.protocols.facts import FACTS
from geomail.sinks.spelling import escape, shorten

#: The program's name at the beginning of each line.
TAG = "dovecot"
#: Whether a line holds its time itself.
STAMPED = False

_SERVICES = {name: facts.dovecot_service for name, facts in FACTS.items()}
#: The marks that separate a line's parts; a user's name is shown without them.
_MARKS = '"\\<>(),:;= '
#: The marks that would end a text, or begin another field.
_BRACKETS = '"\\<>()'


def format_message(level: str, text: str, when: float) -> str:
    """Return a line about the process itself."""
    return f"geomail: {level.capitalize()}: {text}"


def format_session_opened(level: str, event: SessionOpened) -> str:
    """Return the line of a client that was accepted."""
    return f"{_SERVICES[event.protocol]}: Debug: connected: {_format_client(event)}"


def format_relay_started(level: str, event: RelayStarted) -> str:
    """Return the line of a client that is logged in, as Dovecot's proxy writes it."""
    name, backend = _escape_name(event.user), _escape_text(event.backend)
    return (
        f"{_SERVICES[event.protocol]}: Debug: proxy({name}): started proxying to {backend}:"
        f" user=<{name}>, method={event.method.upper()}, {_format_client(event)}"
    )


def format_login_refused(level: str, event: LoginRefused) -> str:
    """Return the line of a refused login, as Dovecot's auth process writes it.

    The filters ignore this line; they count the line of the session's end.
    """
    return (
        f"auth: {event.side}({_escape_name(event.user)},{event.client},<{event.session}>):"
        f" refused: {_escape_text(event.reason)}"
    )


def format_remark(level: str, event: Remark) -> str:
    """Return the line of a remark."""
    return f"{_SERVICES[event.protocol]}: Warning: {_escape_text(event.text)} ({_format_client(event)})"


def format_session_closed(level: str, event: SessionClosed) -> str:
    """Return the line of a session that ended: with a login, after a failed one, or without any."""
    seconds = f"in {event.duration:.0f} secs"
    if event.relayed:
        what = "Login"
    elif event.refusals:
        what = f"Disconnected (auth failed, {event.refusals} attempts {seconds})"
    elif event.method:
        what = f"Disconnected ({event.outcome}: {_escape_text(event.reason)})"
    else:
        what = f"Disconnected (no auth attempts {seconds})"
    method = f" method={event.method.upper()}," if event.method else ""
    tls = ", TLS" if event.tls else ""
    return (
        f"{_SERVICES[event.protocol]}: {what}: user=<{_escape_name(event.user)}>,{method}"
        f" rip={event.client}, lip={event.local}{tls}, session=<{event.session}>"
    )


def _format_client(event: SessionOpened | RelayStarted | Remark) -> str:
    return f"rip={event.client}, session=<{event.session}>"


def _escape_name(user: str) -> str:
    return _escape_marks(shorten(user, _escape_marks))


def _escape_marks(text: str) -> str:
    return escape(text, _MARKS)


def _escape_text(text: str) -> str:
    return escape(shorten(text), _BRACKETS)
