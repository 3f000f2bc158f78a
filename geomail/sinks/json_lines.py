"""Log lines for programs: one JSON object per line, in ASCII, with all fields of the event.

Each line is put together from pieces, because an encoder of whole objects takes
five times as long. A text from outside is encoded; a word of geomail's own needs no encoding.
"""

from __future__ import annotations

import json
from functools import lru_cache

from geomail.events import LoginRefused, RelayStarted, Remark, SessionClosed, SessionOpened
from geomail.protocols.facts import FACTS
from geomail.sinks.spelling import format_time, shorten

#: The program's name at the beginning of each line, if it is not geomail.
TAG = ""
#: Whether a line holds its time itself.
STAMPED = True

_DOVECOT_CODES = {
    "auth_error": "temp_fail",
    "bug": "internal_failure",
    "certificate_error": "client_ssl_cert_untrusted",
    "no_certificate": "client_ssl_cert_missing",
    "shutdown": "shutting_down",
}
#: The steps in which a backend's refusal is about the user.
_LOGIN_STEPS = frozenset(facts.login_step for facts in FACTS.values())

_encode = json.JSONEncoder().encode


def format_message(level: str, text: str, when: float) -> str:
    """Return a line about the process itself."""
    return f'{{"time":"{format_time(when)}","level":"{level}","event":"message","text":{_encode(text)}}}'


def format_session_opened(level: str, event: SessionOpened) -> str:
    """Return the line of a client that was accepted."""
    return f"{{{_format_origin(level, event)}}}"


def format_relay_started(level: str, event: RelayStarted) -> str:
    """Return the line of a client that is logged in."""
    return f"{{{_format_origin(level, event)},{_format_login(event)},{_format_times(event)}}}"


def format_login_refused(level: str, event: LoginRefused) -> str:
    """Return the line of a refused login."""
    return (
        f"{{{_format_origin(level, event)},{_format_login(event)}"
        f',"reason":{_encode_text(event.reason)},"side":"{event.side}"}}'
    )


def format_remark(level: str, event: Remark) -> str:
    """Return the line of a remark."""
    user, text = _encode_text(event.user), _encode_text(event.text)
    return f'{{{_format_origin(level, event)},"user":{user},"text":{text}}}'


def format_session_closed(level: str, event: SessionClosed) -> str:
    """Return the record of a finished session."""
    return (
        f"{{{_format_origin(level, event)}"
        f',"client_port":{event.client_port},"local":{_encode_text(event.local)}'
        f',"local_port":{event.local_port},"listener":{_encode_text(event.listener)}'
        f',"tls":{_encode_text(event.tls)},"sni":{_encode_text(event.sni)},{_format_login(event)}'
        f',"outcome":"{event.outcome}","side":"{event.side}","reason":{_encode_text(event.reason)}'
        f',"step":"{event.step}","relayed":{"true" if event.relayed else "false"}'
        f',"refusals":{event.refusals},"duration":{event.duration:.4f},{_format_times(event)}'
        f',"bytes_in":{event.bytes_in},"bytes_out":{event.bytes_out}'
        f',"client_id":{_encode_text(event.client_id)},"dovecot":{{"code":"{_choose_dovecot_code(event)}"}}}}'
    )


def _choose_dovecot_code(event: SessionClosed) -> str:
    """Return why there was no login, in the words of Dovecot's ``login_aborted`` events; empty after one."""
    if event.relayed:
        return ""
    if event.outcome in _DOVECOT_CODES:
        return _DOVECOT_CODES[event.outcome]
    if event.refusals:
        return "auth_failed"
    if event.side == "backend":
        about_user = event.outcome == "backend_refused" and event.step in _LOGIN_STEPS
        return "proxy_dest_auth_failed" if about_user else "temp_fail"
    return "" if event.method else "no_auth_attempts"


def _format_origin(
    level: str, event: SessionOpened | RelayStarted | LoginRefused | Remark | SessionClosed
) -> str:
    return (
        f'"time":"{format_time(event.time)}","level":"{level}","event":"{event.kind}"'
        f',"session":"{event.session}","server":{_encode_text(event.server)}'
        f',"protocol":"{event.protocol}","client":{_encode_text(event.client)}'
    )


def _format_login(event: RelayStarted | LoginRefused | SessionClosed) -> str:
    user, backend = _encode_text(event.user), _encode_text(event.backend)
    return f'"user":{user},"method":"{event.method}","backend":{backend}'


def _format_times(event: RelayStarted | SessionClosed) -> str:
    return (
        f'"auth_time":{_format_seconds(event.auth_time)},"connect_time":{_format_seconds(event.connect_time)}'
        f',"login_time":{_format_seconds(event.login_time)}'
    )


@lru_cache(maxsize=4096)
def _encode_text(text: str) -> str:
    """Return a text that is not one of geomail's own words as JSON, bounded."""
    return _encode(shorten(text, _encode))


def _format_seconds(seconds: float | None) -> str:
    return "null" if seconds is None else f"{seconds:.4f}"
