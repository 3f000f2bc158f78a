"""Log lines in the words of Dovecot's login processes, for the filters of fail2ban and CrowdSec."""

from __future__ import annotations

from geomail.events import LoginRefused, Remark, SessionClosed
from geomail.sinks.text_lines import visible

_SERVICES = {"imap": "imap-login", "pop3": "pop3-login", "smtp": "submission-login"}
#: What ends a name there, and would let one name forge the rest of its line.
_BRACKETS = str.maketrans({"<": "\\x3c", ">": "\\x3e"})
_LONGEST = 128


def said(when: str, level: str, text: str) -> str:
    """A line about the process itself."""
    return f"{when} dovecot: geomail: {level.capitalize()}: {text}"


def closed(when: str, level: str, event: SessionClosed) -> str:
    """How Dovecot tells of a session that ended: logged in, failed to, or never tried."""
    if event.relayed:
        what = f"Login: user=<{_name(event.user)}>"
    elif event.refusals:
        attempts = f"{event.refusals} attempts in {event.duration:.0f} secs"
        what = f"Disconnected (auth failed, {attempts}): user=<{_name(event.user)}>"
    elif event.method:
        reason = visible(event.reason or event.outcome).translate(_BRACKETS)
        what = f"Disconnected ({reason}): user=<{_name(event.user)}>"
    else:
        what = f"Disconnected (no auth attempts in {event.duration:.0f} secs): user=<>"
    method = f", method={event.method.upper()}" if event.method else ""
    tls = ", TLS" if event.tls else ""
    return (
        f"{when} dovecot: {_SERVICES[event.protocol]}: {what}{method},"
        f" rip={event.client}, lip={event.local}{tls}, session=<{event.session}>"
    )


def refused(when: str, level: str, event: LoginRefused) -> str:
    """A refused login, as the auth process tells it; the session's end tells it to the filters."""
    return (
        f"{when} dovecot: auth: {event.by}({_name(event.user)},{event.client},<{event.session}>):"
        f" {visible(event.reason).translate(_BRACKETS) or 'refused'}"
    )


def remarked(when: str, level: str, event: Remark) -> str:
    """Something the operator should hear of."""
    return (
        f"{when} dovecot: {_SERVICES[event.protocol]}: Warning:"
        f" {visible(event.text).translate(_BRACKETS)} (rip={event.client}, session=<{event.session}>)"
    )


def _name(user: str) -> str:
    return visible(user[:_LONGEST]).translate(_BRACKETS)
