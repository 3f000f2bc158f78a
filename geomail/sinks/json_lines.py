"""Log records for machines: one JSON object per line, in ASCII.

They are put together from pieces, since an encoder of whole objects takes five
times as long: texts from outside are encoded, geomail's own words stand as they are.
"""

from __future__ import annotations

import json
from functools import lru_cache

from geomail.events import LoginRefused, RelayStarted, Remark, SessionClosed, SessionOpened
from geomail.protocols.facts import FACTS
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
_LOGIN_STEPS = frozenset(facts.login_step for facts in FACTS.values())

_encode = json.JSONEncoder().encode


def said(level: str, text: str, when: float) -> str:
    """A line about the process itself."""
    return f'{{"ts":"{timestamp(when)}","level":"{level}","event":"message","text":{_encode(text)}}}'


def opened(level: str, event: SessionOpened) -> str:
    """A client that was accepted."""
    return f"{{{_common(level, event)}}}"


def started(level: str, event: RelayStarted) -> str:
    """A client that is logged in."""
    return f"{{{_common(level, event)},{_login(event)}}}"


def refused(level: str, event: LoginRefused) -> str:
    """A refused login."""
    return f'{{{_common(level, event)},{_login(event)},"side":"{event.by}","reason":{_string(event.reason)}}}'


def remarked(level: str, event: Remark) -> str:
    """Something the operator should hear of."""
    return f'{{{_common(level, event)},"user":{_string(event.user)},"text":{_string(event.text)}}}'


def closed(level: str, event: SessionClosed) -> str:
    """The record of a finished session; times in milliseconds, null where there was none."""
    return (
        f"{{{_common(level, event)}"
        f',"rport":{event.client_port},"lip":{_string(event.local)},"lport":{event.local_port}'
        f',"listener":{_string(event.listener)},"tls":{_string(event.tls)},"sni":{_string(event.sni)}'
        f",{_login(event)}"
        f',"t_auth_ms":{_milliseconds(event.auth_time)},"t_connect_ms":{_milliseconds(event.connect_time)}'
        f',"t_login_ms":{_milliseconds(event.login_time)},"duration_ms":{_milliseconds(event.duration)}'
        f',"bytes_in":{event.bytes_in},"bytes_out":{event.bytes_out}'
        f',"result":"{event.outcome}","code":"{_code(event)}","side":"{event.side}","step":"{event.step}"'
        f',"reason":{_string(event.reason)},"refusals":{event.refusals}'
        f',"client_id":{_string(event.client_id)}}}'
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


def _common(level: str, event: SessionOpened | RelayStarted | LoginRefused | Remark | SessionClosed) -> str:
    return (
        f'"ts":"{timestamp(event.time)}","level":"{level}","event":"{event.kind}"'
        f',"session":"{event.session}","proto":"{event.protocol}","server":{_string(event.server)}'
        f',"rip":{_string(event.client)}'
    )


def _login(event: RelayStarted | LoginRefused | SessionClosed) -> str:
    user, backend = _string(event.user), _string(event.backend)
    return f'"user":{user},"method":"{event.method}","backend":{backend}'


@lru_cache(maxsize=4096)
def _string(text: str) -> str:
    """What is not a word of geomail's own, as JSON has it, and bounded."""
    return _encode(cut(text, _encode))


def _milliseconds(seconds: float | None) -> str:
    return "null" if seconds is None else f"{seconds * 1000:.1f}"
