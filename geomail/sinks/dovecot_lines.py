"""Log lines in the words of Dovecot's login processes, for the filters of fail2ban and CrowdSec.

Those filters find a failed login by regular expressions, some of which have no
end. So a name holds none of the marks that a line is made of, and no text from
outside stands where a filter looks for Dovecot's own words.
"""

from __future__ import annotations

from geomail.events import LoginRefused, RelayStarted, Remark, SessionClosed, SessionOpened
from geomail.protocols.facts import FACTS
from geomail.sinks.spelling import cut, visible

#: What lines begin with.
TAG = "dovecot"
#: Whether a line holds its time itself.
STAMPED = False

_SERVICES = {name: facts.dovecot_service for name, facts in FACTS.items()}
#: What a line is made of, and a name is therefore without.
_MARKS = '"\\<>(),:;= '
#: What would end the reason for it, or begin another field.
_BRACKETS = '"\\<>()'


def said(level: str, text: str, when: float) -> str:
    """A line about the process itself."""
    return f"geomail: {level.capitalize()}: {text}"


def opened(level: str, event: SessionOpened) -> str:
    """A client that was accepted."""
    return f"{_SERVICES[event.protocol]}: Debug: connected: {_client(event)}"


def started(level: str, event: RelayStarted) -> str:
    """A client that is logged in, as Dovecot's proxy tells it."""
    name, backend = _name(event.user), _text(event.backend)
    return (
        f"{_SERVICES[event.protocol]}: Debug: proxy({name}): started proxying to {backend}:"
        f" user=<{name}>, method={event.method.upper()}, {_client(event)}"
    )


def refused(level: str, event: LoginRefused) -> str:
    """A refused login, as the auth process tells it; to the filters the end of the session tells it."""
    return (
        f"auth: {event.by}({_name(event.user)},{event.client},<{event.session}>):"
        f" refused: {_text(event.reason)}"
    )


def remarked(level: str, event: Remark) -> str:
    """Something the operator should hear of."""
    return f"{_SERVICES[event.protocol]}: Warning: {_text(event.text)} ({_client(event)})"


def closed(level: str, event: SessionClosed) -> str:
    """How Dovecot tells of a session that ended: logged in, failed to, or never tried."""
    seconds = f"in {event.duration:.0f} secs"
    if event.relayed:
        what = "Login"
    elif event.refusals:
        what = f"Disconnected (auth failed, {event.refusals} attempts {seconds})"
    elif event.method:
        what = f"Disconnected ({event.outcome}: {_text(event.reason)})"
    else:
        what = f"Disconnected (no auth attempts {seconds})"
    method = f" method={event.method.upper()}," if event.method else ""
    tls = ", TLS" if event.tls else ""
    return (
        f"{_SERVICES[event.protocol]}: {what}: user=<{_name(event.user)}>,{method}"
        f" rip={event.client}, lip={event.local}{tls}, session=<{event.session}>"
    )


def _client(event: SessionOpened | RelayStarted | Remark) -> str:
    return f"rip={event.client}, session=<{event.session}>"


def _name(user: str) -> str:
    return visible(cut(user, _marked), _MARKS)


def _marked(text: str) -> str:
    return visible(text, _MARKS)


def _text(text: str) -> str:
    return visible(cut(text), _BRACKETS)
