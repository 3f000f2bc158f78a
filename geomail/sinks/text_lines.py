"""Log lines for the eye: ``time level what key=value …``."""

from __future__ import annotations

from geomail.events import LoginRefused, Remark, SessionClosed

#: Longest text from outside that a line shows, in characters.
LONGEST = 300
_PLAIN = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;@+-_/()[]<>{}!?*#$%&'^`|~"
)


def escaped(text: str) -> str:
    """``text`` fit to be a value on one line: bounded, quoted unless plain, without control characters."""
    if len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    if _PLAIN.issuperset(text):
        return text or "-"
    return f'"{visible(text)}"'


def visible(text: str) -> str:
    """``text`` with quotes, backslashes and whatever does not print as escapes."""
    return "".join(c if c.isprintable() and c not in '"\\' else _escape(c) for c in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def said(when: str, level: str, text: str) -> str:
    """A line about the process itself."""
    return f"{when} {level} {text}"


def closed(when: str, level: str, event: SessionClosed) -> str:
    """The record of a finished session; what is not known is left out."""
    client = f"[{event.client}]" if ":" in event.client and event.client_port else event.client
    port = f":{event.client_port}" if event.client_port else ""
    user = f" user={escaped(event.user)} method={event.method}" if event.method else ""
    tls = f" tls={escaped(event.tls)}" if event.tls else ""
    backend = f" backend={escaped(event.backend)}" if event.backend else ""
    step = f" step={event.step}" if event.step else ""
    reason = f" reason={escaped(event.reason)}" if event.reason else ""
    return (
        f"{when} {level} {event.protocol} session {event.outcome} session={event.session}"
        f" server={escaped(event.server)} client={client}{port}"
        f"{user}{tls}{backend} by={event.side}{step}{reason}"
        f"{_milliseconds('auth', event.auth_time)}{_milliseconds('connect', event.connect_time)}"
        f"{_milliseconds('login', event.login_time)}"
        f" duration={event.duration:.3f}s in={event.bytes_in} out={event.bytes_out}"
    )


def refused(when: str, level: str, event: LoginRefused) -> str:
    """A refused login."""
    backend = f" backend={escaped(event.backend)}" if event.backend else ""
    return (
        f"{when} {level} {event.protocol} login refused session={event.session}"
        f" server={escaped(event.server)} client={event.client} user={escaped(event.user)} method={event.method}{backend} by={event.by}"
        f" reason={escaped(event.reason)}"
    )


def remarked(when: str, level: str, event: Remark) -> str:
    """Something the operator should hear of."""
    user = f" user={escaped(event.user)}" if event.user else ""
    return (
        f"{when} {level} {event.protocol} remark session={event.session} server={escaped(event.server)}"
        f" client={event.client}{user} text={escaped(event.text)}"
    )


def _milliseconds(name: str, seconds: float | None) -> str:
    return "" if seconds is None else f" {name}={seconds * 1000:.1f}ms"
