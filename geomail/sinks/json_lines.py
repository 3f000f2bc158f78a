"""Log records for machines: one JSON object per line."""

from __future__ import annotations

import json
from typing import Any

from geomail.events import LoginRefused, Remark, SessionClosed


def said(when: str, level: str, text: str) -> str:
    """A line about the process itself."""
    return _line({"ts": when, "level": level, "event": "message", "text": text})


def closed(when: str, level: str, event: SessionClosed) -> str:
    """The record of a finished session; times in milliseconds, null where there was none."""
    return _line(
        {
            "ts": when,
            "level": level,
            "event": event.kind,
            "session": event.session,
            "proto": event.protocol,
            "server": event.server,
            "user": event.user,
            "method": event.method,
            "rip": event.client,
            "rport": event.client_port,
            "lip": event.local,
            "lport": event.local_port,
            "tls": event.tls,
            "backend": event.backend,
            "t_auth_ms": _milliseconds(event.auth_time),
            "t_connect_ms": _milliseconds(event.connect_time),
            "t_login_ms": _milliseconds(event.login_time),
            "duration_ms": _milliseconds(event.duration),
            "bytes_in": event.bytes_in,
            "bytes_out": event.bytes_out,
            "result": event.outcome,
            "side": event.side,
            "step": event.step,
            "reason": event.reason,
            "refusals": event.refusals,
        }
    )


def refused(when: str, level: str, event: LoginRefused) -> str:
    """A refused login."""
    return _line(
        {
            "ts": when,
            "level": level,
            "event": event.kind,
            "session": event.session,
            "proto": event.protocol,
            "server": event.server,
            "user": event.user,
            "method": event.method,
            "rip": event.client,
            "backend": event.backend,
            "side": event.by,
            "reason": event.reason,
        }
    )


def remarked(when: str, level: str, event: Remark) -> str:
    """Something the operator should hear of."""
    return _line(
        {
            "ts": when,
            "level": level,
            "event": event.kind,
            "session": event.session,
            "proto": event.protocol,
            "server": event.server,
            "user": event.user,
            "rip": event.client,
            "text": event.text,
        }
    )


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"))


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
