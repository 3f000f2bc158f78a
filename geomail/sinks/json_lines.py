"""Log records for machines: one JSON object per line, in ASCII."""

from __future__ import annotations

import json
from typing import Any

from geomail.events import LoginRefused, RelayStarted, Remark, SessionClosed, SessionOpened
from geomail.sinks.spelling import cut, timestamp

#: What lines begin with, where that is not geomail itself.
TAG = ""
#: Whether a line holds its time itself.
STAMPED = True

_CODES = {
    "auth_error": "temp_fail",
    "bug": "internal_failure",
    "certificate_error": "client_ssl_cert_untrusted",
    "no_certificate": "client_ssl_cert_missing",
    "shutdown": "shutting_down",
}
#: Where a backend's no is about the user.
_LOGIN_STEPS = frozenset({"AUTH", "LOGIN", "USER", "PASS"})

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def said(level: str, text: str, when: float) -> str:
    """A line about the process itself."""
    return _encode({"ts": timestamp(when), "level": level, "event": "message", "text": text})


def opened(level: str, event: SessionOpened) -> str:
    """A client that was accepted."""
    return _encode(_common(level, event))


def started(level: str, event: RelayStarted) -> str:
    """A client that is logged in."""
    return _encode(
        {
            **_common(level, event),
            "user": cut(event.user, _encode),
            "method": event.method,
            "backend": cut(event.backend, _encode),
        }
    )


def refused(level: str, event: LoginRefused) -> str:
    """A refused login."""
    return _encode(
        {
            **_common(level, event),
            "user": cut(event.user, _encode),
            "method": event.method,
            "backend": cut(event.backend, _encode),
            "side": event.by,
            "reason": cut(event.reason, _encode),
        }
    )


def remarked(level: str, event: Remark) -> str:
    """Something the operator should hear of."""
    return _encode(
        {**_common(level, event), "user": cut(event.user, _encode), "text": cut(event.text, _encode)}
    )


def closed(level: str, event: SessionClosed) -> str:
    """The record of a finished session; times in milliseconds, null where there was none."""
    return _encode(
        {
            **_common(level, event),
            "rport": event.client_port,
            "lip": event.local,
            "lport": event.local_port,
            "listener": event.listener,
            "tls": event.tls,
            "sni": cut(event.sni, _encode),
            "user": cut(event.user, _encode),
            "method": event.method,
            "backend": cut(event.backend, _encode),
            "t_auth_ms": _milliseconds(event.auth_time),
            "t_connect_ms": _milliseconds(event.connect_time),
            "t_login_ms": _milliseconds(event.login_time),
            "duration_ms": _milliseconds(event.duration),
            "bytes_in": event.bytes_in,
            "bytes_out": event.bytes_out,
            "result": event.outcome,
            "code": _code(event),
            "side": event.side,
            "step": event.step,
            "reason": cut(event.reason, _encode),
            "refusals": event.refusals,
        }
    )


def _code(event: SessionClosed) -> str:
    """Why there was no login, in the words of Dovecot's ``login_aborted`` events; empty after one."""
    if event.relayed:
        return ""
    if event.outcome in _CODES:
        return _CODES[event.outcome]
    if event.refusals:
        return "auth_failed"
    if event.side == "backend":
        refused = event.outcome == "backend_refused" and event.step in _LOGIN_STEPS
        return "proxy_dest_auth_failed" if refused else "temp_fail"
    return "" if event.method else "no_auth_attempts"


def _common(
    level: str, event: SessionOpened | RelayStarted | LoginRefused | Remark | SessionClosed
) -> dict[str, Any]:
    return {
        "ts": timestamp(event.time),
        "level": level,
        "event": event.kind,
        "session": event.session,
        "proto": event.protocol,
        "server": event.server,
        "rip": event.client,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
